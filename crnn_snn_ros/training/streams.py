"""Drives as parallel streams of windows, for truncated back-propagation through time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from crnn_snn_ros.data.dataset import Sequence
from crnn_snn_ros.training.augment import augment


class Chunk(NamedTuple):
    """One window of all streams: the tensors of a training step."""

    pixels: Tensor  # float, (N, T, C, H, W)
    steering_rad: Tensor  # (N, T), NaN where there is no label
    collision: Tensor  # (N, T), NaN where there is no label


def chunks(drive: Sequence, window: int, streams: int, rng: np.random.Generator) -> Iterator[Chunk]:
    """Cut a drive at a random offset into parallel streams, and yield them window by window.

    Args:
        drive: A contiguous stretch of frames.
        window: Frames in a chunk, at most.
        streams: Parallel pieces N; fewer where the drive is too short for them.
        rng: Draws the offset and the look of every stream.
    """
    total = len(drive.frames)
    streams = max(1, min(streams, total // (2 * window)))
    offset = int(rng.integers(0, min(window, max(1, total // 4))))
    length = (total - offset) // streams
    looks = [augment(rng) for _ in range(streams)]
    for start in range(0, length - 1, window):  # a remainder of one frame is left out
        stop = min(start + window, length)
        parts = []
        for stream, look in enumerate(looks):
            at = slice(offset + stream * length + start, offset + stream * length + stop)
            parts.append(look(drive.frames[at], drive.steering_rad[at], drive.collision[at]))
        yield Chunk(*(torch.stack(part) for part in zip(*parts, strict=True)))
