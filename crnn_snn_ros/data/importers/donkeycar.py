"""Donkeycar tubs: v4 (manifest and catalogs), and the older form of one JSON file per record.

The older form, as its ``Tub`` wrote it: ``record_N.json`` with ``cam/image_array``, ``user/angle``,
``user/throttle`` and, from 2.5 on, ``milliseconds`` since ``start`` of ``meta.json``; the images
lie beside, and records that the driver cleaned away are numbers in ``exclude.json``, or are gone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.data.importers.donkeycar_tub import (
    MANIFEST,
    Tub,
    json_object,
    open_tub,
    plain_name,
    read_records,
)
from crnn_snn_ros.data.importers.drive import (
    STEERING_TOPIC,
    THROTTLE_TOPIC,
    Drive,
    ImportOptions,
    Record,
    number_in,
    steering_of_lock,
)

_RECORD = re.compile(r"record_(\d+)\.json")
MAX_START_S = 2.0**31  # of a ROS time


class Donkeycar:
    """Version 4."""

    name = "donkeycar"
    looks_like = f"a Donkeycar v4 tub ({MANIFEST})"

    def detects(self, source: Path) -> bool:
        """A manifest in it, or in a folder of it."""
        here = (source / MANIFEST).is_file()
        return source.is_dir() and (here or any(source.glob(f"*/{MANIFEST}")))

    def drives(self, source: Path, options: ImportOptions) -> list[Drive]:
        """The one drive of a tub."""
        tub = open_tub(source)
        records = partial(_v4_records, tub, options)
        about = {"importer": "donkeycar v4", "max_steering_rad": repr(options.max_steering_rad)}
        return [Drive(tub.folder.name, records, _lines(tub), about=about)]


class DonkeycarJson:
    """Versions 1 to 3."""

    name = "donkeycar-json"
    looks_like = "an older Donkeycar tub (record_1.json ...)"

    def detects(self, source: Path) -> bool:
        """A record in it, or in a folder of it."""
        return source.is_dir() and bool(_tub_folders(source))

    def drives(self, source: Path, options: ImportOptions) -> list[Drive]:
        """One for each folder of records."""
        folders = _tub_folders(source)
        if not folders:
            raise DataError(f"{source} is no older Donkeycar tub: it has no record_1.json")
        about = {"importer": "donkeycar json", "max_steering_rad": repr(options.max_steering_rad)}
        drives = []
        for folder in folders:
            numbers = _numbers(folder)
            records = partial(_json_records, folder, numbers, options)
            drives.append(Drive(folder.name, records, len(numbers), about=about))
        return drives


def _v4_records(tub: Tub, options: ImportOptions) -> Iterator[Record]:
    for record in read_records(tub):
        yield Record(
            record.where,
            record.number,
            record.stamp_ns,
            record.image,
            _values(record.angle, record.throttle, options),
            record.number in tub.deleted,
        )


def _lines(tub: Tub) -> int | None:
    """Records of a tub; a catalog that cannot be read is told of when its turn comes."""
    count = 0
    try:
        for path in tub.catalogs:
            with path.open("rb") as lines:
                count += sum(1 for line in lines if line.strip())
    except OSError:
        return None
    return count


def _values(angle: float, throttle: float, options: ImportOptions) -> dict[str, float]:
    return {STEERING_TOPIC: steering_of_lock(angle, options), THROTTLE_TOPIC: throttle}


def _tub_folders(source: Path) -> list[Path]:
    candidates = [source, *sorted(path for path in source.glob("*") if path.is_dir())]
    return [folder for folder in candidates if any(folder.glob("record_*.json"))]


def _numbers(folder: Path) -> list[int]:
    """Numbers of the records; as names they would sort 1, 10, 2."""
    found = (_RECORD.fullmatch(path.name) for path in folder.glob("record_*.json"))
    return sorted(int(match[1]) for match in found if match)


def _json_records(folder: Path, numbers: list[int], options: ImportOptions) -> Iterator[Record]:
    start_s = _start(folder)
    excluded = _excluded(folder)
    for number in numbers:
        path = folder / f"record_{number}.json"
        fields = json_object(_text(path), str(path))
        stamp_ns = None
        if start_s is not None and "milliseconds" in fields:
            elapsed = number_in(fields["milliseconds"], "milliseconds", str(path), (0.0, 2.0**41))
            stamp_ns = round(start_s * 1e9) + round(elapsed * 1e6)
        angle, throttle = (
            number_in(fields.get(key), key, str(path), (-1.0, 1.0))
            for key in ("user/angle", "user/throttle")
        )
        picture = folder / plain_name(fields.get("cam/image_array"), str(path))
        values = _values(angle, throttle, options)
        yield Record(str(path), number, stamp_ns, picture, values, number in excluded)


def _start(folder: Path) -> float | None:
    """When the drive began, seconds since 1970; None where nobody wrote it down."""
    path = folder / "meta.json"
    if not path.is_file():
        return None
    start = json_object(_text(path), str(path)).get("start")
    if start is None:
        return None
    if type(start) not in (int, float) or not math.isfinite(start) or not 0 <= start < MAX_START_S:
        raise DataError(f"{path}: 'start' is {start!r}, expected seconds since 1970")
    return float(start)


def _excluded(folder: Path) -> frozenset[int]:
    path = folder / "exclude.json"
    if not path.is_file():
        return frozenset()
    try:
        numbers = json.loads(_text(path))
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from None
    if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
        raise DataError(f"{path}: expected a list of record numbers")
    return frozenset(numbers)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
