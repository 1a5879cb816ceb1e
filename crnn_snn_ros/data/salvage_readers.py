"""Reading the files of damaged bags: every message that is whole, and a note of where it ended.

Nothing here trusts an index: MCAP and ROS 1 files are walked record by record from the front, a
sqlite3 table row by row. Formats: mcap.dev/spec, wiki.ros.org/Bags/Format/2.0.
"""

from __future__ import annotations

import bz2
import io
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import quote

import lz4.frame
import zstandard

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.data.salvage_sqlite import read_rows

MCAP_MAGIC = b"\x89MCAP0\r\n"
ROS1_MAGIC = b"#ROSBAG V2.0\n"
MAX_RECORD = 2**31  # bytes; a longer one is a damaged length

Note = Callable[[str], None]


class Raw(NamedTuple):
    """A message as it was recorded."""

    topic: str
    msgtype: str
    msgdef: str
    received_ns: int
    data: bytes
    suspect: bool = False  # from a chunk whose checksum is wrong


def read_mcap(path: Path, note: Note) -> Iterator[Raw]:
    """Stream what is whole in an MCAP file, a last chunk that is cut included."""
    schemas: dict[int, tuple[str, str]] = {}
    channels: dict[int, tuple[str, str, str]] = {}
    with path.open("rb") as file:
        if file.read(len(MCAP_MAGIC)) != MCAP_MAGIC:
            note(f"{path.name}: does not begin like an MCAP file")
            return
        for opcode, content in _mcap_records(file, f"{path.name}: ", note):
            if opcode != 6:
                yield from _mcap_record(opcode, content, schemas, channels, False)
                continue
            inner, suspect = _chunk(content, path.name, note)
            for code, record in _mcap_records(io.BytesIO(inner), f"{path.name}, chunk: ", note):
                yield from _mcap_record(code, record, schemas, channels, suspect)


def _mcap_records(file: BinaryIO, where: str, note: Note) -> Iterator[tuple[int, bytes]]:
    """Opcode and content; a chunk that is cut is given as far as it goes."""
    while head := file.read(9):
        if len(head) < 9:
            note(f"{where}cut in the head of a record")
            return
        opcode, length = head[0], struct.unpack("<Q", head[1:])[0]
        if opcode == 0 or length > MAX_RECORD:
            note(f"{where}a record of {length} bytes, so the rest cannot be read")
            return
        content = file.read(length)
        if len(content) < length:
            note(f"{where}cut, {length - len(content)} bytes of a record are missing")
            if opcode == 6:
                yield opcode, content
            return
        yield opcode, content
        if opcode in (2, 15):  # footer, end of data: summaries follow, no messages
            return


def _mcap_record(
    opcode: int,
    content: bytes,
    schemas: dict[int, tuple[str, str]],
    channels: dict[int, tuple[str, str, str]],
    suspect: bool,
) -> Iterator[Raw]:
    try:
        if opcode == 3:
            (number,), rest = struct.unpack_from("<H", content), content[2:]
            name, rest = _text(rest)
            _, rest = _text(rest)
            schemas[number] = name, rest[4:].decode()
        elif opcode == 4:
            number, schema = struct.unpack_from("<HH", content)
            topic, _ = _text(content[4:])
            channels[number] = topic, *schemas.get(schema, ("", ""))
        elif opcode == 5:
            number, _, received_ns, _ = struct.unpack_from("<HIQQ", content)
            if number in channels:
                yield Raw(*channels[number], received_ns, content[22:], suspect)
    except (struct.error, UnicodeDecodeError):
        return  # what a wrong checksum announced, or a message of an unknown channel: it is counted


def _text(data: bytes) -> tuple[str, bytes]:
    length = struct.unpack_from("<I", data)[0]
    return data[4 : 4 + length].decode(), data[4 + length :]


def _chunk(content: bytes, name: str, note: Note) -> tuple[bytes, bool]:
    """Records of a chunk, as far as they decompress, and whether its checksum is wrong."""
    try:
        size, crc = struct.unpack_from("<QI", content, 16)
        how, rest = _text(content[28:])
        records = _decompress(how, rest[8:], name, note)
    except (struct.error, UnicodeDecodeError):
        note(f"{name}: the head of a chunk is damaged")
        return b"", True
    if len(records) < size:
        return records, False  # told of already; what came out before the cut is whole
    return records, crc != 0 and zlib.crc32(records) != crc


def _decompress(how: str, data: bytes, name: str, note: Note) -> bytes:
    """All that comes out before the damage, in blocks, since a failing call returns nothing."""
    if how in ("", "none"):
        return data
    makers: dict[str, Callable[[], Callable[[bytes], bytes]]] = {
        "zstd": lambda: zstandard.ZstdDecompressor().decompressobj().decompress,
        "lz4": lambda: lz4.frame.LZ4FrameDecompressor().decompress,
        "bz2": lambda: bz2.BZ2Decompressor().decompress,
    }
    if how not in makers:
        note(f"{name}: a chunk is compressed by '{how}', which is unknown")
        return b""
    decompress, records = makers[how](), bytearray()
    try:
        for begin in range(0, len(data), 4096):
            records += decompress(data[begin : begin + 4096])
    except (zstandard.ZstdError, RuntimeError, OSError, EOFError) as error:
        note(f"{name}: a chunk is damaged ({str(error).splitlines()[0]})")
    return bytes(records)


def read_sqlite(path: Path, note: Note, whole: int | None = None) -> Iterator[Raw]:
    """Stream the rows of a ``.db3`` that can be read, in the order of their numbers.

    ``whole`` is as for ``read_rows``.
    """
    try:
        base = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
    except sqlite3.Error as error:
        note(f"{path.name}: {error}")
        return
    try:
        topics = {row[0]: row[1:] for row in base.execute("SELECT id, name, type FROM topics")}
    except sqlite3.Error as error:
        note(f"{path.name}: {error}")
        base.close()
        return
    base.close()
    for row in read_rows(path, note, whole):
        if row.topic in topics:
            name, msgtype = topics[row.topic]
            yield Raw(name, msgtype, "", row.stamp_ns, row.data)


def read_ros1(path: Path, note: Note) -> Iterator[Raw]:
    """Stream what is whole in a ROS 1 bag; the messages are serialized as ROS 1 does."""
    connections: dict[int, tuple[str, str, str]] = {}
    with path.open("rb") as file:
        if file.read(len(ROS1_MAGIC)) != ROS1_MAGIC:
            note(f"{path.name}: does not begin like a ROS 1 bag")
            return
        for fields, data in _ros1_records(file, f"{path.name}: ", note):
            if fields.get("op") != b"\x05":
                yield from _ros1_record(fields, data, connections)
                continue
            how = fields.get("compression", b"none").decode(errors="replace")
            inner = io.BytesIO(_decompress(how, data, path.name, note))
            for within, record in _ros1_records(inner, f"{path.name}, chunk: ", note):
                yield from _ros1_record(within, record, connections)


def _ros1_records(
    file: BinaryIO, where: str, note: Note
) -> Iterator[tuple[dict[str, bytes], bytes]]:
    """Header fields and data; a chunk that is cut is given as far as it goes."""
    while True:
        head = _sized(file)
        data = _sized(file) if head is not None else None
        if head is None:
            return
        fields = _ros1_fields(head[0])
        if data is None or not fields or not head[1]:
            note(f"{where}cut or damaged in the head of a record, so the rest cannot be read")
            return
        if not data[1]:
            note(f"{where}cut within a record")
            if fields.get("op") != b"\x05":
                return
        yield fields, data[0]


def _sized(file: BinaryIO) -> tuple[bytes, bool] | None:
    """Bytes with their length before them, and whether they are all there; None at the end."""
    head = file.read(4)
    if len(head) < 4:
        return None
    length = struct.unpack("<I", head)[0]
    if length > MAX_RECORD:
        return b"", False
    data = file.read(length)
    return data, len(data) == length


def _ros1_fields(head: bytes) -> dict[str, bytes]:
    fields, at = {}, 0
    while at + 4 <= len(head):
        length = struct.unpack_from("<I", head, at)[0]
        name, equals, value = head[at + 4 : at + 4 + length].partition(b"=")
        if not equals:
            return {}
        fields[name.decode(errors="replace")] = value
        at += 4 + length
    return fields


def _ros1_record(
    fields: dict[str, bytes], data: bytes, connections: dict[int, tuple[str, str, str]]
) -> Iterator[Raw]:
    try:
        number = struct.unpack("<I", fields.get("conn", b""))[0]
        if fields["op"] == b"\x07":
            topic = fields["topic"].decode()
            about = _ros1_fields(data)
            package, _, name = about["type"].decode().partition("/")
            connections[number] = topic, f"{package}/msg/{name}", ""
        elif fields["op"] == b"\x02" and number in connections:
            sec, nsec = struct.unpack("<II", fields["time"])
            yield Raw(*connections[number], sec * 10**9 + nsec, data)
    except (struct.error, KeyError, UnicodeDecodeError):
        return  # an index or file header, which holds no message


def require_readable(path: Path) -> None:
    """A file that can be opened.

    Raises:
        DataError: it cannot.
    """
    try:
        with path.open("rb"):
            return
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
