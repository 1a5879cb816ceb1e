"""Reading recordings (Rosbag2: MCAP or sqlite3, split and compressed too; ROS 1 bags) without ROS.

Everything streams: memory stays bounded however long the drive. Whatever is wrong with a bag is a
``DataError`` that names it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.core.mount import CameraMount
from crnn_snn_ros.core.moving import STILL, Moving, move
from crnn_snn_ros.core.types import STOP, Command, Frame, Moved, elapsed_s
from crnn_snn_ros.data.messages import (
    COMPRESSED_IMAGE,
    FLOAT32_ARRAY,
    IMAGE,
    NUMBERS,
    TWIST,
    TWIST_STAMPED,
    header_stamp,
    message_store,
)
from crnn_snn_ros.io.images import decode_compressed, decode_raw

try:
    from rosbags.interfaces import Connection
    from rosbags.rosbag1 import Reader as Ros1Reader
    from rosbags.rosbag2 import Reader
except ImportError as error:
    raise ImportError("bags need rosbags: pip install 'crnn_snn_ros[tools]'") from error


COMMANDS = "/cmd_vel"  # geometry_msgs/Twist or TwistStamped, what drove
CAMERA_MOUNT = "/camera_mount"  # std_msgs/Float32MultiArray, the numbers of a ``CameraMount``


class Topic(NamedTuple):
    """One topic of a bag."""

    msgtype: str
    messages: int


class BagInfo(NamedTuple):
    """What a bag says of itself, read without its messages."""

    topics: dict[str, Topic]  # by name
    about: dict[str, str]  # the recorder's own notes: source, licence ...
    duration_s: float = 0.0  # from the first to the last message


class Signal(NamedTuple):
    """A recorded scalar, in the order of its stamps."""

    stamps_ns: NDArray[np.int64]  # (n,)
    values: NDArray[np.float64]  # (n,)


class Message(NamedTuple):
    """One recorded message."""

    received_ns: int  # when the bag received it
    stamp_ns: int  # its header's; received_ns where it has none, or left it 0
    content: Any


def is_ros1(path: Path) -> bool:
    """Whether this is a bag of ROS 1: a file, where Rosbag2 has a folder, ``.mcap`` or ``.db3``."""
    return path.suffix == ".bag" and path.is_file()


def read_info(path: Path) -> BagInfo:
    """Topics and notes of a bag.

    Args:
        path: the bag's folder, a single ``.mcap`` or ``.db3`` file, or a ROS 1 ``.bag``.

    Raises:
        DataError: the bag is missing or damaged.
    """
    with _reading(path), _reader(path) as reader:
        topics: dict[str, Topic] = {}
        for name, info in sorted(reader.topics.items()):
            topics[name] = Topic(info.msgtype or "several types", info.msgcount)
        about = {} if is_ros1(path) else dict(reader.storage.metadata.custom or {})
        duration_s = max(reader.duration - 1, 0) * 1e-9 if topics else 0.0
        return BagInfo(topics, about, duration_s if reader.message_count else 0.0)


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


def read_frames(
    path: Path,
    image_topic: str | None = None,
    mount: CameraMount | None = None,
    *,
    moves: bool = False,
) -> Iterator[Frame]:
    """Stream the camera frames of a bag, in recorded order.

    Each frame carries its image header's stamp; where a driver left that 0, which in ROS means
    "not stamped", the time at which the bag received it. And the mount of the camera, where the bag
    has a topic ``/camera_mount``: as it was said last, or first where nothing was said yet.

    Args:
        path: the bag's folder, or a single ``.mcap`` or ``.db3`` file.
        image_topic: a topic of type Image or CompressedImage; None takes the only one.
        mount: of the camera, whatever the bag says.
        moves: tell too how the robot has moved since the frame before: by the last command on
            ``/cmd_vel`` before each frame (``core.moving``).

    Raises:
        DataError: the bag is damaged, the topic missing, ambiguous or empty, a frame cannot be
            decoded, or ``/cmd_vel`` is asked for and missing; names the bag, the topic and the
            number of the frame. Raised while iterating.
    """
    topic = find_image_topic(path, image_topic)
    mounted = _camera_mount(path) if mount is None else lambda _: mount
    moved = _moves(path) if moves else lambda _: None
    number = -1
    for number, message in enumerate(_messages(path, topic)):
        try:
            image = decode_image(message.content)
        except DataError as error:
            raise DataError(f"bag {path}, {topic}, frame {number}: {error}") from None
        stamp_ns = message.stamp_ns
        yield Frame(stamp_ns, image, mounted(stamp_ns), moved(stamp_ns))
    if number < 0:
        raise DataError(f"bag {path}: {topic} has no messages")


def _camera_mount(path: Path) -> Callable[[int], CameraMount | None]:
    """How the camera of a bag is mounted at a stamp; None where it is not recorded."""
    if CAMERA_MOUNT not in read_info(path).topics:
        return lambda _: None
    said = [
        (message.stamp_ns, _mount(path, message.content.data))
        for message in read_messages(path, CAMERA_MOUNT, (FLOAT32_ARRAY,))
    ]
    said.sort()
    stamps_ns = [stamp_ns for stamp_ns, _ in said]
    return lambda stamp_ns: said[max(bisect_right(stamps_ns, stamp_ns) - 1, 0)][1]


def _moves(path: Path) -> Callable[[int], Moved]:
    """How the robot has moved from the stamp asked for before to the next one asked for."""
    topics = read_info(path).topics
    if COMMANDS not in topics:
        raise DataError(
            f"bag {path} has no {COMMANDS}, and the network must be told how the robot moves"
        )
    told = sorted(
        (message.stamp_ns, _command(message.content))
        for message in read_messages(path, COMMANDS, (TWIST, TWIST_STAMPED))
    )
    stamps_ns = [stamp_ns for stamp_ns, _ in told]
    before: tuple[int, Moving] | None = None

    def moved(stamp_ns: int) -> Moved:
        nonlocal before
        since_s = None if before is None else elapsed_s(before[0], stamp_ns)
        moving = STILL
        if before is not None and since_s is not None:
            last = bisect_left(stamps_ns, stamp_ns) - 1
            moving = move(before[1], told[last][1] if last >= 0 else STOP, since_s)
        before = stamp_ns, moving
        return moving.moved

    return moved


def _command(content: Any) -> Command:
    twist = content.twist if content.__msgtype__ == TWIST_STAMPED else content
    return Command(float(twist.linear.x), float(twist.angular.z))


def _mount(path: Path, numbers: NDArray[np.float32]) -> CameraMount:
    if len(numbers) != len(CameraMount._fields):
        raise DataError(
            f"bag {path}, {CAMERA_MOUNT}: a message has {len(numbers)} numbers, expected height, "
            "pitch and field of view"
        )
    return CameraMount(*map(float, numbers))


def decode_image(content: Any) -> NDArray[np.uint8]:
    """The pixels of an Image or CompressedImage, uint8 (H, W, 3), RGB.

    Raises:
        DataError: it cannot be decoded.
    """
    if content.__msgtype__ != IMAGE:
        return decode_compressed(content.format, content.data)
    return decode_raw(
        content.encoding,
        content.height,
        content.width,
        content.step,
        bool(content.is_bigendian),
        content.data,
    )


def read_signal(path: Path, topic: str) -> Signal:
    """Read a topic of numbers whole (16 bytes a message): Float32, Float64, Bool, Int32, UInt8.

    They have no header: their stamp is the time at which the bag received them.

    Raises:
        DataError: the bag is damaged, or the topic missing, of another type or empty.
    """
    messages = read_messages(path, topic, NUMBERS)
    return as_signal((message.stamp_ns, message.content.data) for message in messages)


def as_signal(pairs: Iterable[tuple[int, float]]) -> Signal:
    """Pairs of stamp and value, in the order of the stamps."""
    table = np.fromiter(pairs, np.dtype([("stamp_ns", np.int64), ("value", np.float64)]))
    table = table[np.argsort(table["stamp_ns"], kind="stable")]
    return Signal(np.ascontiguousarray(table["stamp_ns"]), np.ascontiguousarray(table["value"]))


def read_messages(path: Path, topic: str, msgtypes: tuple[str, ...]) -> Iterator[Message]:
    """Stream the messages of a topic, deserialized, in recorded order.

    Raises:
        DataError: the bag is damaged, or the topic missing, of another type or empty. Raised while
            iterating.
    """
    _require_topic(path, read_info(path).topics, topic, msgtypes)
    count = 0
    for message in _messages(path, topic):
        count += 1
        yield message
    if not count:
        raise DataError(f"bag {path}: {topic} has no messages")


def read_stamps(path: Path, topic: str) -> NDArray[np.int64]:
    """When the bag received each message of a topic, (n,), in recorded order; nothing is decoded.

    Raises:
        DataError: the bag is damaged, or lacks the topic.
    """
    info = read_info(path)
    if topic not in info.topics:
        raise DataError(f"bag {path} has no topic {topic}, only {_listing(info.topics)}")
    raw = (received_ns for _, received_ns, _ in raw_messages(path, topic))
    return np.fromiter(raw, np.int64)


def raw_messages(path: Path, topic: str | None = None) -> Iterator[tuple[Connection, int, bytes]]:
    """Stream (connection, time of receipt, serialized message) of one topic, or of all.

    Those of a ROS 1 bag are given as ROS 2 serializes them.

    Raises:
        DataError: the bag is damaged, or it has fewer messages than its index says.
    """
    with _reading(path), _reader(path) as reader:
        chosen: list[Connection] = [c for c in reader.connections if topic in (None, c.topic)]
        expected, count = sum(connection.msgcount for connection in chosen), 0
        for connection, received_ns, raw in reader.messages(chosen) if chosen else ():
            cdr = message_store().ros1_to_cdr(raw, connection.msgtype) if is_ros1(path) else raw
            yield connection, received_ns, cdr
            count += 1
    if count < expected:  # sqlite reads on where pages at the end are lost
        raise DataError(
            f"bag {path}: {topic or 'it'} has {count} messages, its index says {expected}; {_SAVE}"
        )


def _messages(path: Path, topic: str) -> Iterator[Message]:
    """Deserialized messages of a topic. The caller's own errors do not pass through here."""
    for connection, received_ns, raw in raw_messages(path, topic):
        with _reading(path):
            content = message_store().deserialize_cdr(raw, connection.msgtype)
        yield Message(received_ns, header_stamp(content) or received_ns, content)


def _reader(path: Path) -> Any:
    return Ros1Reader(path) if is_ros1(path) else Reader(path)


_SAVE = "'crnn-snn import BAG OUT' saves what is whole"


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
            f"bag {path} is damaged or unreadable: {type(error).__name__}: {reason}; {_SAVE}"
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
