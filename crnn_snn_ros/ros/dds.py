"""The DDS profile that comes with the package, by the variables in which Fast DDS looks for one."""

from __future__ import annotations

import os

from crnn_snn_ros.io.resources import resource_path

# Jazzy reads the second only; Kilted both, and warns that the second will be no more.
VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")


def profile_environment() -> dict[str, str]:
    """Environment of a process that is to carry large images; a profile of the user's own wins."""
    own = next((os.environ[name] for name in VARIABLES if os.environ.get(name)), None)
    return dict.fromkeys(VARIABLES, own or str(resource_path("config", "fastdds.xml")))
