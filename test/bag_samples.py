"""Messages and bags made by hand, of every type that the tools read."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from crnn_snn_ros.data.messages import message_store

START_NS = 1_700_000_000_123_456_789
Row = tuple[str, int, Any]  # topic, time of receipt, message


@cache
def ros1_store() -> Any:
    return get_typestore(Stores.ROS1_NOETIC)


def stamp(number: int, period_ms: int = 50) -> int:
    return START_NS + number * period_ms * 1_000_000


def make(msgtype: str, ros1: bool = False, **fields: Any) -> Any:
    return (ros1_store() if ros1 else message_store()).types[msgtype](**fields)


def header(stamp_ns: int, frame_id: str = "camera", ros1: bool = False) -> Any:
    sec, nanosec = divmod(stamp_ns, 10**9)
    time = make("builtin_interfaces/msg/Time", ros1, sec=sec, nanosec=nanosec)
    more = {"seq": 0} if ros1 else {}
    return make("std_msgs/msg/Header", ros1, stamp=time, frame_id=frame_id, **more)


def picture(number: int, height: int = 12, width: int = 16) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)


def compressed(number: int, stamp_ns: int, ros1: bool = False, scale: int = 1) -> Any:
    pixels = picture(number, 12 * scale, 16 * scale)
    data = cv2.imencode(".png", pixels[:, :, ::-1])[1].reshape(-1)
    at = header(stamp_ns, ros1=ros1)
    return make("sensor_msgs/msg/CompressedImage", ros1, header=at, format="png", data=data)


def image(encoding: str, data: np.ndarray, step: int, stamp_ns: int, big_endian: int = 0) -> Any:
    """``data`` (H, ...) of any type; its bytes are taken as they lie."""
    return make(
        "sensor_msgs/msg/Image",
        header=header(stamp_ns),
        height=data.shape[0],
        width=data.shape[1],
        encoding=encoding,
        is_bigendian=big_endian,
        step=step,
        data=np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8),
    )


def float32(value: float, ros1: bool = False) -> Any:
    return make("std_msgs/msg/Float32", ros1, data=value)


def twist(speed: float, yaw_rate: float, ros1: bool = False) -> Any:
    def vector(x: float, z: float) -> Any:
        return make("geometry_msgs/msg/Vector3", ros1, x=x, y=0.0, z=z)

    linear, angular = vector(speed, 0.0), vector(0.0, yaw_rate)
    return make("geometry_msgs/msg/Twist", ros1, linear=linear, angular=angular)


def twist_stamped(speed: float, yaw_rate: float, stamp_ns: int) -> Any:
    at = header(stamp_ns, "base_link")
    return make("geometry_msgs/msg/TwistStamped", header=at, twist=twist(speed, yaw_rate))


def ackermann(steering: float, stamp_ns: int) -> Any:
    numbers = dict.fromkeys(("steering_angle_velocity", "speed", "acceleration", "jerk"), 0.0)
    drive = make("ackermann_msgs/msg/AckermannDrive", steering_angle=steering, **numbers)
    at = header(stamp_ns, "base_link")
    return make("ackermann_msgs/msg/AckermannDriveStamped", header=at, drive=drive)


def odometry(speed: float, yaw_rate: float, stamp_ns: int) -> Any:
    def point(x: float = 0.0) -> Any:
        return make("geometry_msgs/msg/Point", x=x, y=0.0, z=0.0)

    turn = make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0)
    pose = make("geometry_msgs/msg/Pose", position=point(), orientation=turn)
    covariance = np.zeros(36)
    return make(
        "nav_msgs/msg/Odometry",
        header=header(stamp_ns, "odom"),
        child_frame_id="base_link",
        pose=make("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=covariance),
        twist=make(
            "geometry_msgs/msg/TwistWithCovariance",
            twist=twist(speed, yaw_rate),
            covariance=covariance,
        ),
    )


def laser_scan(ranges: Iterable[float], stamp_ns: int, first: float, last: float) -> Any:
    values = np.array(list(ranges), np.float32)
    return make(
        "sensor_msgs/msg/LaserScan",
        header=header(stamp_ns, "laser"),
        angle_min=first,
        angle_max=last,
        angle_increment=(last - first) / max(len(values) - 1, 1),
        time_increment=0.0,
        scan_time=0.1,
        range_min=0.1,
        range_max=8.0,
        ranges=values,
        intensities=np.empty(0, np.float32),
    )


def range_of(distance: float, stamp_ns: int, field_of_view: float = 0.5, **limits: float) -> Any:
    return make(
        "sensor_msgs/msg/Range",
        header=header(stamp_ns, "sonar"),
        radiation_type=0,
        field_of_view=field_of_view,
        min_range=limits.get("min_range", 0.05),
        max_range=limits.get("max_range", 4.0),
        range=distance,
        variance=0.0,
    )


def camera_info(stamp_ns: int, focal: float, width: int, height: int) -> Any:
    k = np.array([focal, 0, (width - 1) / 2, 0, focal, (height - 1) / 2, 0, 0, 1], np.float64)
    roi = make(
        "sensor_msgs/msg/RegionOfInterest",
        x_offset=0, y_offset=0, height=0, width=0, do_rectify=False,
    )  # fmt: skip
    return make(
        "sensor_msgs/msg/CameraInfo",
        header=header(stamp_ns),
        height=height,
        width=width,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=k,
        r=np.eye(3).reshape(-1),
        p=np.zeros(12),
        binning_x=0,
        binning_y=0,
        roi=roi,
    )


def write_bag(
    path: Path,
    rows: Iterable[Row],
    storage: StoragePlugin = StoragePlugin.MCAP,
    mode: CompressionMode = CompressionMode.NONE,
) -> Path:
    writer = Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    connections: dict[str, Any] = {}
    with writer:
        for topic, received_ns, message in rows:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=message_store())
            raw = message_store().serialize_cdr(message, kind)
            writer.write(connections[topic], received_ns, raw)
    return path


def write_ros1_bag(
    path: Path, rows: Iterable[Row], compression: Ros1Writer.CompressionFormat | None = None
) -> Path:
    writer = Ros1Writer(path)
    if compression is not None:
        writer.set_compression(compression)
    connections: dict[str, Any] = {}
    with writer:
        for topic, received_ns, message in rows:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=ros1_store())
            raw = ros1_store().serialize_ros1(message, kind)
            writer.write(connections[topic], received_ns, raw)
    return path
