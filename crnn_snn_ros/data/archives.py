"""Unpacking archives of strangers: nothing lands outside the folder, nothing fills the disk."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from crnn_snn_ros.core.errors import DataError

SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip")
MAX_MEMBERS = 1_000_000
MAX_BYTES = 64 * 2**30  # unpacked; a day of driving at 160x120 is 10 GiB


class _Member(NamedTuple):
    name: str
    regular: bool
    open: Callable[[], IO[bytes] | None]


def is_archive(path: Path) -> bool:
    """Whether the name is that of an archive which ``unpack`` reads."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, folder: Path, max_bytes: int = MAX_BYTES) -> None:
    """Unpack the files of a ``.tar.gz``, ``.tgz``, ``.tar`` or ``.zip`` into a folder.

    Bytes are counted as they come out, whatever the archive says of its sizes. Owners,
    permissions and times are not taken over; macOS' ``._*`` companions are left out.

    Raises:
        DataError: damaged; a name that leaves the folder; a link or device; too large.
    """
    budget = max_bytes
    with _reading(archive):
        members = _zip_members if archive.name.lower().endswith(".zip") else _tar_members
        for count, member in enumerate(members(archive), start=1):
            if count > MAX_MEMBERS:
                raise DataError(f"{archive} holds more than {MAX_MEMBERS} files")
            name = PurePosixPath(member.name)
            if name.is_absolute() or ".." in name.parts or "\\" in member.name:
                raise DataError(f"{archive}: '{name}' would be unpacked outside its folder")
            if name.name.startswith("._"):
                continue
            source = member.open() if member.regular else None
            if source is None:
                raise DataError(f"{archive}: '{name}' is a link or a device, expected a file")
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with source, target.open("xb") as sink:
                budget -= _copy(source, sink, budget)
            if budget < 0:
                raise DataError(f"{archive} unpacks to more than {max_bytes / 2**30:.1f} GiB")


def _copy(source: IO[bytes], sink: IO[bytes], budget: int) -> int:
    copied = 0
    while copied <= budget and (block := source.read(2**20)):
        sink.write(block)
        copied += len(block)
    return copied


def _tar_members(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive, "r:*") as tar:
        for info in tar:
            if not info.isdir():
                yield _Member(info.name, info.isreg(), partial(tar.extractfile, info))


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as zipped:
        for info in zipped.infolist():
            kind = info.external_attr >> 28  # high bits of the Unix mode: 8 is a regular file
            if not info.is_dir():
                yield _Member(info.filename, kind in (0, 8), partial(zipped.open, info))


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise DataError(f"{archive} holds '{Path(error.filename).name}' twice") from None
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        ValueError,
        NotImplementedError,
        RuntimeError,  # of zipfile: unknown compression, encrypted
    ) as error:
        raise DataError(f"{archive} is damaged or unreadable: {error}") from error
    except OSError as error:
        raise DataError(f"{archive} cannot be unpacked: {error}") from error
