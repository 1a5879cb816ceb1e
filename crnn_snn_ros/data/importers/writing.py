"""Drives -> bags.

| topic | type | |
|---|---|---|
| ``/image/compressed`` | sensor_msgs/CompressedImage | JPEG or PNG, as it was found |
| ``/steering`` | std_msgs/Float32 | rad, positive to the left |
| ``/collision``, ``/throttle`` | std_msgs/Float32 | 0..1; -1..1 |
| ``/target`` | geometry_msgs/Vector3Stamped | a point in the picture, x and y in pixels |
| ``/source`` | std_msgs/Header | of each frame: recorded time, file it came from |
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.data.bag_writer import BagWriter
from crnn_snn_ros.data.importers.drive import (
    IMAGE_TOPIC,
    SOURCE_TOPIC,
    Drive,
    ImportOptions,
    Record,
)
from crnn_snn_ros.io.images import decode_compressed

MAX_PLAUSIBLE_HZ = 120.0
EARLY = 100  # records after which implausible stamps are noticed, rather than at the end

Progress = Callable[[int, int | None], None]  # records done, records in all


@dataclass(frozen=True)
class ImportSummary:
    """What became of one drive."""

    bag: str
    frames: int  # written
    deleted: int  # skipped: cleaned away by the driver
    missing: int  # skipped: the image file is not there
    damaged: int  # skipped: the image cannot be decoded
    duration_s: float  # from the first to the last frame written
    rate_hz: float  # median
    topics: tuple[str, ...]
    unchanged: bool = False  # the bag was there already, made of the same source in the same way

    @property
    def skipped(self) -> int:
        """Records without a frame in the bag."""
        return self.deleted + self.missing + self.damaged


def write_drive(
    drive: Drive,
    source: Path,
    out: Path,
    about: dict[str, str],
    options: ImportOptions,
    progress: Progress | None = None,
) -> ImportSummary:
    """Write one drive as a bag, streaming.

    Args:
        drive: what to write.
        source: folder that the names in ``/source`` are relative to.
        out: the bag's folder; must not exist, or be the very same.
        about: notes for the bag; the drive's own and how it was stamped are added.
        options: how to stamp.
        progress: called with (records done, records in all).

    Raises:
        DataError: a damaged source, implausible stamps, no frame at all, or a full disk.
    """
    even = options.rate_hz is not None and not drive.stamped
    about = {
        **about,
        **drive.about,
        "stamps": f"evenly spaced, {options.rate_hz:g} Hz" if even else "recorded",
    }
    clock, size = _Clock(options, even), _Size()
    kept, skipped, topics = array("q"), Counter[str](), [IMAGE_TOPIC]
    done = 0
    with BagWriter(out, about, again=True) as bag:
        for done, record in enumerate(drive.records(), start=1):
            if progress is not None:
                progress(done, drive.count)
            stamp_ns = clock.stamp(record)
            if record.deleted:
                skipped["deleted"] += 1
                continue
            picture = _read_picture(record, skipped, size)
            if picture is None:
                continue
            _write(bag, record, source, stamp_ns, picture)
            topics += [topic for topic in record.values if topic not in topics]
            kept.append(stamp_ns)
        # What a video says it has is an estimate where its container does not count frames.
        short = (drive.count or 0) - done
        if short > max(1, done // 100):
            skipped["missing"] += short
        clock.require_plausible(drive.name)
        if not kept:
            reasons = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
            raise DataError(
                f"{drive.name} has no frame to import; {reasons or 'it has no records'}"
            )
    return _summary(out, np.array(kept, np.int64), skipped, (*topics, SOURCE_TOPIC))


def _summary(
    out: Path, stamps: NDArray[np.int64], skipped: Counter[str], topics: tuple[str, ...]
) -> ImportSummary:
    return ImportSummary(
        bag=str(out),
        frames=len(stamps),
        deleted=skipped["deleted"],
        missing=skipped["missing"],
        damaged=skipped["damaged"],
        duration_s=float(stamps[-1] - stamps[0]) * 1e-9,
        rate_hz=median_hz(stamps),
        topics=tuple(sorted(topics)),
    )


class _Clock:
    """The stamps that records get, and whether they can be true."""

    def __init__(self, options: ImportOptions, even: bool) -> None:
        self._period_ns = 1e9 / options.rate_hz if even and options.rate_hz else None
        self._start_ns = round(options.start_s * 1e9)
        self._first: tuple[int, int] | None = None  # number and stamp of the first record
        self._seen = array("q")

    def stamp(self, record: Record) -> int:
        recorded = record.stamp_ns
        if self._period_ns is not None:
            if self._first is None:
                self._first = record.number, self._start_ns if recorded is None else recorded
            number, begin = self._first
            return begin + round((record.number - number) * self._period_ns)
        if recorded is None:
            raise DataError(f"{record.where} has no time stamp; give the drive's rate (--rate 20)")
        if self._seen and self._seen[-1] > recorded:
            raise DataError(
                f"{record.where}: the recorded time runs back by "
                f"{(self._seen[-1] - recorded) * 1e-9:.3f} s; give the drive's rate (--rate 20)"
            )
        self._seen.append(recorded)
        if len(self._seen) == EARLY:
            self.require_plausible(record.where)
        return recorded

    def require_plausible(self, name: str) -> None:
        if (rate := median_hz(np.array(self._seen, np.int64))) > MAX_PLAUSIBLE_HZ:
            raise DataError(
                f"{name}: the recorded stamps say {rate:.0f} Hz, over {MAX_PLAUSIBLE_HZ:.0f}, so "
                "they are not capture times; give the drive's rate (Donkeycar's own is --rate 20)"
            )


def median_hz(stamps: NDArray[np.int64]) -> float:
    """Median rate; 0 of fewer than two stamps, infinite where most of them are equal."""
    if len(stamps) < 2:
        return 0.0
    period_ns = float(np.median(np.diff(stamps)))
    return 1e9 / period_ns if period_ns > 0 else math.inf


def _write(bag: BagWriter, record: Record, source: Path, stamp_ns: int, picture: bytes) -> None:
    kind = "png" if picture[:1] == b"\x89" else "jpeg"
    bag.compressed_image(IMAGE_TOPIC, stamp_ns, kind, picture)
    for topic, value in record.values.items():
        if isinstance(value, tuple):
            bag.vector3_stamped(topic, stamp_ns, value)
        else:
            bag.float32(topic, stamp_ns, value)
    bag.header(SOURCE_TOPIC, stamp_ns, record.stamp_ns or 0, _origin(record, source))


def _origin(record: Record, source: Path) -> str:
    if isinstance(record.picture, bytes):
        return f"frame {record.number}"
    return record.picture.relative_to(source).as_posix()


def _read_picture(record: Record, skipped: Counter[str], size: _Size) -> bytes | None:
    """The bytes of a record's image, or None and a count of why not."""
    try:
        picture = record.picture
        data = picture if isinstance(picture, bytes) else picture.read_bytes()
        height, width, _ = decode_compressed("", data).shape
    except OSError:
        skipped["missing"] += 1
        return None
    except DataError:
        skipped["damaged"] += 1
        return None
    size.require(record.where, width, height)
    return data


class _Size:
    """One camera has one size; a second one means that two recordings were mixed."""

    def __init__(self) -> None:
        self._first: tuple[int, int] | None = None

    def require(self, where: str, width: int, height: int) -> None:
        if self._first is None:
            self._first = width, height
        if self._first != (width, height):
            raise DataError(
                f"{where}: its picture is {width}x{height}, the drive's first one is "
                f"{self._first[0]}x{self._first[1]}; import the sizes apart"
            )
