"""What all tests share: no deadlines, as a machine may be busy, and one thread per process."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the commands that tests start, too
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# A job in the background of a shell ignores Ctrl-C, and so would every command that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
