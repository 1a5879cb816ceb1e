"""Drives held by a GPU: the windows of all streams at once, as a CPU would see them one by one.

One core of a CPU was seen to look at 8,000 to 13,000 frames a second, in windows of 4 and of 16.
Frames are bytes: 400,000 of 96 x 64 pixels in four channels are 10 GB.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from crnn_snn_ros.core.ways import WAYS
from crnn_snn_ros.data.dataset import Sequence as Drive
from crnn_snn_ros.data.scans import BEARINGS
from crnn_snn_ros.data.tables import whole
from crnn_snn_ros.training.augment import Look, look_at
from crnn_snn_ros.training.config import AugmentConfig

MOST_OF_MEMORY = 0.6  # of what a GPU has free


class View(NamedTuple):
    """Where one stream looks: as ``streams._Stream``."""

    drive: int
    at: int
    stop: int  # of its piece
    look: Look | None


class Gallery:
    """All frames and labels of some drives on one device.

    Args:
        drives: Whose; all of one shape.
        device: Where to.
    """

    def __init__(self, drives: Sequence[Drive], device: torch.device) -> None:
        lengths = [len(drive) for drive in drives]
        self._first = np.cumsum([0, *lengths])
        first = torch.from_numpy(np.array(drives[0].frames[:1]))
        self._frames = torch.empty(
            (sum(lengths), *first.shape[1:]), dtype=first.dtype, device=device
        )
        for drive, at in zip(drives, self._first, strict=False):
            self._frames[at : at + len(drive)] = torch.from_numpy(np.array(drive.frames)).to(device)
        self._labels = [
            torch.from_numpy(np.concatenate(labels)).to(device)
            for labels in (
                [drive.steering_rad for drive in drives],
                [drive.collision for drive in drives],
                [whole(drive.ranges_m, len(drive), BEARINGS) for drive in drives],
                [whole(drive.way_costs, len(drive), WAYS) for drive in drives],
            )
        ]

    @classmethod
    def where_it_pays(
        cls, drives: Sequence[Drive], looks: AugmentConfig | None, device: torch.device
    ) -> Gallery | None:
        """A gallery on a GPU that has room for it, unless a look asks for more than light."""
        if device.type != "cuda" or not (looks is None or looks.only_light):
            return None
        free, _ = torch.cuda.mem_get_info(device)
        needed = sum(drive.frames.nbytes for drive in drives)
        return cls(drives, device) if needed <= MOST_OF_MEMORY * free else None

    def windows(self, views: Iterable[View], frames: int) -> tuple[Tensor, ...]:
        """What ``streams._Stream.window`` gives for each of N views, stacked, on the device.

        Returns:
            Pixels (N, T, C, H, W), steering and collision (N, T), ranges (N, T, BEARINGS),
            way_costs (N, T, WAYS).
        """
        drives, starts, stops, looks = zip(*views, strict=True)
        wanted = np.array(starts)[:, None] + np.arange(frames)
        inside = np.minimum(wanted, np.array(stops)[:, None] - 1)
        index, labelled = (
            torch.from_numpy(values).to(self._frames.device)
            for values in (inside + self._first[list(drives)][:, None], inside == wanted)
        )
        steering, collision, *rows = (labels[index] for labels in self._labels)
        pixels = self._frames[index]
        steering, collision = (
            torch.where(labelled, labels, torch.nan) for labels in (steering, collision)
        )
        rows = [torch.where(labelled[..., None], table, torch.nan) for table in rows]
        if looks[0] is None:
            return pixels, steering, collision, *rows
        pixels, mirrored = look_at(pixels, looks)
        steering = torch.where(mirrored[:, None], -steering, steering)
        rows = [torch.where(mirrored[:, None, None], table.flip(-1), table) for table in rows]
        return pixels, steering, collision, *rows
