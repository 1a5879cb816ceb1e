"""Recorded drives as a replay takes them: which frames of which bag, and what is true of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.core.mount import CameraMount
from crnn_snn_ros.core.types import Frame
from crnn_snn_ros.data.bags import find_image_topic, read_frames, read_info, read_signal
from crnn_snn_ros.data.dataset import synchronise
from crnn_snn_ros.evaluation.recording import Recording


class Drive(NamedTuple):
    """Frames of a bag that are replayed."""

    bag: Path
    topic: str
    first: int
    last: int  # exclusive
    mount: CameraMount | None = None  # of the camera; None: as the bag says
    moves: bool = False  # whether the frames tell how the robot moves

    def frames(self) -> Iterator[Frame]:
        """Read them, one by one."""
        frames = read_frames(self.bag, self.topic, self.mount, moves=self.moves)
        return islice(frames, self.first, self.last)


def choose(bag: Path, image_topic: str | None, begin: float, end: float) -> Drive:
    """The frames of a bag from one fraction of it to another.

    Raises:
        DataError: the bag cannot be read, has no such topic, or no frame there.
    """
    topic = find_image_topic(bag, image_topic)
    total = read_info(bag).topics[topic].messages
    first, last = (int(np.floor(total * share + 0.5)) for share in (begin, end))
    if first == last:
        raise DataError(f"bag {bag}: no frame between --begin {begin} and --end {end}")
    return Drive(bag, topic, first, last)


def label(
    recording: Recording, drives: Sequence[Drive], topics: tuple[str, str], rate_hz: float
) -> None:
    """Give each drive its labels; one that the recording does not hold to the end as well.

    Args:
        recording: Of the drives, or of the first of them.
        drives: As they were replayed.
        topics: Of the true steering and of the collision label (Float32); a bag may lack them.
        rate_hz: Of the frames; a label must be nearer to its frame than half a period.

    Raises:
        DataError: a bag cannot be read, or a topic is of another type.
    """
    tolerance_ns = round(0.5e9 / rate_hz)
    for number, drive in enumerate(drives[: len(recording.drives)]):
        stamps = recording.of_drive(number)["stamp_ns"]
        recording.label(number, *(_truth(drive.bag, topic, stamps, tolerance_ns)
                                  for topic in topics))  # fmt: skip


def _truth(
    bag: Path, topic: str, stamps: NDArray[np.int64], tolerance_ns: int
) -> NDArray[np.floating]:
    if topic not in read_info(bag).topics:
        return np.full(len(stamps), np.nan, np.float32)
    return synchronise(read_signal(bag, topic), stamps, tolerance_ns)
