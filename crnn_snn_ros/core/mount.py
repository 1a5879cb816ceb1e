"""How the robot's camera is mounted, for a network that must be told it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.settings import check, setting

LEAST_FOV_RAD = 0.1
STANDARD_FOV_DEG = 90.0  # of the cameras for which a network is made that says nothing else


class CameraMount(NamedTuple):
    """What a picture alone does not tell of the camera that took it."""

    height_m: float  # of the lens above the ground
    pitch_rad: float  # positive looks down (REP-103)
    horizontal_fov_rad: float  # field of view, all across the image


def small_robot(fov_deg: float = STANDARD_FOV_DEG) -> CameraMount:
    """The camera of a small robot, with a lens of that horizontal field of view."""
    return CameraMount(0.22, 0.05, math.radians(fov_deg))


def field_of_view_rad(width_px: int, focal_px: float) -> float | None:
    """Horizontal field of view of a lens without distortion; None where it is not calibrated.

    Args:
        width_px: of the image.
        focal_px: focal length, the first of the nine numbers ``k`` of ``sensor_msgs/CameraInfo``.
    """
    if width_px <= 0 or not math.isfinite(focal_px) or focal_px <= 0.0:
        return None
    return 2.0 * math.atan(0.5 * width_px / focal_px)


@dataclass(frozen=True)
class MountConfig:
    """A mount as parameters of a node, or options of a command.

    Args:
        camera_height: Height of the camera above the ground, m; 0: not given, nor are the others.
        camera_pitch: How far down the camera looks, rad.
        camera_fov: Horizontal field of view of the camera, rad; 0: as those of the model.

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
        0.0,
        "horizontal field of view of the camera, 2 atan(width / 2 fx), at least 0.1; "
        "0: that of the cameras for which the model is made, rad",
        (0.0, 3.1),
        runtime=True,
    )

    def __post_init__(self) -> None:
        check(self)
        if 0.0 < self.camera_fov < LEAST_FOV_RAD:
            raise ConfigError(
                f"camera_fov is {self.camera_fov}; it is in rad, at least {LEAST_FOV_RAD}, or 0"
            )

    @classmethod
    def of(cls, mount: CameraMount) -> MountConfig:
        """The parameters of a mount."""
        return cls(*mount)

    def mount(self, fov_deg: float) -> CameraMount | None:
        """The mount, where one is given.

        Args:
            fov_deg: horizontal field of view of a camera whose own is not given.
        """
        if self.camera_height == 0.0:
            return None
        fov_rad = self.camera_fov or math.radians(fov_deg)
        return CameraMount(self.camera_height, self.camera_pitch, fov_rad)
