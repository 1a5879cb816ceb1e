"""Files that appear under their name only when they are whole."""

from __future__ import annotations

import glob
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; what was written there takes its place at the end.

    After an error the temporary is removed and ``path`` is as it was.

    Raises:
        OSError: the disk refuses.
    """
    # The ending stays, as there are libraries that choose a format by it.
    temporary = path.parent / f".{secrets.token_hex(4)}.tmp.{path.name}"
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # else a power cut after the rename could leave an empty file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove what processes that were killed while they wrote ``path`` have left beside it.

    Only for a file that nobody else may be writing now.
    """
    for temporary in path.parent.glob(f".{'[0-9a-f]' * 8}.tmp.{glob.escape(path.name)}"):
        temporary.unlink(missing_ok=True)
