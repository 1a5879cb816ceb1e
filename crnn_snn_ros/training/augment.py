"""Augmentation of a stream: one look for all its frames, so that it stays a plausible video."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Look(NamedTuple):
    """How one stream is seen."""

    mirrored: bool
    contrast: float
    brightness: float  # in grey levels
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)  # gain of R, G, B; of a grey image the first

    def __call__(
        self,
        frames: NDArray[np.int8],
        steering_rad: NDArray[np.float32],
        collision: NDArray[np.float32],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Frames (T, C, H, W) as floats that hold int8 values, and labels (T,) that fit them."""
        pixels = torch.from_numpy(np.array(frames)).float()
        steering = torch.from_numpy(np.array(steering_rad))
        if self.mirrored:
            pixels, steering = pixels.flip(-1), -steering
        gain = self.contrast * torch.tensor(self.tint[: pixels.shape[1]]).reshape(-1, 1, 1)
        pixels = torch.floor(pixels * gain + self.brightness + 0.5).clamp(-128, 127)
        return pixels, steering, torch.from_numpy(np.array(collision))


def augment(rng: np.random.Generator) -> Look:
    """Draw a look: half of them mirrored (steering changes its sign), all in other light."""
    return Look(
        mirrored=bool(rng.integers(2)),
        contrast=float(rng.uniform(0.75, 1.25)),
        brightness=float(rng.uniform(-25.0, 25.0)),
        tint=(rng.uniform(0.8, 1.2), rng.uniform(0.8, 1.2), rng.uniform(0.8, 1.2)),
    )
