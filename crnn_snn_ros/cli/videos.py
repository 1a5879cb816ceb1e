"""Network inputs from recorded drives, for verbs that need no stamps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.mount import CameraMount
from crnn_snn_ros.data.bags import read_frames
from crnn_snn_ros.io.preprocess import InputContract, Past, see


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
