"""Recordings of other projects -> bags: one entry, one interface (``drive.Importer``)."""

from __future__ import annotations

import hashlib
import itertools
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import yaml

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.data.archives import SUFFIXES, is_archive, unpack
from crnn_snn_ros.data.bag_writer import require_new
from crnn_snn_ros.data.bags import read_info, read_stamps
from crnn_snn_ros.data.importers.donkeycar import Donkeycar, DonkeycarJson
from crnn_snn_ros.data.importers.drive import (
    COLLISION_TOPIC,
    IMAGE_TOPIC,
    PICTURES,
    STEERING_TOPIC,
    Drive,
    Importer,
    ImportOptions,
)
from crnn_snn_ros.data.importers.dronet import SPLITS as DRONET_SPLITS
from crnn_snn_ros.data.importers.dronet import Dronet
from crnn_snn_ros.data.importers.jetbot import JetbotClasses, JetbotPoints
from crnn_snn_ros.data.importers.table import ImagesAndTable
from crnn_snn_ros.data.importers.video import Video
from crnn_snn_ros.data.importers.writing import (
    ImportSummary,
    Progress,
    median_hz,
    write_drive,
)
from crnn_snn_ros.io.atomic import replacing
from crnn_snn_ros.io.processes import HERE, Workers, spread

__all__ = ["IMPORTERS", "ImportOptions", "ImportSummary", "import_recordings"]

VERSION = 2  # raise it whenever the same source gives other bytes
KEY = "import_key"
# In the order in which they are tried: what has the surest marks comes first.
IMPORTERS: tuple[Importer, ...] = (
    Donkeycar(),
    DonkeycarJson(),
    Dronet(),
    JetbotClasses(),
    Video(),
    ImagesAndTable(),
    JetbotPoints(),
)
DATA_FILE = "data.yaml"
_INPUT = {"width": 96, "height": 64, "colour": "rgb"}


def import_recordings(
    source: Path,
    out: Path,
    options: ImportOptions | None = None,
    kind: str | None = None,
    progress: Progress | None = None,
    workers: Workers = HERE,
) -> list[ImportSummary]:
    """Convert a recording, or a folder of them, to bags.

    One drive becomes the bag ``out``; several become ``out/NAME``, with a ``data.yaml`` of them
    all. A bag that is there already and was made of the same source in the same way is left as it
    is, so an import may be cut off and repeated.

    Args:
        source: a folder, a video, or a ``.tar.gz``, ``.tgz``, ``.tar`` or ``.zip`` of a folder.
        out: the bag's folder, or the folder for several.
        options: how to understand the source.
        kind: name of an importer; None asks each of them whether it knows the source.
        progress: called with (records done, records in all) of each drive; where others do it,
            with (drives done, drives in all).
        workers: who writes the bags; they do not depend on it.

    Returns:
        One summary for each drive.

    Raises:
        ConfigError: an unknown kind, or options that contradict the source.
        DataError: nobody knows the source, it is damaged, or ``out`` cannot be written.
    """
    options = options or ImportOptions()
    with _unpacked(source, out) as unpacked:
        folder = _root(unpacked)
        importer = _importer(folder, source, kind)
        key = _key(folder, importer, options)
        drives = importer.drives(folder, options)
        inside = folder if folder.is_dir() else folder.parent
        alone = len(drives) == 1
        _require_names(drives, source)
        works = [
            _Work(drive, out if alone else out / drive.name, _about(source, options, key, drive))
            for drive in drives
        ]
        done = [_already(work.bag, work.about) for work in works]
        new = [work for work, summary in zip(works, done, strict=True) if summary is None]
        written = iter(_write(new, inside, options, progress, workers))
        summaries = [next(written) if summary is None else summary for summary in done]
        if not alone:
            _write_data_file(out, drives, summaries)
        return summaries


class _Work(NamedTuple):
    drive: Drive
    bag: Path
    about: dict[str, str]


def _write(
    works: list[_Work],
    inside: Path,
    options: ImportOptions,
    progress: Progress | None,
    workers: Workers,
) -> list[ImportSummary]:
    for work in works:
        require_new(work.bag)
    if not workers.elsewhere:
        return spread(partial(_write_one, inside, options, progress), works)
    written = itertools.count(1)
    told = None if progress is None else lambda _: progress(next(written), len(works))
    run = partial(_write_one, inside, options, None)
    return spread(run, works, workers, told, made=lambda work: (work.bag,))


def _write_one(
    inside: Path, options: ImportOptions, progress: Progress | None, work: _Work
) -> ImportSummary:
    return write_drive(work.drive, inside, work.bag, work.about, options, progress)


def _root(source: Path) -> Path:
    """The folder that holds something: archives often have one around all, folders do not."""
    while source.is_dir():
        inside = [path for path in source.iterdir() if not path.name.startswith(".")]
        if len(inside) != 1 or not inside[0].is_dir():
            break
        if inside[0].name in DRONET_SPLITS and Dronet().detects(source):
            break  # its name says what the drives in it are for
        source = inside[0]
    return source


def _importer(folder: Path, source: Path, kind: str | None) -> Importer:
    if kind is not None:
        for importer in IMPORTERS:
            if importer.name == kind:
                return importer
        names = ", ".join(importer.name for importer in IMPORTERS)
        raise ConfigError(f"there is no format '{kind}', only {names}")
    for importer in IMPORTERS:
        if importer.detects(folder):
            return importer
    known = "; ".join(importer.looks_like for importer in IMPORTERS)
    raise DataError(f"{source} is nothing that can be imported; known are {known}")


def _about(source: Path, options: ImportOptions, key: str, drive: Drive) -> dict[str, str]:
    about = {
        "source": options.source_name or source.name,
        "licence": options.licence or "unknown",
        KEY: key,
    }
    return about | ({"split": drive.split} if drive.split else {})


def _already(bag: Path, about: dict[str, str]) -> ImportSummary | None:
    """What an earlier run made of the same; None where nothing is there."""
    if not bag.exists():
        return None
    if bag.is_dir() and not (bag / "metadata.yaml").is_file():
        return None  # not a bag; the writer says that the place is taken
    info = read_info(bag)
    if any(info.about.get(name) != about[name] for name in (KEY, "source", "licence")):
        raise DataError(
            f"{bag} exists, made of another source or in another way: remove it or "
            "choose another name"
        )
    stamps = read_stamps(bag, IMAGE_TOPIC)
    topics = tuple(info.topics)
    return ImportSummary(
        str(bag), len(stamps), 0, 0, 0, info.duration_s, median_hz(stamps), topics, unchanged=True
    )


def _key(source: Path, importer: Importer, options: ImportOptions) -> str:
    """A hash of all that the bags depend on: names and sizes, and what is no picture whole."""
    digest = hashlib.sha256(json.dumps([VERSION, importer.name, _plain(options)]).encode())
    files = [source] if source.is_file() else sorted(_shown(source))
    if options.table is not None:
        files.append(options.table)
    try:
        for path in files:
            name = path.name if path == source else str(path).removeprefix(str(source))
            digest.update(f"\n{name} {path.stat().st_size} ".encode(errors="surrogateescape"))
            if path.suffix.lower() not in PICTURES:
                with path.open("rb") as file:
                    digest.update(_digest(file))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    return digest.hexdigest()[:32]


def _shown(folder: Path) -> Iterator[Path]:
    """Its files; hidden ones are not read by anybody, and left out of archives."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.is_file():
            yield path


def _digest(file: BinaryIO) -> bytes:
    digest = hashlib.sha256()
    while block := file.read(2**20):
        digest.update(block)
    return digest.digest()


def _plain(options: ImportOptions) -> dict[str, object]:
    return {name: str(value) for name, value in sorted(asdict(options).items())}


def _require_names(drives: list[Drive], source: Path) -> None:
    names = [drive.name for drive in drives]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{source} has two drives named '{name}': import them one by one")


def _write_data_file(out: Path, drives: list[Drive], summaries: list[ImportSummary]) -> None:
    """A data file to begin with, for ``train``; one that is there already is left alone."""
    if (out / DATA_FILE).exists():
        return
    bags = []
    for drive, summary in zip(drives, summaries, strict=True):
        bag = {"path": Path(summary.bag).name, "image": IMAGE_TOPIC}
        for name, topic in (("steering", STEERING_TOPIC), ("collision", COLLISION_TOPIC)):
            if topic in summary.topics:
                bag[name] = topic
        bags.append(bag | ({"split": drive.split} if drive.split else {}))
    rates = [summary.rate_hz for summary in summaries if summary.rate_hz > 0]
    content = {
        "bags": bags,
        "splits": {"train": [0.0, 0.7], "validation": [0.7, 0.85], "test": [0.85, 1.0]},
        "frame_rate_hz": round(float(np.median(rates)), 3) if rates else 1.0,
        "input": _INPUT,
    }
    with replacing(out / DATA_FILE) as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


@contextmanager
def _unpacked(source: Path, out: Path) -> Iterator[Path]:
    if source.is_dir() or (source.is_file() and not is_archive(source)):
        yield source
        return
    if not source.is_file():
        raise DataError(f"{source} is missing; expected a folder, a video or {', '.join(SUFFIXES)}")
    # Beside the bag, where there is room for the drive; the system's temporary folder may be RAM.
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.tub.", dir=out.parent) as folder:
        try:
            unpack(source, Path(folder))
            yield Path(folder)
        except DataError as error:  # the user knows the archive, not the folder of a moment
            raise DataError(str(error).replace(folder, str(source))) from error
