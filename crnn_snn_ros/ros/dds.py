"""The DDS profile that comes with the package, by the variable in which Fast DDS looks for one."""

from __future__ import annotations

import os
from importlib.metadata import version

from crnn_snn_ros.io.resources import resource_path

OLD, NEW = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"
KILTED = 9  # its rclpy


def profile_variable() -> str:
    """Its name here: Kilted warns of the old one, Jazzy does not know the new one."""
    return NEW if int(version("rclpy").split(".")[0]) >= KILTED else OLD


def profile_environment() -> dict[str, str]:
    """Environment of a process that is to carry large images; a profile of the user's own wins."""
    own = os.environ.get(NEW) or os.environ.get(OLD)
    return {profile_variable(): own or str(resource_path("config", "fastdds.xml"))}
