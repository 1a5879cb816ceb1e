"""How the robot's camera is mounted, for a network that must be told it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from crnn_snn_ros.core.settings import check, setting

STANDARD_FOV_DEG = 90.0  # of the cameras for which a network is made that says nothing else


class CameraMount(NamedTuple):
    """What a picture alone does not tell of the camera that took it."""

    height_m: float  # of the lens above the ground
    pitch_rad: float  # positive looks down (REP-103)
    horizontal_fov_rad: float  # field of view, all across the image


def small_robot(fov_deg: float = STANDARD_FOV_DEG) -> CameraMount:
    """The camera of a small robot, with a lens of that horizontal field of view."""
    return CameraMount(0.22, 0.05, math.radians(fov_deg))


@dataclass(frozen=True)
class MountConfig:
    """A mount as parameters of a node, or options of a command.

    Args:
        camera_height: Height of the camera above the ground, m; 0: not given, nor are the others.
        camera_pitch: How far down the camera looks, rad.
        camera_fov: Horizontal field of view of the camera, rad.

    Raises:
        ConfigError: a value is outside its range.
    """

    camera_height: float = setting(
        0.0,
        "height of the camera above the ground; 0: not given, nor are pitch and field of view, m",
        (0.0, 100.0),
        runtime=True,
    )
    camera_pitch: float = setting(
        0.0, "how far down the camera looks, rad", (-1.5, 1.5), runtime=True
    )
    camera_fov: float = setting(
        math.pi / 2,
        "horizontal field of view of the camera, 2 atan(width / 2 fx), rad",
        (0.1, 3.1),
        runtime=True,
    )

    def __post_init__(self) -> None:
        check(self)

    @classmethod
    def of(cls, mount: CameraMount) -> MountConfig:
        """The parameters of a mount."""
        return cls(*mount)

    @property
    def mount(self) -> CameraMount | None:
        """The mount, where one is given."""
        if self.camera_height == 0.0:
            return None
        return CameraMount(self.camera_height, self.camera_pitch, self.camera_fov)
