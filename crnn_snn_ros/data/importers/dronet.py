"""DroNet's layout: folders of ``images/`` with ``labels.txt`` or ``sync_steering.txt``.

``labels.txt`` has a collision label, 0 or 1, in each line; ``sync_steering.txt`` begins with a line
of names, and the first column of the others is the steering angle. Line n belongs to picture n,
in the order of the first number in their names; Udacity's pictures are named by nanoseconds. The
folders may lie in ``training/``, ``validation/`` and ``testing/``, and ``HMB_1/*`` one deeper.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.data.importers.drive import (
    COLLISION_TOPIC,
    PICTURES,
    STEERING_TOPIC,
    Drive,
    ImportOptions,
    Record,
    files_below,
)

STEERINGS, LABELS, IMAGES = "sync_steering.txt", "labels.txt", "images"
SPLITS = {"training": "train", "validation": "validation", "testing": "test"}
MAX_DEPTH = 4
_NANOSECONDS = range(10**18, 2**31 * 10**9)  # from 2001 on: nobody counts pictures so far


class Dronet:
    """Both kinds of labels."""

    name = "dronet"
    looks_like = f"DroNet folders with {IMAGES}/ and {LABELS} or {STEERINGS}"

    def detects(self, source: Path) -> bool:
        """A folder of that form in it."""
        return source.is_dir() and next(_experiments(source), None) is not None

    def drives(self, source: Path, options: ImportOptions) -> list[Drive]:
        """One for each folder of pictures."""
        drives = []
        for folder in _experiments(source):
            paths = sorted(files_below(folder / IMAGES, PICTURES), key=_number)
            stamped = all(_number(path) in _NANOSECONDS for path in paths)
            parts = folder.relative_to(source).parts
            split = next((SPLITS[part] for part in parts if part in SPLITS), None)
            records = partial(_records, folder, paths, options, stamped)
            name = "_".join(part for part in parts if part not in SPLITS) or folder.name
            about = {"importer": "dronet", "steering_scale": repr(options.steering_scale)}
            drives.append(Drive(name, records, len(paths), split, about, stamped))
        if not drives:
            raise DataError(f"{source} has no folder with {IMAGES}/ and {LABELS} or {STEERINGS}")
        return drives


def _experiments(source: Path) -> Iterator[Path]:
    for depth in range(MAX_DEPTH):
        for images in sorted(source.glob("/".join(["*"] * depth + [IMAGES]))):
            folder = images.parent
            if any((folder / name).is_file() for name in (STEERINGS, LABELS)):
                yield folder


def _records(
    folder: Path, paths: list[Path], options: ImportOptions, stamped: bool
) -> Iterator[Record]:
    steers = (folder / STEERINGS).is_file()
    file = folder / (STEERINGS if steers else LABELS)
    topic = STEERING_TOPIC if steers else COLLISION_TOPIC
    labels = _labels(file, steers)
    if len(labels) != len(paths):
        raise DataError(f"{file} has {len(labels)} labels, {folder / IMAGES} {len(paths)} pictures")
    for number, (path, label) in enumerate(zip(paths, labels, strict=True)):
        stamp_ns = _number(path) if stamped else None
        value = 0.0 + label * options.steering_scale if steers else label
        yield Record(str(path), number, stamp_ns, path, {topic: value})


def _labels(file: Path, steers: bool) -> list[float]:
    """The first column; 8 bytes a picture, less than their names."""
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    labels = []
    for number, line in enumerate(lines, start=1):
        if (steers and number == 1) or not line.strip() or line.startswith("#"):
            continue
        word = re.split(r"[,\s]", line.strip(), maxsplit=1)[0]
        try:
            label = float(word)
        except ValueError:
            label = math.nan
        if not math.isfinite(label) or not (steers or 0.0 <= label <= 1.0):
            kind = "an angle" if steers else "a number in 0..1"
            raise DataError(f"{file}:{number}: label {word!r}, expected {kind}")
        labels.append(label)
    return labels


def _number(path: Path) -> int:
    match = re.search(r"\d+", path.name)
    if match is None:
        raise DataError(f"{path}: expected a number in its name, which is the order of the drive")
    return int(match[0])
