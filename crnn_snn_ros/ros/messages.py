"""ROS messages <-> core types. Conversions only: no arithmetic beyond units of time."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Twist, TwistStamped, Vector3Stamped
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Float32, Header

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.core.health import Health
from crnn_snn_ros.core.mount import field_of_view_rad
from crnn_snn_ros.core.odometry import Place
from crnn_snn_ros.core.supervisor import HOLDS, Mode, Status
from crnn_snn_ros.core.types import Command, Frame, Prediction
from crnn_snn_ros.io.images import decode_compressed, decode_raw

try:
    from sensor_msgs_py import point_cloud2
except ImportError:  # ROS 2 from wheels has none
    point_cloud2 = None

NS_PER_S = 1_000_000_000


def frame(message: Image | CompressedImage) -> Frame:
    """Decode an image message.

    Raises:
        DataError: its fields contradict each other, or its data is damaged.
    """
    time_ns = stamp_ns(message.header)
    if isinstance(message, CompressedImage):
        return Frame(time_ns, decode_compressed(message.format, message.data))
    pixels = decode_raw(
        message.encoding,
        message.height,
        message.width,
        message.step,
        bool(message.is_bigendian),
        message.data,
    )
    return Frame(time_ns, pixels)


def image(frame: Frame, frame_id: str = "camera") -> Image:
    """An ``rgb8`` image message of a frame."""
    height, width, _ = frame.image.shape
    return Image(
        header=Header(stamp=stamp(frame.stamp_ns), frame_id=frame_id),
        height=height,
        width=width,
        encoding="rgb8",
        step=3 * width,
        data=array("B", frame.image.tobytes()),  # a list or ndarray would be copied item by item
    )


def field_of_view(message: CameraInfo) -> float | None:
    """Horizontal field of view of a camera, all across its image, rad; None: uncalibrated."""
    return field_of_view_rad(message.roi.width or message.width, float(message.k[0]))


def stamp(time_ns: int) -> Any:
    """A ``builtin_interfaces/Time`` of nanoseconds."""
    return Time(nanoseconds=time_ns).to_msg()


def stamp_ns(header: Header) -> int:
    """Nanoseconds of a header's stamp.

    Raises:
        DataError: it is no time after 1970, or its nanoseconds make a second and more.
    """
    sec, nanosec = int(header.stamp.sec), int(header.stamp.nanosec)
    if sec < 0 or nanosec >= NS_PER_S:
        raise DataError(
            f"stamp of {sec} s and {nanosec} ns is no time; look at the camera's driver"
        )
    return sec * NS_PER_S + nanosec


def twist(command: Command, header: Header | None = None) -> Twist:
    """A plain velocity command, which has no room for a header."""
    del header
    message = Twist()
    message.linear.x = command.linear_mps
    message.angular.z = command.angular_radps
    return message


def command(message: Twist | TwistStamped) -> Command:
    """The command in a velocity message; what a wheeled base cannot do is ignored."""
    plain = getattr(message, "twist", message)
    return Command(plain.linear.x, plain.angular.z)


def place(message: Odometry) -> Place:
    """Where a robot is, its yaw in -pi..pi, and how fast it moves; of its base on level ground.

    Raises:
        DataError: its stamp is no time.
    """
    turn = message.pose.pose.orientation
    across = 2.0 * (turn.w * turn.z + turn.x * turn.y)
    along = 1.0 - 2.0 * (turn.y * turn.y + turn.z * turn.z)
    yaw_rad = math.atan2(across, along)
    at, twist = message.pose.pose.position, message.twist.twist
    return Place(stamp_ns(message.header), at.x, at.y, yaw_rad, twist.linear.x, twist.angular.z)


def twist_stamped(command: Command, header: Header) -> TwistStamped:
    """A velocity command with the header of the image that it answers."""
    return TwistStamped(header=header, twist=twist(command))


def prediction(prediction: Prediction, header: Header) -> Vector3Stamped:
    """Vector of x steering (rad), y collision probability, z 1.0 settled or 0.0 cut."""
    message = Vector3Stamped(header=header)
    message.vector.x = prediction.steering_rad
    message.vector.y = prediction.collision_probability
    message.vector.z = 1.0 if prediction.settled else 0.0
    return message


def cloud(points: NDArray[np.float32], header: Header) -> PointCloud2:
    """A cloud of points with x, y and z, by ``sensor_msgs_py`` where it is installed.

    Args:
        points: float32 (N, 3), m; N may be 0.
        header: of the cloud.
    """
    if point_cloud2 is not None:
        return point_cloud2.create_cloud_xyz32(header, points)
    names = ("x", "y", "z")
    kind = PointField.FLOAT32
    return PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=[
            PointField(name=n, offset=4 * i, datatype=kind, count=1) for i, n in enumerate(names)
        ],
        is_bigendian=False,
        point_step=12,
        row_step=12 * len(points),
        data=array("B", points.astype("<f4").tobytes()),
        is_dense=True,
    )


def activity(prediction: Prediction, header: Header) -> Vector3Stamped:
    """Vector of x settle steps and y spikes of all layers: what the answer has cost."""
    message = Vector3Stamped(header=header)
    message.vector.x = float(prediction.settle_steps)
    message.vector.y = float(prediction.spikes)
    return message


def number(value: float) -> Float32:
    """A single number."""
    return Float32(data=value)


def state_text(status: Status) -> str:
    """State and reason, for people."""
    reason = f" ({status.reason.value})" if status.reason is not None else ""
    return f"{status.mode.value}{reason}"


def diagnostics(
    name: str, header: Header, status: Status, health: Health, facts: Mapping[str, str], remark: str
) -> DiagnosticArray:
    """The node's state, reason, counts and figures, for ``/diagnostics``.

    Args:
        name: of the node.
        header: with the time of the report.
        status: of the supervisor.
        health: figures of the last seconds.
        facts: what does not change while the node runs, such as the hash of the model.
        remark: what a user must know even while all is well; empty if nothing.
    """
    text = state_text(status)
    values = {
        "state": status.mode.value,
        "reason": status.reason.value if status.reason is not None else "",
        "answered": str(status.answered),
        "last_fault": status.last_fault.value if status.last_fault is not None else "",
        **{f"count_{reason.value}": str(count) for reason, count in status.counts.items()},
        **{f"dropped_{drop.value}": str(count) for drop, count in status.drops.items()},
        "rate_hz": f"{health.rate_hz:.2f}",
        "latency_p50_ms": f"{health.latency_p50_ms:.2f}",
        "latency_p99_ms": f"{health.latency_p99_ms:.2f}",
        "settle_steps_mean": f"{health.settle_steps_mean:.2f}",
        "settle_steps_max": str(health.settle_steps_max),
        "spikes_mean": f"{health.spikes_mean:.0f}",
        **facts,
    }
    report = DiagnosticStatus(
        level=_level(status, remark),
        name=name,
        message=f"{text}; {remark}" if remark else text,
        hardware_id="",
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
    return DiagnosticArray(header=header, status=[report])


def _level(status: Status, remark: str) -> Any:
    if status.mode is Mode.DRIVING:
        return DiagnosticStatus.WARN if remark else DiagnosticStatus.OK
    if status.mode is Mode.WAITING or status.reason in HOLDS:
        return DiagnosticStatus.WARN
    return DiagnosticStatus.ERROR
