"""Donkeycar v4 tub -> one MCAP bag.

| topic | type | |
|---|---|---|
| ``/image/compressed`` | sensor_msgs/CompressedImage | the tub's JPEG bytes, untouched |
| ``/steering`` | std_msgs/Float32 | rad, positive to the left (REP-103) |
| ``/throttle`` | std_msgs/Float32 | -1..1, as recorded |
"""

from __future__ import annotations

import math
import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.data.archives import SUFFIXES, is_archive, unpack
from crnn_snn_ros.data.bag_writer import BagWriter
from crnn_snn_ros.data.donkeycar_tub import Record, Tub, open_tub, read_records
from crnn_snn_ros.io.images import decode_compressed

IMAGE_TOPIC, STEERING_TOPIC, THROTTLE_TOPIC = "/image/compressed", "/steering", "/throttle"
MAX_PLAUSIBLE_HZ = 120.0

Progress = Callable[[int, int], None]  # records done, records in all


@dataclass(frozen=True)
class ImportSummary:
    """What an import did."""

    frames: int  # written
    deleted: int  # skipped: deleted indexes of the tub
    missing: int  # skipped: the image file is not there
    damaged: int  # skipped: the image cannot be decoded
    duration_s: float  # from the first to the last frame written
    rate_hz: float  # median
    topics: tuple[str, ...]

    @property
    def skipped(self) -> int:
        """Records without a frame in the bag."""
        return self.deleted + self.missing + self.damaged


def import_donkeycar(
    source: Path,
    out: Path,
    *,
    rate_hz: float | None = None,
    max_steering_rad: float = 0.4363,
    source_name: str = "",
    licence: str = "",
    progress: Progress | None = None,
) -> ImportSummary:
    """Convert a tub to a bag.

    Args:
        source: the tub's folder, or a ``.tar.gz``, ``.tgz``, ``.tar`` or ``.zip`` of it.
        out: the bag's folder; must not exist.
        rate_hz: None keeps the recorded stamps. A rate places record ``_index`` at
            ``first stamp + (_index - first _index) / rate_hz``, so that deleted stretches stay
            gaps: for tubs whose stamps are an artefact.
        max_steering_rad: the wheel angle at full lock. The tub's angle, -1 left .. 1 right, is
            negated and multiplied by it. Default: 25 degrees.
        source_name: origin of the drive, kept in the bag and in what is trained on it.
        licence: its licence, likewise.
        progress: called with (records done, records in all).

    Raises:
        ConfigError: a wrong ``rate_hz`` or ``max_steering_rad``.
        DataError: no tub, a damaged one, one without any frame, implausible stamps without
            ``rate_hz``, or ``out`` cannot be written.
    """
    if rate_hz is not None and not 0.01 <= rate_hz <= 1000.0:
        raise ConfigError(f"rate {rate_hz} Hz is not within 0.01..1000")
    if not 0.0 < max_steering_rad <= math.pi / 2:
        raise ConfigError(f"largest steering angle {max_steering_rad} rad is not within 0..pi/2")
    about = {
        "importer": "donkeycar v4",
        "source": source_name or source.name,
        "licence": licence or "unknown",
        "stamps": "recorded" if rate_hz is None else f"evenly spaced, {rate_hz:g} Hz",
        "max_steering_rad": repr(max_steering_rad),
    }
    with _tub(source, out) as tub:
        stamps = _stamps(tub, rate_hz)
        with BagWriter(out, about) as bag:
            return _write(tub, stamps, bag, max_steering_rad, progress)


def _write(
    tub: Tub,
    stamps: NDArray[np.int64],
    bag: BagWriter,
    max_steering_rad: float,
    progress: Progress | None,
) -> ImportSummary:
    written = np.zeros(len(stamps), np.bool_)
    skipped: Counter[str] = Counter()
    for number, record in enumerate(read_records(tub)):
        if progress is not None:
            progress(number + 1, len(stamps))
        if record.number in tub.deleted:
            skipped["deleted"] += 1
            continue
        jpeg = _read_jpeg(record, skipped)
        if jpeg is None:
            continue
        stamp_ns = int(stamps[number])
        bag.compressed_image(IMAGE_TOPIC, stamp_ns, "jpeg", jpeg)
        steering_rad = 0.0 - record.angle * max_steering_rad  # 0.0, never -0.0, straight ahead
        bag.float32(STEERING_TOPIC, stamp_ns, steering_rad)
        bag.float32(THROTTLE_TOPIC, stamp_ns, record.throttle)
        written[number] = True
    if not written.any():
        reasons = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
        raise DataError(f"{tub.folder} has no frame to import; of {len(stamps)} records {reasons}")
    kept = stamps[written]
    return ImportSummary(
        frames=len(kept),
        deleted=skipped["deleted"],
        missing=skipped["missing"],
        damaged=skipped["damaged"],
        duration_s=float(kept[-1] - kept[0]) * 1e-9,
        rate_hz=_median_hz(kept),
        topics=(IMAGE_TOPIC, STEERING_TOPIC, THROTTLE_TOPIC),
    )


def _read_jpeg(record: Record, skipped: Counter[str]) -> bytes | None:
    """The bytes of a record's image, or None and a count of why not."""
    try:
        jpeg = record.image.read_bytes()
        decode_compressed("jpeg", jpeg)
    except OSError:
        skipped["missing"] += 1
    except DataError:
        skipped["damaged"] += 1
    else:
        return jpeg
    return None


def _stamps(tub: Tub, rate_hz: float | None) -> NDArray[np.int64]:
    """The stamp of every record, deleted ones too; they are 8 bytes each, unlike the records."""
    recorded, indexes = array("q"), array("q")
    for record in read_records(tub):
        recorded.append(record.stamp_ns)
        indexes.append(record.number)
        if rate_hz is None and len(recorded) > 1 and recorded[-2] > recorded[-1]:
            raise DataError(
                f"{record.where}: the recorded time runs back by "
                f"{(recorded[-2] - recorded[-1]) * 1e-9:.3f} s; give the drive's rate (--rate 20)"
            )
    stamps: NDArray[np.int64] = np.array(recorded, np.int64)
    if len(stamps) == 0:
        raise DataError(f"{tub.folder} has no records")
    if rate_hz is not None:
        steps = np.array(indexes, np.int64) - indexes[0]
        offsets: NDArray[np.int64] = np.rint(steps * (1e9 / rate_hz)).astype(np.int64)
        return offsets + recorded[0]
    if (rate := _median_hz(stamps)) > MAX_PLAUSIBLE_HZ:
        raise DataError(
            f"{tub.folder}: the recorded stamps say {rate:.0f} Hz, over {MAX_PLAUSIBLE_HZ:.0f}, so "
            "they are not capture times; give the drive's rate (Donkeycar's own is --rate 20)"
        )
    return stamps


def _median_hz(stamps: NDArray[np.int64]) -> float:
    """Median rate; 0 of fewer than two stamps, infinite where most of them are equal."""
    if len(stamps) < 2:
        return 0.0
    period_ns = float(np.median(np.diff(stamps)))
    return 1e9 / period_ns if period_ns > 0 else math.inf


@contextmanager
def _tub(source: Path, out: Path) -> Iterator[Tub]:
    if source.is_dir():
        yield open_tub(source)
        return
    if not source.is_file() or not is_archive(source):
        raise DataError(
            f"{source} is neither a tub's folder nor an archive ({', '.join(SUFFIXES)})"
        )
    # Beside the bag, where there is room for the drive; the system's temporary folder may be RAM.
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.tub.", dir=out.parent) as folder:
        try:
            unpack(source, Path(folder))
            yield open_tub(Path(folder))
        except DataError as error:  # the user knows the archive, not the folder of a moment
            raise DataError(str(error).replace(folder, str(source))) from error
