"""Reading a Donkeycar v4 tub: a manifest, catalogs of JSON lines, a folder of JPEG images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.data.importers.drive import number_in

MANIFEST = "manifest.json"


class Record(NamedTuple):
    """One line of a catalog."""

    where: str  # file and line, for messages
    number: int  # counts the frames of the drive, deleted ones too
    stamp_ns: int  # as recorded
    image: Path
    angle: float  # -1 (left) .. 1 (right)
    throttle: float  # -1..1


class Tub(NamedTuple):
    """What the manifest says."""

    folder: Path
    catalogs: tuple[Path, ...]
    deleted: frozenset[int]  # indexes that the driver cleaned away


def open_tub(folder: Path) -> Tub:
    """Read the manifest of the tub in ``folder``, or in the one folder below that holds one.

    Raises:
        DataError: no tub, an older format, several tubs, or a damaged manifest.
    """
    manifest = _find_manifest(folder)
    try:
        lines = manifest.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{manifest} cannot be read: {error}") from error
    # inputs, types, metadata, manifest metadata, catalog metadata
    if len(lines) < 5:
        raise DataError(f"{manifest} has {len(lines)} lines, a v4 tub has 5")
    summary = json_object(lines[4], f"{manifest}:5")
    paths, deleted = summary.get("paths"), summary.get("deleted_indexes", [])
    if not isinstance(paths, list) or not isinstance(deleted, list):
        raise DataError(f"{manifest}:5: expected the lists 'paths' and 'deleted_indexes'")
    if not all(type(index) is int for index in deleted):
        raise DataError(f"{manifest}:5: 'deleted_indexes' are not whole numbers")
    catalogs = tuple(
        manifest.parent / plain_name(path, f"{manifest}:5")
        for path in paths
        if not str(path).startswith("._")
    )
    if not catalogs:
        raise DataError(f"{manifest}:5 lists no catalog: the tub is empty")
    return Tub(manifest.parent, catalogs, frozenset(deleted))


def read_records(tub: Tub) -> Iterator[Record]:
    """Stream the records of all catalogs in order, those of deleted indexes too.

    Raises:
        DataError: naming file and line of what is damaged.
    """
    last = -1
    for catalog in tub.catalogs:
        try:
            with catalog.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines, start=1):
                    if not line.strip():
                        continue
                    record = _record(tub, json_object(line, f"{catalog}:{number}"), number, catalog)
                    if record.number <= last:
                        raise DataError(
                            f"{record.where}: _index {record.number} follows {last}, "
                            "expected it to grow"
                        )
                    last = record.number
                    yield record
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{catalog} cannot be read: {error}") from error


def _find_manifest(folder: Path) -> Path:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; expected a Donkeycar tub, or an archive of one")
    for candidates in ([folder / MANIFEST], sorted(folder.glob(f"*/{MANIFEST}"))):
        found = [path for path in candidates if path.is_file()]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(path.parent.name for path in found)
            raise DataError(f"{folder} holds several tubs, import one at a time: {names}")
    raise DataError(f"{folder} is no Donkeycar v4 tub: it has no {MANIFEST}")


def _record(tub: Tub, fields: dict[str, Any], number: int, catalog: Path) -> Record:
    where = f"{catalog}:{number}"
    for key, end in (("_index", 2**53), ("_timestamp_ms", 2**31 * 1000)):
        if type(fields.get(key)) is not int or not 0 <= fields[key] < end:
            raise DataError(
                f"{where}: '{key}' is {fields.get(key)!r}, expected a whole number below {end}"
            )
    return Record(
        where=where,
        number=fields["_index"],
        stamp_ns=fields["_timestamp_ms"] * 1_000_000,
        image=tub.folder / "images" / plain_name(fields.get("cam/image_array"), where),
        angle=number_in(fields.get("user/angle"), "user/angle", where, (-1.0, 1.0)),
        throttle=number_in(fields.get("user/throttle"), "user/throttle", where, (-1.0, 1.0)),
    )


def json_object(line: str, where: str) -> dict[str, Any]:
    """The fields of a JSON object; raises ``DataError`` where it is none."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise DataError(f"{where} is not a JSON object")
    return fields


def plain_name(name: object, where: str) -> str:
    """A file name of the tub's own: a path could lead anywhere on the disk.

    Raises:
        DataError: it is none.
    """
    if not isinstance(name, str) or not name or name in (".", "..") or set(name) & set("/\\\0"):
        raise DataError(f"{where}: {name!r} is not a file name")
    return name
