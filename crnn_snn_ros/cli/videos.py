"""Network inputs for verbs that need no stamps: from recorded drives, or generated."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.mount import CameraMount
from crnn_snn_ros.data.bags import read_frames
from crnn_snn_ros.io.preprocess import InputContract, Past, see

MOST_FRAMES = 10**9


def check_video(frames: int, seed: int) -> None:
    """Refuse a video that cannot be.

    Raises:
        ConfigError: naming the option.
    """
    if not 1 <= frames <= MOST_FRAMES:
        raise ConfigError(f"--frames is {frames}, allowed is 1 to {MOST_FRAMES}")
    if seed < 0:
        raise ConfigError(f"--seed is {seed}, must be 0 or more")


def bag_frames(
    bag: Path,
    topic: str | None,
    contract: InputContract,
    limit: int,
    mount: CameraMount | None = None,
) -> Iterator[NDArray[np.int8]]:
    """The first ``limit`` frames of a bag as a network sees them, int8 (C, H, W) each."""
    past: Past = ()
    for frame in islice(read_frames(bag, topic, mount, moves=contract.steady), limit):
        pixels, past = see(frame.image, contract, past, frame.mount, frame.moved)
        yield pixels
