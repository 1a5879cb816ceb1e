"""Drives of the teacher in the simulator, as pictures and as laser scans, with its labels.

Recorded once into the working folder, as bags; what is there is not driven again.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.data.bags import read_messages
from crnn_snn_ros.data.dataset import Sequence, load_data_config, load_sequences
from crnn_snn_ros.data.messages import LASER_SCAN
from crnn_snn_ros.io.preprocess import InputContract
from crnn_snn_ros.sim.record import Recording, record_suite
from crnn_snn_ros.sim.suites import TRAIN_SEEDS, VALIDATION_SEEDS, Setup

SUITE, RATE_HZ, NOISE_RADPS = "movers", 20.0, 0.4
SPLITS = ("train", "validation", "test")
REACH_M = 5.0  # of the scanner as the network is told it
RAYS = 72  # of a full circle


class Courses(NamedTuple):
    """How many courses of each split are recorded, and how large the pictures are."""

    train: int = 24
    validation: int = 6
    test: int = 6
    camera: tuple[int, int] = (96, 64)
    motion: int = 2  # as `small.snn` sees


FEW = Courses(train=12, validation=1, test=4)  # for short training, of many networks


def record(folder: Path, courses: Courses) -> None:
    """Drive what has not been driven yet.

    Raises:
        ConfigError: nothing can be drawn on this machine.
    """
    setup = Setup(camera=courses.camera, rate_hz=RATE_HZ)
    contract = InputContract(*courses.camera, "rgb", motion=courses.motion)
    held_out = VALIDATION_SEEDS[200:]  # no model of this project was chosen or judged on these
    seeds = {
        "train": TRAIN_SEEDS[: courses.train],
        "validation": held_out[: courses.validation],
        "test": held_out[courses.validation :][: courses.test],
    }
    for split in SPLITS:
        noise = NOISE_RADPS if split == "train" else 0.0
        recording = Recording(folder / split, "train", noise, scan_rays=RAYS, contract=contract)
        record_suite(None, SUITE, seeds[split], setup, recording)


def pictures(
    folder: Path, split: str, size: tuple[int, int] | None = None, motion: int | None = None
) -> list[Sequence]:
    """The drives as a network with a camera sees them.

    Args:
        folder: as recorded.
        split: of ``SPLITS``.
        size: width and height in place of those that were recorded.
        motion: as of an ``InputContract``, in place of what was recorded.
    """
    config = load_data_config(folder / split / "data.yaml")
    contract = config.contract
    if size is not None:
        contract = dataclasses.replace(contract, width=size[0], height=size[1])
    if motion is not None:
        contract = dataclasses.replace(contract, motion=motion)
    return load_sequences(dataclasses.replace(config, contract=contract), "train", folder / "cache")


def scans(folder: Path, split: str) -> list[Sequence]:
    """The same drives as a laser scanner sees them: frames of ``to_input``."""
    drives = []
    for drive in pictures(folder, split):
        bag = folder / split / drive.name.partition(":")[0]
        rows = [
            to_input(np.asarray(message.content.ranges))
            for message in read_messages(bag, "/scan", (LASER_SCAN,))
        ]
        drives.append(dataclasses.replace(drive, frames=np.stack(rows)))
    return drives


def to_input(ranges_m: NDArray[np.float32]) -> NDArray[np.int8]:
    """Ranges of a full circle, from behind anticlockwise -> the half ahead, left first.

    Symmetric about straight ahead: mirrored, such a row is the scan of the mirrored world.

    Returns:
        int8 (1, 1, rays / 2 - 1): -128 at the robot, 127 at ``REACH_M`` and beyond.

    Example:
        >>> ahead = np.where(np.arange(8) == 4, 2.5, np.inf).astype(np.float32)
        >>> to_input(ahead).tolist()
        [[[127, 0, 127]]]
    """
    rays = len(ranges_m)
    half = ranges_m[rays // 4 + 1 : 3 * rays // 4][::-1]
    near = np.clip(half / REACH_M, 0.0, 1.0)
    return (np.floor(near * 255.0 + 0.5) - 128.0).astype(np.int8)[None, None]
