"""A CSV beside pictures, or beside a video; a mapping says which column is what.

| role | |
|---|---|
| ``image`` | name of the picture, relative to the CSV's folder |
| ``frame`` | of a video: number of the frame that the line belongs to, from 0 on |
| ``time_s``, ``time_ms``, ``time_ns`` | when it was taken; of a video, from its beginning |
| ``steering`` | radians to the left, after ``steering_scale`` |
| ``collision`` | 0..1 |
| ``throttle`` | -1..1 |
| ``session`` | lines of one session make a bag; without it all make one |

A role that is not mapped is taken from the column of its own name, if there is one. An empty cell
is a frame without that label; words may stand for numbers.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.data.importers.drive import (
    COLLISION_TOPIC,
    STEERING_TOPIC,
    THROTTLE_TOPIC,
    Drive,
    ImportOptions,
    Record,
    files_below,
    number_in,
)

TIMES = {"time_s": 10**9, "time_ms": 10**6, "time_ns": 1}
LABELS = {
    "steering": (STEERING_TOPIC, (-100.0, 100.0)),
    "collision": (COLLISION_TOPIC, (0.0, 1.0)),
    "throttle": (THROTTLE_TOPIC, (-1.0, 1.0)),
}
ROLES = ("image", "frame", *TIMES, *LABELS, "session")


class Line(NamedTuple):
    """What the mapped columns of a line say."""

    where: str
    image: str
    frame: int | None
    stamp_ns: int | None
    labels: dict[str, float]  # by topic
    session: str


class ImagesAndTable:
    """Pictures with a CSV in the same folder, or above them."""

    name = "csv"
    looks_like = "a folder with a CSV of pictures (--columns image=...)"

    def detects(self, source: Path) -> bool:
        """One CSV in the folder."""
        return source.is_dir() and len(files_below(source, (".csv",))) == 1

    def drives(self, source: Path, options: ImportOptions) -> list[Drive]:
        """One for each session, in the order of the first lines."""
        table = options.table or the_table(source)
        sessions: dict[str, list[Line]] = {}
        for line in read_table(table, options, ("image",)):
            sessions.setdefault(line.session, []).append(line)
        if not sessions:
            raise DataError(f"{table} has no lines below its head")
        about = {"importer": "images and csv", "steering_scale": repr(options.steering_scale)}
        return [
            Drive(_bag_name(name) or source.name, partial(_records, source, lines), len(lines),
                  about={**about, "session": name})
            for name, lines in sessions.items()
        ]  # fmt: skip


def the_table(folder: Path) -> Path:
    """The one CSV of a folder.

    Raises:
        DataError: there is none, or several.
    """
    found = files_below(folder, (".csv",))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise DataError(f"{folder} should hold one CSV, it has {names}; name it with --table")
    return found[0]


def read_table(table: Path, options: ImportOptions, required: tuple[str, ...]) -> Iterator[Line]:
    """Stream the lines of a CSV.

    Raises:
        ConfigError: a mapped role or column does not exist.
        DataError: it cannot be read, or a cell does not say what it should; names file and line.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = _columns(table, list(reader.fieldnames or ()), options, required)
            for cells in reader:
                yield _line(f"{table}:{reader.line_num}", cells, columns, options)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} cannot be read: {error}") from error


def _columns(
    table: Path, head: list[str], options: ImportOptions, required: tuple[str, ...]
) -> dict[str, str]:
    for role, column in options.columns.items():
        if role not in ROLES:
            raise ConfigError(f"--columns: there is no role '{role}', only {', '.join(ROLES)}")
        if column not in head:
            raise ConfigError(f"{table} has no column '{column}', only {', '.join(head)}")
    columns = {role: role for role in ROLES if role in head} | dict(options.columns)
    for role in required:
        if role not in columns:
            raise ConfigError(
                f"{table}: which column is the {role}? (--columns {role}=COLUMN); "
                f"it has {', '.join(head)}"
            )
    times = [role for role in TIMES if role in columns]
    if len(times) > 1:
        raise ConfigError(f"{table}: {' and '.join(times)} are both given, expected one time")
    return columns


def _line(
    where: str, cells: dict[str, str], columns: dict[str, str], options: ImportOptions
) -> Line:
    def cell(role: str) -> str:
        return (cells.get(columns[role]) or "").strip() if role in columns else ""

    labels = {}
    for role, (topic, limits) in LABELS.items():
        if text := cell(role):
            value = _number(text, columns[role], where, options, limits)
            labels[topic] = 0.0 + value * (options.steering_scale if role == "steering" else 1.0)
    stamp_ns = None
    for role, unit in TIMES.items():
        if text := cell(role):
            stamp_ns = _stamp(text, unit, columns[role], where)
    frame = cell("frame")
    if frame and not frame.isdecimal():
        raise DataError(f"{where}: '{columns['frame']}' is {frame!r}, expected a frame's number")
    number = int(frame) if frame else None
    return Line(where, cell("image"), number, stamp_ns, labels, cell("session"))


def _number(
    text: str, column: str, where: str, options: ImportOptions, limits: tuple[float, float]
) -> float:
    if text in options.words:
        return number_in(options.words[text], column, where, limits)
    try:
        value = float(text)
    except ValueError:
        raise DataError(
            f"{where}: '{column}' is {text!r}, expected a number (or --words {text}=NUMBER)"
        ) from None
    return number_in(value, column, where, limits)


def _stamp(text: str, unit: int, column: str, where: str) -> int:
    """Nanoseconds; whole and fractional digits apart, for a double would lose some."""
    whole, _, fraction = text.partition(".")
    if not whole.isdecimal() or not (fraction.isdecimal() or not fraction):
        value = number_in(_float(text), column, where, (0.0, 2.0**31 * 1e9 / unit))
        return round(value * unit)
    stamp = int(whole) * unit + int((fraction + "0" * 9)[:9]) * unit // 10**9
    if stamp >= 2**31 * 10**9:
        raise DataError(f"{where}: '{column}' is {text}, beyond what a ROS time holds")
    return stamp


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _bag_name(session: str) -> str:
    """A session as a folder's name."""
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in session)
    return name.lstrip(".")


def _records(folder: Path, lines: list[Line]) -> Iterator[Record]:
    for number, line in enumerate(lines):
        if not line.image:
            raise DataError(f"{line.where}: no picture is named")
        path = folder / line.image
        if Path(line.image).is_absolute() or ".." in Path(line.image).parts:
            raise DataError(f"{line.where}: {line.image!r} leads out of {folder}")
        yield Record(line.where, number, line.stamp_ns, path, line.labels)
