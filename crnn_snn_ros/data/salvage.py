"""A bag that is damaged, split, compressed or of ROS 1 -> one whole MCAP bag, and what was lost.

Every message that is whole is saved; every other one is counted, by topic, where the bag's own
metadata says how many there were. Never a silent half.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml
import zstandard

from crnn_snn_ros.core.errors import DataError, MessageTypeError
from crnn_snn_ros.data.bag_writer import BagWriter
from crnn_snn_ros.data.bags import decode_image
from crnn_snn_ros.data.messages import COMPRESSED_IMAGE, IMAGE, message_store
from crnn_snn_ros.data.salvage_readers import (
    Note,
    Raw,
    read_mcap,
    read_ros1,
    read_sqlite,
    require_readable,
)
from crnn_snn_ros.data.salvage_sqlite import full_length

READERS = {".mcap": read_mcap, ".db3": read_sqlite, ".bag": read_ros1}
METADATA = "metadata.yaml"
MAX_NOTES = 20  # a file with a thousand damaged places is told of in so many lines


@dataclass
class TopicSaved:
    """What became of one topic."""

    msgtype: str
    expected: int | None = None  # what the bag's metadata says; None where it says nothing
    saved: int = 0
    undecodable: int = 0  # found, but not a message of the type: left out
    suspect: int = 0  # among the saved: from a chunk whose checksum is wrong

    @property
    def lost(self) -> int | None:
        """Messages that should be there and were not found; None where nobody knows."""
        if self.expected is None:
            return None
        return max(0, self.expected - self.saved - self.undecodable)

    @property
    def lost_text(self) -> str:
        """The same, for people."""
        return "unknown" if self.lost is None else str(self.lost)


@dataclass
class Saved:
    """What was saved of a bag."""

    topics: dict[str, TopicSaved] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # where it was damaged, in words

    @property
    def saved(self) -> int:
        """Messages in the new bag."""
        return sum(topic.saved for topic in self.topics.values())

    @property
    def lost(self) -> int | None:
        """Messages that are not in it; None where nobody knows how many there were."""
        lost = [topic.lost for topic in self.topics.values()]
        if any(count is None for count in lost):
            return None
        return sum(topic.undecodable + (topic.lost or 0) for topic in self.topics.values())

    def note(self, text: str) -> None:
        """Remember where something is damaged."""
        if len(self.notes) < MAX_NOTES and text not in self.notes:
            self.notes.append(text)


def is_bag(source: Path) -> bool:
    """Whether something looks like a bag, whole or not; nothing is read."""
    if source.is_dir():
        return (source / METADATA).is_file() or bool(_files(source))
    return source.is_file() and _suffix(source) in READERS


def salvage(source: Path, out: Path, progress: Callable[[int], None] | None = None) -> Saved:
    """Write all that is whole in a bag as a new MCAP bag.

    Args:
        source: the bag's folder, or one of its files, or a ROS 1 ``.bag``.
        out: the new bag's folder; must not exist.
        progress: called with the number of messages saved.

    Raises:
        DataError: nothing can be saved, or ``out`` cannot be written.
    """
    files = _files(source) if source.is_dir() else [source]
    if not files:
        raise DataError(f"{source} holds no .mcap, .db3 or .bag file; nothing can be saved")
    saved = Saved()
    metadata = _metadata(source, saved)
    for name, msgtype, count in _expected(metadata):
        saved.topics[name] = TopicSaved(msgtype, count)
    squeezed = _compressed_messages(metadata)
    about = {**_custom(metadata), "importer": "bag", "salvaged_from": source.name}
    with BagWriter(out, about) as bag:
        for file in files:
            require_readable(file)
            for raw in _messages(file, out.parent, saved, squeezed):
                _save(raw, bag, saved, _suffix(file) == ".bag")
                if progress is not None and saved.saved % 100 == 0:
                    progress(saved.saved)
        if not saved.saved:
            why = "; ".join(saved.notes) or "its files hold no message"
            raise DataError(f"nothing can be saved of {source}: {why}")
    return saved


def _files(folder: Path) -> list[Path]:
    """Files of a bag in the order of their numbers: drive_2 comes before drive_10."""
    found = [path for path in folder.iterdir() if path.is_file() and _suffix(path) in READERS]

    def order(path: Path) -> tuple[int, str]:
        last = path.name.split(".")[0].rsplit("_", 1)[-1]
        return (int(last) if last.isdecimal() else -1, path.name)

    return sorted(found, key=order)


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".zstd")).suffix


def _messages(file: Path, beside: Path, saved: Saved, squeezed: bool) -> Iterator[Raw]:
    read: Callable[[Path, Note], Iterator[Raw]] = READERS[_suffix(file)]
    with tempfile.TemporaryDirectory(prefix=".salvage.", dir=beside) as folder:
        plain = file
        if file.name.endswith(".zstd"):
            plain = Path(folder, file.name.removesuffix(".zstd"))
            _unpack(file, plain, saved)
        elif file.with_name(f"{file.name}-wal").is_file():  # of a recorder that was killed
            plain = Path(folder, file.name)
            for name in (file.name, f"{file.name}-wal"):
                shutil.copyfile(file.with_name(name), Path(folder, name))
        size = plain.stat().st_size
        if _suffix(file) == ".db3" and size < (length := full_length(plain)):
            saved.note(f"{file.name}: cut, {length - size} bytes are missing")
            read = partial(read_sqlite, whole=size)
            if plain == file:
                plain = Path(folder, file.name)
                shutil.copyfile(file, plain)
            os.truncate(plain, length)  # longer: SQLite opens it then, and finds the topics
        for raw in read(plain, saved.note):
            yield _plain(raw, saved) if squeezed else raw


def _unpack(file: Path, plain: Path, saved: Saved) -> None:
    """Decompress a file as far as it goes."""
    try:
        with file.open("rb") as source, plain.open("wb") as sink:
            reader = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
            while block := reader.read(2**16):
                sink.write(block)
    except zstandard.ZstdError as error:
        saved.note(f"{file.name}: {str(error).splitlines()[0]}")


def _plain(raw: Raw, saved: Saved) -> Raw:
    """A message that was compressed by itself."""
    try:
        return raw._replace(data=zstandard.ZstdDecompressor().decompressobj().decompress(raw.data))
    except zstandard.ZstdError as error:
        saved.note(f"{raw.topic}: {str(error).splitlines()[0]}")
        return raw._replace(data=b"")


def _save(raw: Raw, bag: BagWriter, saved: Saved, ros1: bool) -> None:
    topic = saved.topics.setdefault(raw.topic, TopicSaved(raw.msgtype))
    data = _checked(raw, ros1)
    if data is None:
        topic.undecodable += 1
        return
    try:
        bag.copy(raw.topic, raw.received_ns, raw.msgtype, raw.msgdef, data)
    except MessageTypeError as error:
        saved.note(str(error))
        topic.undecodable += 1
        return
    topic.saved += 1
    topic.suspect += raw.suspect


def _checked(raw: Raw, ros1: bool) -> bytes | None:
    """The message as ROS 2 serializes it; None where it is not one of its type."""
    store = message_store()
    if raw.msgtype not in store.types:
        return None if ros1 or not raw.data else raw.data
    try:
        data = bytes(store.ros1_to_cdr(raw.data, raw.msgtype)) if ros1 else raw.data
        content = store.deserialize_cdr(data, raw.msgtype)
        depth = raw.topic.endswith("/compressedDepth") or _is_depth(content)
        if raw.msgtype in (IMAGE, COMPRESSED_IMAGE) and not depth:
            decode_image(content)
    except Exception:  # whatever a parser of damaged bytes stumbles over: the message is not whole
        return None
    return data


def _is_depth(content: Any) -> bool:
    return getattr(content, "encoding", "") in ("16UC1", "32FC1")


def _metadata(source: Path, saved: Saved) -> dict[str, Any]:
    path = source / METADATA
    if not source.is_dir():
        return {}
    try:
        content = yaml.safe_load(path.read_text("utf-8"))["rosbag2_bagfile_information"]
        return content if isinstance(content, dict) else {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, TypeError, KeyError):
        saved.note(
            f"{METADATA} is missing or damaged, so nobody knows how many messages there were"
        )
        return {}


def _expected(metadata: dict[str, Any]) -> Iterator[tuple[str, str, int]]:
    try:
        for entry in metadata.get("topics_with_message_count", []):
            about = entry["topic_metadata"]
            yield str(about["name"]), str(about["type"]), int(entry["message_count"])
    except (TypeError, KeyError, ValueError):
        return


def _compressed_messages(metadata: dict[str, Any]) -> bool:
    return str(metadata.get("compression_mode", "")).lower() == "message"


def _custom(metadata: dict[str, Any]) -> dict[str, str]:
    custom = metadata.get("custom_data")
    return {str(k): str(v) for k, v in custom.items()} if isinstance(custom, dict) else {}
