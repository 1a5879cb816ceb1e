"""Messages of the simulator against the rules of ROS, and against what the camera sees."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sim_support import course, needs_pictures

from crnn_snn_ros.ros import messages, sim_messages
from crnn_snn_ros.sim.course import Shape
from crnn_snn_ros.sim.looks import Look
from crnn_snn_ros.sim.robot import RobotState
from crnn_snn_ros.sim.scene import Scene
from crnn_snn_ros.sim.simulator import SCAN_REACH_M, Simulator

SECOND = 1_000_000_000
FINITE = st.floats(-1e3, 1e3)


@given(FINITE, FINITE, st.floats(-20.0, 20.0), FINITE, FINITE)
def test_odometry_is_read_back(x, y, yaw, speed, yaw_rate):
    message = sim_messages.odometry(RobotState(x, y, yaw, speed, yaw_rate), 7 * SECOND + 5)
    pose, twist = message.pose.pose, message.twist.twist
    assert (pose.position.x, pose.position.y) == (x, y)
    assert (twist.linear.x, twist.angular.z) == (speed, yaw_rate)
    turn = pose.orientation
    assert math.hypot(turn.x, turn.y, turn.z, turn.w) == pytest.approx(1.0)
    place = messages.place(message)
    assert math.cos(place.yaw_rad - yaw) == pytest.approx(1.0)
    assert -math.pi <= place.yaw_rad <= math.pi
    assert place._replace(yaw_rad=0.0) == (7 * SECOND + 5, x, y, 0.0, speed, yaw_rate)
    assert (message.header.frame_id, message.child_frame_id) == ("odom", "base_link")
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (7, 5)


def test_a_scan_goes_anticlockwise_from_behind_and_knows_what_it_cannot_see():
    left = Shape("cylinder", 0.0, 2.0, 0.0, 0.5, 0.5, 1.0)
    with Simulator(course(left), None) as simulator:
        message = sim_messages.laser_scan(simulator.scan(360), SECOND, 20.0)
    angles = message.angle_min + message.angle_increment * np.arange(len(message.ranges))
    assert angles[-1] == pytest.approx(message.angle_max, abs=1e-5)  # they cross as float32
    assert angles[-1] + message.angle_increment == pytest.approx(math.pi, abs=1e-4), "no ray twice"
    nearest = int(np.argmin(message.ranges))
    assert angles[nearest] == pytest.approx(math.pi / 2, abs=0.02), "left is positive"
    assert message.ranges[nearest] == pytest.approx(1.5, abs=0.01)
    odd = sim_messages.laser_scan(np.array([SCAN_REACH_M, 0.001, 3.0, 9.0]), SECOND, 20.0)
    assert list(odd.ranges) == [math.inf, -math.inf, 3.0, math.inf]  # REP-117
    assert odd.range_min < 3.0 < odd.range_max


@needs_pictures
@pytest.mark.parametrize(("x", "y"), [(2.0, 0.0), (2.5, 1.2), (2.0, -1.4)])
def test_camera_info_projects_to_where_a_thing_is_seen(x, y):
    look = Look.from_seed(4)
    camera, size = look.camera, (192, 128)
    post = Shape("cylinder", x, y, 0.0, 0.05, 0.05, camera.height_m)
    with_post, without = course(post), course()
    pictures = []
    for made in (with_post, without):
        with Scene(made, look, *size) as scene:
            pictures.append(scene.render((0.0, 0.0, 0.0), 0.0).astype(int))
    changed = np.abs(pictures[0] - pictures[1]).sum(axis=2) > 12
    rows, columns = np.nonzero(changed)
    info = sim_messages.camera_info(camera, *size, SECOND)
    matrix = np.array(info.k).reshape(3, 3)
    # Robot to optical frame (REP-103: z ahead, x right, y down), tilted down by the pitch.
    sin, cos = math.sin(camera.pitch_rad), math.cos(camera.pitch_rad)
    ahead = np.array([cos, 0.0, -sin])
    turn = np.stack([(0.0, -1.0, 0.0), (-sin, 0.0, -cos), ahead])
    middle = np.array([x, y, camera.height_m / 2]) - (camera.forward_m, 0.0, camera.height_m)
    u, v, w = matrix @ turn @ middle
    assert columns.mean() == pytest.approx(u / w, abs=1.0)
    top = np.array([x, y, camera.height_m]) - (camera.forward_m, 0.0, camera.height_m)
    _, v, w = matrix @ turn @ top
    assert rows.min() == pytest.approx(v / w, abs=1.6)
    assert (info.width, info.height, info.distortion_model) == (*size, "plumb_bob")
    assert list(np.array(info.p).reshape(3, 4)[:, :3].ravel()) == list(info.k)
