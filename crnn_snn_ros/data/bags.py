"""Reading Rosbag2 recordings (MCAP or sqlite3, compressed too) without a ROS installation.

Everything streams: memory stays bounded however long the drive. Whatever is wrong with a bag is a
``DataError`` that names it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.core.types import Frame
from crnn_snn_ros.io.images import decode_compressed, decode_raw

try:
    from rosbags.interfaces import Connection
    from rosbags.rosbag2 import Reader
    from rosbags.typesys import Stores, get_typestore
except ImportError as error:
    raise ImportError("bags need rosbags: pip install 'crnn_snn_ros[tools]'") from error

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
FLOAT32 = "std_msgs/msg/Float32"


class Topic(NamedTuple):
    """One topic of a bag."""

    msgtype: str
    messages: int


class BagInfo(NamedTuple):
    """What a bag says of itself, read without its messages."""

    topics: dict[str, Topic]  # by name
    about: dict[str, str]  # the recorder's own notes: source, licence ...


class Signal(NamedTuple):
    """A recorded scalar, in the order of its stamps."""

    stamps_ns: NDArray[np.int64]  # (n,)
    values: NDArray[np.float64]  # (n,)


class _Message(NamedTuple):
    received_ns: int
    content: Any


@cache
def message_store() -> Any:
    """The message definitions of ROS 2 Jazzy (``rosbags`` Typestore)."""
    return get_typestore(Stores.ROS2_JAZZY)


def read_info(path: Path) -> BagInfo:
    """Topics and notes of a bag.

    Args:
        path: the bag's folder, or a single ``.mcap`` or ``.db3`` file.

    Raises:
        DataError: the bag is missing or damaged.
    """
    with _reading(path), Reader(path) as reader:
        topics: dict[str, Topic] = {}
        for name, info in sorted(reader.topics.items()):
            topics[name] = Topic(info.msgtype or "several types", info.msgcount)
        return BagInfo(topics, dict(reader.storage.metadata.custom or {}))


def find_image_topic(path: Path, topic: str | None = None) -> str:
    """The image topic to read: the one asked for, or the only one that the bag has.

    Depth images of ``compressed_depth_image_transport`` are not counted.

    Raises:
        DataError: missing, of another type, or ambiguous; lists the topics that are there.
    """
    topics = read_info(path).topics
    images = [
        name
        for name, (msgtype, _) in topics.items()
        if msgtype in (IMAGE, COMPRESSED_IMAGE) and not name.endswith("/compressedDepth")
    ]
    if topic is not None:
        _require_topic(path, topics, topic, (IMAGE, COMPRESSED_IMAGE))
        return topic
    if len(images) == 1:
        return images[0]
    if images:
        raise DataError(f"bag {path} has several image topics, name one: {', '.join(images)}")
    raise DataError(f"bag {path} has no image topic, only {_listing(topics)}")


def read_frames(path: Path, image_topic: str | None = None) -> Iterator[Frame]:
    """Stream the camera frames of a bag, in recorded order.

    Each frame carries its image header's stamp; where a driver left that 0, which in ROS means
    "not stamped", the time at which the bag received it.

    Args:
        path: the bag's folder, or a single ``.mcap`` or ``.db3`` file.
        image_topic: a topic of type Image or CompressedImage; None takes the only one.

    Raises:
        DataError: the bag is damaged, the topic missing, ambiguous or empty, or a frame cannot be
            decoded; names the bag, the topic and the number of the frame. Raised while iterating.
    """
    topic = find_image_topic(path, image_topic)
    number = -1
    for number, (received_ns, message) in enumerate(_messages(path, topic)):
        try:
            if message.__msgtype__ == IMAGE:
                image = decode_raw(
                    message.encoding,
                    message.height,
                    message.width,
                    message.step,
                    bool(message.is_bigendian),
                    message.data,
                )
            else:
                image = decode_compressed(message.format, message.data)
        except DataError as error:
            raise DataError(f"bag {path}, {topic}, frame {number}: {error}") from None
        stamp = message.header.stamp
        yield Frame(stamp.sec * 1_000_000_000 + stamp.nanosec or received_ns, image)
    if number < 0:
        raise DataError(f"bag {path}: {topic} has no messages")


def read_signal(path: Path, topic: str) -> Signal:
    """Read a ``std_msgs/Float32`` topic whole (16 bytes a message).

    A Float32 has no header: its stamp is the time at which the bag received it.

    Raises:
        DataError: the bag is damaged, or the topic missing, of another type or empty.
    """
    _require_topic(path, read_info(path).topics, topic, (FLOAT32,))
    pairs = ((received_ns, message.data) for received_ns, message in _messages(path, topic))
    table = np.fromiter(pairs, np.dtype([("stamp_ns", np.int64), ("value", np.float64)]))
    if len(table) == 0:
        raise DataError(f"bag {path}: {topic} has no messages")
    table = table[np.argsort(table["stamp_ns"], kind="stable")]
    return Signal(np.ascontiguousarray(table["stamp_ns"]), np.ascontiguousarray(table["value"]))


def _messages(path: Path, topic: str) -> Iterator[_Message]:
    """Deserialized messages of a topic. The caller's own errors do not pass through here."""
    with _reading(path), Reader(path) as reader:
        chosen: list[Connection] = [c for c in reader.connections if c.topic == topic]
        expected, count = sum(connection.msgcount for connection in chosen), 0
        for connection, received_ns, raw in reader.messages(chosen):
            content = message_store().deserialize_cdr(raw, connection.msgtype)
            yield _Message(received_ns, content)
            count += 1
    if count < expected:  # sqlite reads on where pages at the end are lost
        raise DataError(f"bag {path}: {topic} has {count} messages, its index says {expected}")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"bag {path} is missing, or has no metadata.yaml") from None
    except Exception as error:
        # The parsers of a damaged bag raise whatever they stumble over: ReaderError, SerdeError,
        # EOFError, struct.error, KeyError, sqlite3.DatabaseError, ZstdError, MemoryError ...
        reason = str(error).splitlines()[0] if str(error) else "unexpected end"
        raise DataError(
            f"bag {path} is damaged or unreadable: {type(error).__name__}: {reason}; "
            "'ros2 bag reindex' or 'mcap recover' may save what is whole"
        ) from error


def _require_topic(
    path: Path, topics: dict[str, Topic], topic: str, msgtypes: tuple[str, ...]
) -> None:
    if topic not in topics:
        raise DataError(f"bag {path} has no topic {topic}, only {_listing(topics)}")
    if topics[topic].msgtype not in msgtypes:
        raise DataError(
            f"bag {path}: {topic} is {topics[topic].msgtype}, expected {' or '.join(msgtypes)}"
        )


def _listing(topics: dict[str, Topic]) -> str:
    listed = ", ".join(f"{name} ({msgtype})" for name, (msgtype, _) in topics.items())
    return listed or "nothing at all"
