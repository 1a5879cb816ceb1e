"""JetBot and JetRacer folders: pictures whose label is their folder or their name.

* collision avoidance (JetBot): ``free/*.jpg`` and ``blocked/*.jpg``, named by a UUID;
* a point to drive to (JetBot): ``xy_XXX_YYY_UUID.jpg``, pixels, x from the left, y from the top;
  its first releases wrote 0..100 of the picture instead (``percent``);
* the same (JetRacer): ``X_Y_UUID.jpg`` in a folder for each category, ``apex`` among them.

Steering is the point's x, -1 at the left edge and 1 at the right one, times full lock, as JetRacer
drives by it. A UUID of version 1 holds the time at which it was made, so that is the stamp.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.data.importers.drive import (
    COLLISION_TOPIC,
    PICTURES,
    STEERING_TOPIC,
    TARGET_TOPIC,
    Drive,
    ImportOptions,
    Record,
    Value,
    files_below,
    steering_of_lock,
)

_Label = Callable[[Path], dict[str, Value]]
CLASSES = {"free": 0.0, "blocked": 1.0}
_POINT = re.compile(r"(?:xy_)?(\d{1,5})_(\d{1,5})(?:_(.+))?")
_GREGORIAN_NS = 0x01B21DD213814000 * 100  # from 1582-10-15, where UUIDs begin to count, to 1970


class JetbotClasses:
    """``free`` and ``blocked``."""

    name = "jetbot"
    looks_like = "JetBot folders free/ and blocked/"

    def detects(self, source: Path) -> bool:
        """Both folders in it, or in the one folder of it."""
        return _classes_folder(source) is not None

    def drives(self, source: Path, options: ImportOptions) -> list[Drive]:  # noqa: ARG002
        """One, in the order of the stamps."""
        folder = _classes_folder(source)
        if folder is None:
            raise DataError(f"{source} has no folders free/ and blocked/")
        paths = [path for name in CLASSES for path in files_below(folder / name, PICTURES)]
        return [_drive(folder.name, "jetbot free/blocked", paths, _class)]


class JetbotPoints:
    """A point in the file's name."""

    name = "jetbot-xy"
    looks_like = "JetBot or JetRacer pictures named xy_X_Y_UUID.jpg or X_Y_UUID.jpg"

    def detects(self, source: Path) -> bool:
        """All pictures of one of its folders are named so."""
        return source.is_dir() and bool(_point_folders(source))

    def drives(self, source: Path, options: ImportOptions) -> list[Drive]:
        """One for each folder, which is a category of its own."""
        folders = _point_folders(source)
        if not folders:
            raise DataError(f"{source} has no pictures named xy_X_Y_UUID.jpg or X_Y_UUID.jpg")
        label = partial(_point, options=options)
        return [
            _drive(folder.name, "jetbot x, y", files_below(folder, PICTURES), label)
            for folder in folders
        ]


def _drive(name: str, importer: str, paths: list[Path], label: _Label) -> Drive:
    stamped = sorted((_uuid_stamp(path), path.name, path) for path in paths)
    records = partial(_records, stamped, label)
    return Drive(name, records, len(paths), about={"importer": importer})


def _records(stamped: list[tuple[int, str, Path]], label: _Label) -> Iterator[Record]:
    # Where one name has no time, none has: the order would be neither that of time nor of names.
    timed = bool(stamped) and stamped[0][0] >= 0
    for number, (stamp_ns, _, path) in enumerate(stamped):
        yield Record(str(path), number, stamp_ns if timed else None, path, label(path))


def _class(path: Path) -> dict[str, Value]:
    return {COLLISION_TOPIC: CLASSES[path.parent.name]}


def _uuid_stamp(path: Path) -> int:
    """Nanoseconds since 1970 at which a file's UUID of version 1 was made; -1 where it has none."""
    try:
        made = uuid.UUID(path.stem.rsplit("_", 1)[-1])
    except ValueError:
        return -1
    return made.time * 100 - _GREGORIAN_NS if made.version == 1 else -1


def _point(path: Path, options: ImportOptions) -> dict[str, Value]:
    match = _POINT.fullmatch(path.stem)
    if match is None:
        raise DataError(f"{path}: its name is not xy_X_Y_UUID.jpg or X_Y_UUID.jpg")
    x, y = float(match[1]), float(match[2])
    picture = cv2.imread(str(path))
    if picture is None:  # counted as damaged when it is read in its turn
        return {}
    height, width = picture.shape[:2]
    if options.percent:
        x, y = x * width / 100.0, y * height / 100.0
    if x > width or y > height:
        raise DataError(f"{path}: the point {x:g}, {y:g} lies outside its picture {width}x{height}")
    steering = steering_of_lock(2.0 * x / width - 1.0, options)
    return {STEERING_TOPIC: steering, TARGET_TOPIC: (x, y, 0.0)}


def _classes_folder(source: Path) -> Path | None:
    if not source.is_dir():
        return None
    candidates = [source, *sorted(path for path in source.glob("*") if path.is_dir())]
    for folder in candidates:
        if all((folder / name).is_dir() for name in CLASSES):
            return folder
    return None


def _point_folders(source: Path) -> list[Path]:
    folders = [source, *sorted(path for path in source.glob("*") if path.is_dir())]
    return [folder for folder in folders if _all_points(files_below(folder, PICTURES))]


def _all_points(paths: list[Path]) -> bool:
    return bool(paths) and all(_POINT.fullmatch(path.stem) for path in paths)
