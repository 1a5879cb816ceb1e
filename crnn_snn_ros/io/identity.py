"""What tells one content of a file from another without reading it."""

from __future__ import annotations

from pathlib import Path

Identity = tuple[str, int, int]  # resolved path, size in bytes, time of change in ns


def identity(path: Path) -> Identity:
    """Of a file as it is now.

    Raises:
        OSError: it cannot be looked at.
    """
    stat = path.stat()
    return str(path.resolve()), stat.st_size, stat.st_mtime_ns


def identity_if_any(path: Path) -> Identity | None:
    """The same; None where it cannot be looked at: whoever loads it says why.

    For what a process keeps of a file: it may live longer than the content does.
    """
    try:
        return identity(path)
    except OSError:
        return None
