"""Files that appear under their name only when they are whole."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; what was written there takes its place at the end.

    After an error the temporary is removed and ``path`` is as it was.

    Raises:
        OSError: the disk refuses.
    """
    temporary = beside(path)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # else a power cut after the rename could leave an empty file
        os.replace(temporary, path)
    except OSError as error:
        if error.filename == str(temporary):  # a name that nobody has heard of
            error.filename = str(path)
            del error.filename2
        raise
    finally:
        temporary.unlink(missing_ok=True)


def beside(path: Path) -> Path:
    """A new hidden name beside a file or folder that is not whole yet."""
    # The ending stays, as there are libraries that choose a format by it.
    return path.parent / f".{secrets.token_hex(4)}.tmp.{path.name}"


def remove_unfinished(paths: Iterable[Path]) -> None:
    """Remove what a process that was killed had begun of files and folders.

    Whoever still writes one of them fails when it wants to name it.
    """
    names: dict[Path, set[str]] = {}
    for path in paths:
        names.setdefault(path.parent, set()).add(path.name)
    for folder, wanted in names.items():
        for found in list(folder.iterdir()) if folder.is_dir() else ():
            match = re.fullmatch(r"\.[0-9a-f]{8}\.tmp\.(.*)", found.name, re.DOTALL)
            if match is None or match[1] not in wanted:
                continue
            if found.is_dir():
                shutil.rmtree(found, ignore_errors=True)
            else:
                found.unlink(missing_ok=True)
