"""Writing Rosbag2 recordings (MCAP): importers, simulated drives, the predictions of ``replay``."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import DataError, MessageTypeError
from crnn_snn_ros.core.types import Command
from crnn_snn_ros.data.messages import (
    ARRAY_LAYOUT,
    COMPRESSED_IMAGE,
    FLOAT32,
    FLOAT32_ARRAY,
    HEADER,
    IMAGE,
    LASER_SCAN,
    TWIST,
    TWIST_STAMPED,
    VECTOR3_STAMPED,
    message_store,
)
from crnn_snn_ros.io.atomic import beside

try:
    from rosbags.interfaces import Connection
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
except ImportError as error:
    raise ImportError("bags need rosbags: pip install 'crnn_snn_ros[tools]'") from error


class BagWriter:
    """One new MCAP bag; it appears under its name only when it is whole.

    Use as a context manager. Every message is recorded at the time of its stamp, and stamped
    messages carry it in their header too.

    Args:
        path: the bag's folder; must not exist. Folders above it are made.
        about: notes kept in the bag's ``custom_data``: source, licence ...
        again: a bag may be there in the end if it is the same, byte for byte: work that is spread
            over a cluster is done again where its worker died before it could say that it was done.

    Raises:
        DataError: from every method, if the bag cannot be written.
    """

    def __init__(
        self, path: Path, about: Mapping[str, str] | None = None, again: bool = False
    ) -> None:
        """Remember where to; nothing is written yet."""
        self._path = path
        self._again = again
        self._about = dict(about or {})
        self._connections: dict[str, Connection] = {}

    def __enter__(self) -> BagWriter:
        """Begin writing beside the final place."""
        with self._writing():
            if not self._again:
                require_new(self._path)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._folder = beside(self._path)
            self._folder.mkdir()
            # The bag has its final name within, because its file is named after its folder.
            # Version 8 is what ROS 2 from Humble on reads; 9 changed how QoS is written.
            self._writer = Writer(
                self._folder / self._path.name, version=8, storage_plugin=StoragePlugin.MCAP
            )
            for key, value in self._about.items():
                self._writer.set_custom_data(key, value)
            self._writer.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the bag and give it its name; after an error, remove it."""
        try:
            if kind is None:
                with self._writing():
                    self._writer.close()
                    self._name()
        finally:
            with suppress(OSError):  # already closed, unless an error came first
                self._writer.abort()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _name(self) -> None:
        finished = self._folder / self._path.name
        try:
            os.rename(finished, self._path)
        except OSError:
            if not (self._again and _same(finished, self._path)):
                require_new(self._path)
                raise

    def compressed_image(
        self, topic: str, stamp_ns: int, fmt: str, data: bytes, frame_id: str = "camera"
    ) -> None:
        """Add a ``sensor_msgs/CompressedImage``: the bytes of a JPEG or PNG file, untouched."""
        pixels = np.frombuffer(data, np.uint8)
        header = _header(stamp_ns, frame_id)
        self._write(topic, stamp_ns, COMPRESSED_IMAGE, header=header, format=fmt, data=pixels)

    def image(
        self, topic: str, stamp_ns: int, image: NDArray[np.uint8], frame_id: str = "camera"
    ) -> None:
        """Add a ``sensor_msgs/Image``, ``rgb8``, from uint8 (H, W, 3)."""
        height, width, channels = image.shape
        if channels != 3 or image.dtype != np.uint8:
            raise DataError(f"image is {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
        self._write(
            topic,
            stamp_ns,
            IMAGE,
            header=_header(stamp_ns, frame_id),
            height=height,
            width=width,
            encoding="rgb8",
            is_bigendian=0,
            step=3 * width,
            data=np.ascontiguousarray(image).reshape(-1),
        )

    def float32(self, topic: str, stamp_ns: int, value: float) -> None:
        """Add a ``std_msgs/Float32``."""
        self._write(topic, stamp_ns, FLOAT32, data=value)

    def float32_array(self, topic: str, stamp_ns: int, values: NDArray[np.float32]) -> None:
        """Add a ``std_msgs/Float32MultiArray`` of one row, whose layout is left empty."""
        layout = _new(ARRAY_LAYOUT, dim=[], data_offset=0)
        self._write(topic, stamp_ns, FLOAT32_ARRAY, layout=layout, data=values)

    def twist(self, topic: str, stamp_ns: int, command: Command) -> None:
        """Add a ``geometry_msgs/Twist``."""
        velocities = _velocities(command)
        self._write(topic, stamp_ns, TWIST, **velocities)

    def twist_stamped(
        self, topic: str, stamp_ns: int, command: Command, frame_id: str = "base_link"
    ) -> None:
        """Add a ``geometry_msgs/TwistStamped``."""
        twist = _new(TWIST, **_velocities(command))
        header = _header(stamp_ns, frame_id)
        self._write(topic, stamp_ns, TWIST_STAMPED, header=header, twist=twist)

    def vector3_stamped(
        self, topic: str, stamp_ns: int, xyz: tuple[float, float, float], frame_id: str = "camera"
    ) -> None:
        """Add a ``geometry_msgs/Vector3Stamped``, the form of a recorded prediction."""
        header = _header(stamp_ns, frame_id)
        self._write(topic, stamp_ns, VECTOR3_STAMPED, header=header, vector=_vector3(*xyz))

    def laser_scan(
        self,
        topic: str,
        stamp_ns: int,
        fields: Mapping[str, Any],
        ranges_m: NDArray[np.float32],
        frame_id: str,
    ) -> None:
        """Add a ``sensor_msgs/LaserScan`` without intensities; ``fields`` are its numbers."""
        header, nothing = _header(stamp_ns, frame_id), np.empty(0, np.float32)
        self._write(
            *(topic, stamp_ns, LASER_SCAN),
            header=header, ranges=ranges_m, intensities=nothing, **fields,
        )  # fmt: skip

    def header(self, topic: str, received_ns: int, stamp_ns: int, frame_id: str) -> None:
        """Add a ``std_msgs/Header`` of its own stamp, received at ``received_ns``."""
        stamp = _header(stamp_ns, frame_id)
        self._write(topic, received_ns, HEADER, stamp=stamp.stamp, frame_id=frame_id)

    def copy(self, topic: str, received_ns: int, msgtype: str, msgdef: str, raw: bytes) -> None:
        """Add a message as another ROS 2 bag holds it, serialized.

        Args:
            topic: where to.
            received_ns: time of receipt.
            msgtype: its type.
            msgdef: its definition; may be empty for types that ``message_store`` knows.
            raw: CDR.

        Raises:
            MessageTypeError: another type than that of the topic, or one that nobody defined.
        """
        with self._writing():
            self._writer.write(self._connection(topic, msgtype, msgdef), received_ns, raw)

    def _write(self, topic: str, stamp_ns: int, msgtype: str, **fields: Any) -> None:
        with self._writing():
            connection = self._connection(topic, msgtype)
            raw = message_store().serialize_cdr(_new(msgtype, **fields), msgtype)
            self._writer.write(connection, stamp_ns, raw)

    def _connection(self, topic: str, msgtype: str, msgdef: str = "") -> Connection:
        connection = self._connections.get(topic)
        if connection is None:
            store = message_store() if msgtype in message_store().types else _store(msgtype, msgdef)
            if store is None:
                raise MessageTypeError(f"{topic}: nothing defines its type {msgtype}")
            connection = self._writer.add_connection(topic, msgtype, typestore=store)
            self._connections[topic] = connection
        if connection.msgtype != msgtype:
            raise MessageTypeError(f"{topic} is {connection.msgtype} in this bag, got {msgtype}")
        return connection

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(f"bag {self._path} cannot be written: {error}") from error


def require_new(path: Path) -> None:
    """Refuse a place that is taken.

    Raises:
        DataError: it is.
    """
    if os.path.lexists(path):
        raise DataError(f"{path} exists: remove it or choose another name")


def _same(folder: Path, other: Path) -> bool:
    names = sorted(os.listdir(folder))
    if not other.is_dir() or names != sorted(os.listdir(other)):
        return False
    return filecmp.cmpfiles(folder, other, names, shallow=False)[0] == names


def _store(msgtype: str, msgdef: str) -> Any:
    """Definitions with one more type; None where its definition cannot be understood.

    A store of its own: a bag's definitions must not replace those that others rely on.
    """
    store = get_typestore(Stores.ROS2_JAZZY)
    try:
        idl = msgdef.lstrip().startswith("=")
        known = get_types_from_idl(msgdef) if idl else get_types_from_msg(msgdef, msgtype)
        store.register({name: known[name] for name in known if name not in store.types})
    except Exception:  # of parsers that were given anything
        return None
    return store if msgtype in store.types else None


def _new(msgtype: str, **fields: Any) -> Any:
    return message_store().types[msgtype](**fields)


def _header(stamp_ns: int, frame_id: str) -> Any:
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    if not 0 <= sec < 2**31:
        raise DataError(f"stamp {stamp_ns} ns does not fit a ROS time, 0..2^31 s")
    stamp = _new("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)
    return _new("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)


def _vector3(x: float, y: float, z: float) -> Any:
    return _new("geometry_msgs/msg/Vector3", x=x, y=y, z=z)


def _velocities(command: Command) -> dict[str, Any]:
    return {
        "linear": _vector3(command.linear_mps, 0.0, 0.0),
        "angular": _vector3(0.0, 0.0, command.angular_radps),
    }
