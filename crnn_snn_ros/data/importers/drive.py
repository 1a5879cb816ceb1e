"""What every importer gives: drives, each a stream of records."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from crnn_snn_ros.core.errors import ConfigError, DataError

IMAGE_TOPIC = "/image/compressed"
STEERING_TOPIC = "/steering"
COLLISION_TOPIC = "/collision"
THROTTLE_TOPIC = "/throttle"
TARGET_TOPIC = "/target"
SOURCE_TOPIC = "/source"

Value = float | tuple[float, float, float]


class Record(NamedTuple):
    """One frame of a drive, with all that is known of it."""

    where: str  # file and line, for messages
    number: int  # place in the drive; grows, and what is missing leaves a gap
    stamp_ns: int | None  # as recorded; None where nothing recorded it
    picture: Path | bytes  # JPEG or PNG
    values: Mapping[str, Value]  # by topic: a float becomes Float32, a triple Vector3Stamped
    deleted: bool = False  # cleaned away by the driver


@dataclass(frozen=True)
class Drive:
    """One recording, which becomes one bag.

    Args:
        name: of the bag where there are several.
        records: makes a new stream of them; read once, from the beginning.
        count: how many records, for the progress bar; None where nobody knows.
        split: what the source itself says that the drive is for: train, validation, test.
        about: what is particular to this drive, kept in the bag.
        stamped: the recorded stamps are capture times, whatever ``rate_hz`` says.
    """

    name: str
    records: Callable[[], Iterator[Record]]
    count: int | None = None
    split: str | None = None
    about: Mapping[str, str] = field(default_factory=dict)
    stamped: bool = False


@dataclass(frozen=True)
class ImportOptions:
    """How to understand a source.

    Args:
        rate_hz: None keeps the recorded stamps. A rate places record n at ``first stamp +
            (n - first n) / rate_hz``, so that missing stretches stay gaps: for sources whose
            stamps are an artefact, or that have none.
        start_s: time of the first frame, seconds since 1970, of sources without any stamps.
        max_steering_rad: wheel angle at full lock, of sources that record -1..1, left negative
            (Donkeycar, and the x of JetBot's and JetRacer's points). Default: 25 degrees.
        steering_scale: radians, positive to the left, per recorded unit of the other sources.
        columns: role -> column of a CSV; roles are those of ``table``.
        words: text in a label's column -> number.
        table: the CSV of a video, or of a folder that holds several.
        percent: JetBot's points are 0..100 instead of pixels, as its first releases wrote them.
        source_name: origin of the drives, kept in the bags and in what is trained on them.
        licence: their licence, likewise.

    Raises:
        ConfigError: a number is out of range.
    """

    rate_hz: float | None = None
    start_s: float = 0.0
    max_steering_rad: float = 0.4363
    steering_scale: float = 1.0
    columns: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, float] = field(default_factory=dict)
    table: Path | None = None
    percent: bool = False
    source_name: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        if self.rate_hz is not None and not 0.01 <= self.rate_hz <= 1000.0:
            raise ConfigError(f"rate {self.rate_hz} Hz is not within 0.01..1000")
        if not 0.0 < self.max_steering_rad <= math.pi / 2:
            raise ConfigError(
                f"largest steering angle {self.max_steering_rad} rad is not within 0..pi/2"
            )
        if not (math.isfinite(self.steering_scale) and self.steering_scale != 0.0):
            raise ConfigError(f"steering scale {self.steering_scale} must be a number other than 0")
        if not 0.0 <= self.start_s < 2**31:
            raise ConfigError(f"start {self.start_s} s does not fit a ROS time, 0..2^31 s")


class Importer(Protocol):
    """One kind of source."""

    name: str  # of ``--format``, and in the bag
    looks_like: str  # for the message when nothing fits

    def detects(self, source: Path) -> bool:
        """Whether a folder or file is of this kind; reads little, and raises nothing."""
        ...

    def drives(self, source: Path, options: ImportOptions) -> list[Drive]:
        """The drives in it; raises ``DataError`` where the source is damaged."""
        ...


def number_in(value: Any, what: str, where: str, limits: tuple[float, float]) -> float:
    """A recorded number within its limits.

    Raises:
        DataError: it is none; says what, where and which are allowed.
    """
    if (
        type(value) not in (int, float)
        or not math.isfinite(value)
        or not limits[0] <= value <= limits[1]
    ):
        low, high = limits
        raise DataError(f"{where}: '{what}' is {value!r}, expected a number in {low:g}..{high:g}")
    return float(value)


def steering_of_lock(share: float, options: ImportOptions) -> float:
    """Steering, rad, left positive, from -1 (left) .. 1 (right); 0.0, never -0.0, straight ahead.

    Example:
        >>> steering_of_lock(-0.5, ImportOptions(max_steering_rad=0.4))
        0.2
    """
    return 0.0 - share * options.max_steering_rad


def files_below(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """Files of a folder itself whose names end so, hidden ones left out, sorted.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in endings and not path.name.startswith(".") and path.is_file()
        )
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from None


PICTURES = (".jpg", ".jpeg", ".png")
