"""What flows through the pipeline: Frame -> Prediction -> Command."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.mount import CameraMount


class Frame(NamedTuple):
    """One camera image and the time at which it was taken."""

    stamp_ns: int  # capture time of the image's own header
    image: NDArray[np.uint8]  # (height, width, 3), RGB
    mount: CameraMount | None = None  # of its camera; None: nobody said
    turned_rad: float | None = None  # of the robot since the frame before; None: nobody said


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
