"""Network inputs from recorded drives, for verbs that need no stamps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.data.bags import read_frames
from crnn_snn_ros.io.preprocess import InputContract, see_all


def bag_frames(
    bag: Path, topic: str | None, contract: InputContract, limit: int
) -> Iterator[NDArray[np.int8]]:
    """The first ``limit`` frames of a bag as a network sees them, int8 (C, H, W) each."""
    frames = islice(read_frames(bag, topic), limit)
    return see_all((frame.image for frame in frames), contract)
