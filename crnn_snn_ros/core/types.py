"""What flows through the pipeline: Frame -> Prediction -> Command."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Frame(NamedTuple):
    """One camera image and the time at which it was taken."""

    stamp_ns: int  # capture time of the image's own header
    image: NDArray[np.uint8]  # (height, width, 3), RGB


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
