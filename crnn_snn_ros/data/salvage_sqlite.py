"""Rows of a damaged ``.db3``, read from its leaf pages without the tree above them.

The format: sqlite.org/fileformat2.html. Only the table ``messages`` of a Rosbag2 is looked for:
rows of (NULL, integer, integer, blob), the first being the row's own number.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import quote

LEAF, PAGE_ONE_HEAD = 0x0D, 100
INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}


class Row(NamedTuple):
    """One row of ``messages``."""

    number: int
    topic: int
    stamp_ns: int
    data: bytes


def read_rows(path: Path, note: Callable[[str], None], whole: int | None = None) -> Iterator[Row]:
    """Stream the rows of ``messages``: by SQL as far as that goes, then by looking at the pages.

    Args:
        path: the database.
        note: told where it is damaged.
        whole: bytes of it that are its own, where the rest is filling. SQL would take that for
            the ends of long messages, so only the pages are looked at.
    """
    if whole is not None:
        yield from _pages(path, 0, whole)
        return
    last = 0
    base = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
    try:
        for number, topic, stamp_ns, data in base.execute(
            "SELECT id, topic_id, timestamp, data FROM messages ORDER BY id"
        ):
            # An empty page has no type, and SQLite then makes rows up.
            if number <= last or not isinstance(data, bytes):
                raise sqlite3.DatabaseError("a page is lost")
            last = number
            yield Row(number, topic, stamp_ns, data)
    except sqlite3.Error as error:
        note(f"{path.name}: {error} after row {last}")
        yield from _pages(path, last)
    finally:
        base.close()


def full_length(path: Path) -> int:
    """Bytes that a database should have, by its own head; 0 where that says nothing.

    SQLite opens no file that is shorter, even if all that is asked for is there.
    """
    with path.open("rb") as file:
        head = file.read(PAGE_ONE_HEAD)
    if len(head) < PAGE_ONE_HEAD or not head.startswith(b"SQLite format 3\0"):
        return 0
    size = int.from_bytes(head[16:18], "big")
    return int.from_bytes(head[28:32], "big") * (65536 if size == 1 else size)


class _Pages:
    """A database as pages, numbered from 1."""

    def __init__(self, file: BinaryIO, whole: int | None = None) -> None:
        self._file = file
        head = file.read(PAGE_ONE_HEAD).ljust(PAGE_ONE_HEAD, b"\0")
        size = int.from_bytes(head[16:18], "big")
        self.size = 65536 if size == 1 else size
        self.usable = self.size - head[20]
        length = file.seek(0, 2) if whole is None else whole
        self.count = length // self.size if self.size >= 512 else 0

    def page(self, number: int) -> bytes:
        if not 1 <= number <= self.count:
            return b""
        self._file.seek((number - 1) * self.size)
        return self._file.read(self.size)


def _pages(path: Path, last: int, whole: int | None = None) -> Iterator[Row]:
    """Rows after ``last`` that are whole, in the order of their numbers."""
    with path.open("rb") as file:
        pages = _Pages(file, whole)
        places: dict[int, tuple[int, int]] = {}  # page and offset by the row's number
        for number in range(1, pages.count + 1):
            page = pages.page(number)
            for at in _cells(page, PAGE_ONE_HEAD if number == 1 else 0):
                row = _row(pages, page, at)
                if row is not None and row.number > last:
                    places[row.number] = number, at
        for found in sorted(places):
            number, at = places[found]
            row = _row(pages, pages.page(number), at)
            if row is not None:
                yield row


def _cells(page: bytes, head: int) -> list[int]:
    """Offsets of the cells of a leaf page of a table."""
    if len(page) < head + 8 or page[head] != LEAF:
        return []
    count = int.from_bytes(page[head + 3 : head + 5], "big")
    begin = head + 8
    offsets = [int.from_bytes(page[begin + 2 * n : begin + 2 * n + 2], "big") for n in range(count)]
    return [at for at in offsets if begin + 2 * count <= at < len(page)]


def _row(pages: _Pages, page: bytes, at: int) -> Row | None:
    """A row of ``messages``; None where the cell is another's, or not whole."""
    length, at = _varint(page, at)
    number, at = _varint(page, at)
    payload = _payload(pages, page, at, length)
    if payload is None:
        return None
    end, begin = _varint(payload, 0)
    types = []
    while begin < end <= len(payload):
        kind, begin = _varint(payload, begin)
        types.append(kind)
    if len(types) != 4 or types[0] != 0 or types[3] < 12 or types[3] % 2:
        return None
    if types[1] not in INTEGER_BYTES or types[2] not in INTEGER_BYTES:
        return None
    topic, begin = _integer(payload, end, types[1])
    stamp_ns, begin = _integer(payload, begin, types[2])
    size = (types[3] - 12) // 2
    if begin + size != len(payload) or stamp_ns < 0:
        return None
    return Row(number, topic, stamp_ns, payload[begin : begin + size])


def _payload(pages: _Pages, page: bytes, at: int, length: int) -> bytes | None:
    """The bytes of a cell, those on overflow pages too; None where one of them is lost."""
    if not 4 <= length <= pages.count * pages.size:
        return None
    local, least = length, (pages.usable - 12) * 32 // 255 - 23
    if length > pages.usable - 35:
        local = least + (length - least) % (pages.usable - 4)
        local = local if local <= pages.usable - 35 else least
    parts, missing = [page[at : at + local]], length - local
    following = int.from_bytes(page[at + local : at + local + 4], "big")
    while missing > 0:
        overflow = pages.page(following)
        if len(overflow) < pages.usable:
            return None
        parts.append(overflow[4 : 4 + min(missing, pages.usable - 4)])
        missing -= len(parts[-1])
        following = int.from_bytes(overflow[:4], "big")
    payload = b"".join(parts)
    return payload if len(payload) == length else None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of up to 9 bytes, and where it ends.

    Example:
        >>> _varint(bytes([0x81, 0x00]), 0)
        (128, 2)
    """
    value = 0
    for count in range(9):
        byte = data[at + count] if at + count < len(data) else 0
        if count == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            return value, at + count + 1
    return value, at + 9


def _integer(data: bytes, at: int, kind: int) -> tuple[int, int]:
    if kind in (8, 9):
        return kind - 8, at
    size = INTEGER_BYTES[kind]
    return int.from_bytes(data[at : at + size], "big", signed=True), at + size
