"""``python -m crnn_snn_ros.cli``."""

import sys

from crnn_snn_ros.cli import main

sys.exit(main())
