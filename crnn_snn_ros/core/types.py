"""What flows through the pipeline: Frame -> Prediction -> Command."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.mount import CameraMount

Pose = tuple[float, float, float]  # x m, y m, yaw rad


class Moved(NamedTuple):
    """How a robot has moved: where it is now, in the axes that it had before (REP-103)."""

    turned_rad: float = 0.0  # positive to the left
    ahead_m: float = 0.0
    left_m: float = 0.0

    @classmethod
    def between(cls, before: Pose, now: Pose) -> Moved:
        """From one pose to another in the same axes, x m, y m, yaw rad each.

        Example:
            >>> Moved.between((1.0, 0.0, 0.0), (3.0, 1.0, 0.5))
            Moved(turned_rad=0.5, ahead_m=2.0, left_m=1.0)
        """
        (x, y, yaw), (x_now, y_now, yaw_now) = before, now
        cos, sin = math.cos(yaw), math.sin(yaw)
        dx, dy = x_now - x, y_now - y
        return cls(yaw_now - yaw, cos * dx + sin * dy, cos * dy - sin * dx)

    def then(self, after: Moved) -> Moved:
        """This way, and another one after it.

        Example:
            >>> Moved(0.5, 1.0).then(Moved(-0.5)).turned_rad
            0.0
        """
        cos, sin = math.cos(self.turned_rad), math.sin(self.turned_rad)
        return Moved(
            self.turned_rad + after.turned_rad,
            self.ahead_m + cos * after.ahead_m - sin * after.left_m,
            self.left_m + sin * after.ahead_m + cos * after.left_m,
        )


class Frame(NamedTuple):
    """One camera image and the time at which it was taken."""

    stamp_ns: int  # capture time of the image's own header
    image: NDArray[np.uint8]  # (height, width, 3), RGB
    mount: CameraMount | None = None  # of its camera; None: nobody said
    moved: Moved | None = None  # the robot, since the frame before; None: nobody said


class Prediction(NamedTuple):
    """What the spiking network says of one frame."""

    steering_rad: float  # positive to the left (REP-103)
    collision_probability: float  # 0..1
    settled: bool  # False: cut before quiescence, now or in an earlier frame of the same state
    settle_steps: int  # last time-step with activity
    spikes: int  # in all layers together


class Command(NamedTuple):
    """A velocity command for the base (REP-103: x forward, yaw positive to the left)."""

    linear_mps: float
    angular_radps: float


STOP = Command(0.0, 0.0)
RESET_GAP_S = 1.0  # frames further apart than this do not belong together


def elapsed_s(before_ns: int, now_ns: int, reset_gap_s: float = RESET_GAP_S) -> float | None:
    """Seconds from one frame of a stream to the next; None where a stream begins anew.

    So it does after a gap over ``reset_gap_s``, and at a stamp that is not later than the last:
    what was seen before would be of another place.

    Example:
        >>> elapsed_s(0, 50_000_000), elapsed_s(0, 2_000_000_000), elapsed_s(5, 5)
        (0.05, None, None)
    """
    elapsed = (now_ns - before_ns) / 1e9
    return elapsed if 0.0 < elapsed <= reset_gap_s else None
