"""What the simulator knows -> ROS messages. Frames and signs by REP-103, -105 and -117.

``odom`` is the course's own frame, so its pose is the true one, without drift. ``base_link`` is the
axle's centre, ``base_scan`` the middle of the footprint, ``camera_optical_frame`` the camera.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Mapping
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, LaserScan
from std_msgs.msg import Header, String

from crnn_snn_ros.ros.messages import stamp
from crnn_snn_ros.sim import scan
from crnn_snn_ros.sim.looks import Camera
from crnn_snn_ros.sim.robot import RobotState
from crnn_snn_ros.sim.session import Moment
from crnn_snn_ros.sim.suites import Outcome

ODOM, BASE, CAMERA = "odom", "base_link", "camera_optical_frame"


def odometry(state: RobotState, stamp_ns: int) -> Odometry:
    """Pose in the course, and the twist of the base."""
    message = Odometry(header=_header(stamp_ns, ODOM), child_frame_id=BASE)
    pose, twist = message.pose.pose, message.twist.twist
    pose.position.x, pose.position.y = state.x_m, state.y_m
    pose.orientation.z = math.sin(state.yaw_rad / 2)
    pose.orientation.w = math.cos(state.yaw_rad / 2)
    twist.linear.x, twist.angular.z = state.speed_mps, state.yaw_rate_radps
    return message


def laser_scan(ranges_m: NDArray[np.float64], stamp_ns: int, rate_hz: float) -> LaserScan:
    """See ``sim.scan.circle``."""
    fields, ranges = scan.circle(ranges_m, rate_hz)
    header = _header(stamp_ns, scan.FRAME)
    return LaserScan(header=header, ranges=array("f", ranges.tobytes()), **fields)


def camera_info(camera: Camera, width: int, height: int, stamp_ns: int) -> CameraInfo:
    """True intrinsics of a camera without distortion; pixel centres lie at whole numbers."""
    focal = camera.focal_px(width)
    x, y = (width - 1) / 2, (height - 1) / 2
    return CameraInfo(
        header=_header(stamp_ns, CAMERA),
        width=width,
        height=height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[focal, 0.0, x, 0.0, focal, y, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[focal, 0.0, x, 0.0, 0.0, focal, y, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def result(moment: Moment, outcome: Outcome) -> String:
    """How a course ended, as JSON; its numbers are read back to the last bit."""
    told = {
        "suite": moment.entry.suite,
        **outcome._asdict(),
        "succeeded": outcome.succeeded,
        "frames": moment.number + 1,
        "first_stamp_ns": moment.first_ns,
        "last_stamp_ns": moment.frame.stamp_ns,
    }
    return String(data=json.dumps(told))


def diagnostics(
    name: str, stamp_ns: int, trouble: str, values: Mapping[str, object]
) -> DiagnosticArray:
    """The simulator's report for ``/diagnostics``.

    Args:
        name: of the node.
        stamp_ns: time of the report.
        trouble: what a user should know; empty if nothing.
        values: what goes on.
    """
    report = DiagnosticStatus(
        level=DiagnosticStatus.WARN if trouble else DiagnosticStatus.OK,
        name=name,
        message=trouble or str(values["course"]),
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )
    return DiagnosticArray(header=_header(stamp_ns, ""), status=[report])


def _header(stamp_ns: int, frame_id: str) -> Any:
    return Header(stamp=stamp(stamp_ns), frame_id=frame_id)
