"""Types of messages by name, and their definitions, without a ROS installation."""

from __future__ import annotations

from functools import cache
from typing import Any

try:
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore
except ImportError as error:
    raise ImportError("bags need rosbags: pip install 'crnn_snn_ros[tools]'") from error

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
FLOAT32 = "std_msgs/msg/Float32"
FLOAT32_ARRAY = "std_msgs/msg/Float32MultiArray"
ARRAY_LAYOUT = "std_msgs/msg/MultiArrayLayout"
HEADER = "std_msgs/msg/Header"
TWIST = "geometry_msgs/msg/Twist"
TWIST_STAMPED = "geometry_msgs/msg/TwistStamped"
VECTOR3_STAMPED = "geometry_msgs/msg/Vector3Stamped"
ODOMETRY = "nav_msgs/msg/Odometry"
LASER_SCAN = "sensor_msgs/msg/LaserScan"
RANGE = "sensor_msgs/msg/Range"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
BOOL = "std_msgs/msg/Bool"
# Types of a number in the field ``data``.
NUMBERS = (FLOAT32, "std_msgs/msg/Float64", BOOL, "std_msgs/msg/Int32", "std_msgs/msg/UInt8")
ACKERMANN = "ackermann_msgs/msg/AckermannDrive"
ACKERMANN_STAMPED = "ackermann_msgs/msg/AckermannDriveStamped"
_ACKERMANN_FIELDS = """
float32 steering_angle
float32 steering_angle_velocity
float32 speed
float32 acceleration
float32 jerk
"""


@cache
def message_store() -> Any:
    """The message definitions of ROS 2 Jazzy and ``ackermann_msgs`` (``rosbags`` Typestore)."""
    store = get_typestore(Stores.ROS2_JAZZY)
    drive = get_types_from_msg(_ACKERMANN_FIELDS, ACKERMANN)
    stamped = "std_msgs/Header header\nackermann_msgs/AckermannDrive drive\n"
    store.register(drive | get_types_from_msg(stamped, ACKERMANN_STAMPED))
    return store


def header_stamp(content: Any) -> int:
    """The stamp of a message's header; 0, which in ROS means "not stamped", where it has none."""
    header = getattr(content, "header", None)
    return 0 if header is None else int(header.stamp.sec * 1_000_000_000 + header.stamp.nanosec)
