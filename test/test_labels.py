"""Labels from other sensors: geometry by hand, rules on bags made by hand, and the verb."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_samples import (
    camera_info,
    compressed,
    float32,
    image,
    laser_scan,
    make,
    odometry,
    range_of,
    stamp,
    twist,
    write_bag,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from crnn_snn_ros.cli import main
from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.data.bags import read_frames, read_info, read_signal
from crnn_snn_ros.data.clocks import ONE_CLOCK, Clock, read_clock
from crnn_snn_ros.data.labels.labelling import label_bag
from crnn_snn_ros.data.labels.rules import Rules, judge
from crnn_snn_ros.data.labels.sensors import (
    Intrinsics,
    Mount,
    depth_metres,
    depth_points,
    range_points,
    scan_points,
)
from crnn_snn_ros.data.labels.suspicion import suspicions
from crnn_snn_ros.data.labels.tube import RobotShape, arc, time_to_contact

ROBOT = RobotShape(width=0.4, front=0.2, horizon=2.0)
CIRCLE = (-math.pi, math.pi - 2 * math.pi / 360)


def at(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points, float).reshape(-1, 2)


@pytest.mark.parametrize(
    ("point", "speed", "yaw_rate", "seconds"),
    [
        ((1.2, 0.0), 1.0, 0.0, 1.0),  # the bumper is 0.2 m ahead
        ((1.2, 0.19), 1.0, 0.0, 1.0),
        ((1.2, 0.21), 1.0, 0.0, math.inf),  # beside the robot
        ((2.3, 0.0), 1.0, 0.0, math.inf),  # beyond the horizon
        ((-0.1, 0.0), 1.0, 0.0, math.inf),  # behind it
        ((0.1, 0.0), 1.0, 0.0, 0.0),  # within it
        ((1.2, 0.0), 0.0, 0.0, 2.0),  # it stands: at the least speed
        ((1.2, 0.0), -1.0, 0.0, 2.0),  # it backs: the same
        ((1.0, 1.0), 1.0, 1.0, math.pi / 2 - 0.2),  # a quarter turn to the left, radius 1 m
        ((1.0, -1.0), 1.0, 1.0, math.inf),
        ((1.5, 0.0), 1.0, 1.5, math.inf),  # it turns away before that
    ],
)
def test_time_to_contact(point, speed, yaw_rate, seconds):
    found = time_to_contact(at(point), speed, yaw_rate, ROBOT)
    assert found == pytest.approx(seconds, abs=0.05)


@given(
    st.floats(-3, 3), st.floats(-3, 3), st.floats(0.5, 2), st.floats(-2, 2), st.floats(0.05, 0.5)
)
@settings(deadline=None, max_examples=60)
def test_the_tube_is_what_the_footprint_sweeps(x, y, speed, yaw_rate, width):
    """Against small steps of the robot itself, one after another."""
    robot = RobotShape(width=width, front=0.2, horizon=1.0)
    found = time_to_contact(at((x, y)), speed, yaw_rate, robot)
    mirrored = time_to_contact(at((x, -y)), speed, -yaw_rate, robot)
    assert found == mirrored
    pose, touched, closest = np.zeros(3), math.inf, math.inf
    steps = 500
    for number in range(steps + 1):
        dx, dy = x - pose[0], y - pose[1]
        ahead = math.cos(pose[2]) * dx + math.sin(pose[2]) * dy
        beside = math.cos(pose[2]) * dy - math.sin(pose[2]) * dx
        outside = max(abs(ahead - 0.1) - 0.1, abs(beside) - width / 2)
        closest = min(closest, abs(outside))
        if outside <= 0.0:
            touched = number / steps
            break
        middle = pose[2] + yaw_rate / steps / 2
        pose += [speed * math.cos(middle) / steps, speed * math.sin(middle) / steps,
                 yaw_rate / steps]  # fmt: skip
    if touched < math.inf and found < math.inf:
        assert found == pytest.approx(touched, abs=0.05)
    elif closest > 0.02:  # no question of a hair's breadth
        assert found == touched == math.inf


def test_arcs_are_exact():
    x, y, yaw = arc(2.0, 0.5, np.array([0.0, math.pi]))
    assert (x[1], y[1], yaw[1]) == pytest.approx((4.0, 4.0, math.pi / 2))
    assert arc(1.0, 0.0, np.array([3.0]))[0] == pytest.approx([3.0])


def test_a_scan_as_rep_117_has_it():
    values = [math.inf, -math.inf, math.nan, 0.0, 1.0, 9.0]
    scan = laser_scan(values, 0, 0.0, 0.5)
    points = scan_points(scan, Mount())
    assert np.hypot(*points.T) == pytest.approx([0.1, 1.0])  # too near, and measured
    assert np.arctan2(points[1, 1], points[1, 0]) == pytest.approx(0.4)
    turned = scan_points(scan, Mount(x=0.5, yaw=math.pi))
    assert turned[1] == pytest.approx([0.5 - math.cos(0.4), -math.sin(0.4)])
    assert scan_points(laser_scan([math.nan] * 20, 0, 0, 1), Mount()) is None
    assert len(scan_points(laser_scan([math.inf] * 20, 0, 0, 1), Mount())) == 0


@pytest.mark.parametrize(
    ("distance", "limits", "seen"),
    [
        (1.0, {}, 1.0),
        (math.inf, {}, None),
        (9.0, {}, None),
        (-math.inf, {}, 0.05),
        (-math.inf, {"min_range": 0.3, "max_range": 0.3}, 0.3),  # a detector: something
        (math.inf, {"min_range": 0.3, "max_range": 0.3}, None),  # nothing
    ],
)
def test_a_range_is_a_cone(distance, limits, seen):
    points = range_points(range_of(distance, 0, **limits), Mount())
    if seen is None:
        assert len(points) == 0
    else:
        assert np.hypot(*points.T) == pytest.approx(seen)
        assert np.ptp(np.arctan2(points[:, 1], points[:, 0])) == pytest.approx(0.5)
    assert range_points(range_of(math.nan, 0), Mount()) is None


def scene(encoding: str, big_endian: int = 0):
    """A camera 0.5 m over the floor: a box 1 m ahead to the left, floor below, a wall at 3 m."""
    height, width, focal = 60, 80, 60.0
    rows, columns = np.mgrid[0:height, 0:width]
    down, right = (rows - 29.5) / focal, (columns - 39.5) / focal
    floor = np.where(down > 0.01, 0.5 / np.maximum(down, 1e-9), 99.0)
    depth = np.minimum(3.0, floor)
    box = (right * 1.0 < -0.1) & (right * 1.0 > -0.4) & (np.abs(down) < 0.3)
    depth = np.where(box, 1.0, depth)
    kind = np.dtype("u2" if encoding == "16UC1" else "f4").newbyteorder("><"[1 - big_endian])
    values = (depth * (1000 if encoding == "16UC1" else 1)).astype(kind)
    info = camera_info(0, focal, width, height)
    return image(encoding, values, width * kind.itemsize, 0, big_endian), Intrinsics(info)


@pytest.mark.parametrize("big_endian", [0, 1])
@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_a_depth_image_in_metres(encoding, big_endian):
    message, camera = scene(encoding, big_endian)
    mount = Mount(z=0.5)
    points = depth_points(message, camera, mount, height_m=0.9)
    near = points[points[:, 0] < 2.5]
    assert near[:, 0] == pytest.approx(1.0, abs=0.01)  # the floor is none
    assert near[:, 1].min() == pytest.approx(0.1, abs=0.03)  # left is positive
    assert near[:, 1].max() == pytest.approx(0.4, abs=0.03)
    assert points[:, 0].max() == pytest.approx(3.0, abs=0.01)
    low = depth_points(message, camera, mount, height_m=0.1)
    assert (low[:, 0] > 2.5).all()  # it passes under the box, which begins at 0.2 m


def test_a_camera_that_looks_down_sees_the_same_floor():
    height, width, focal, pitch = 60, 80, 60.0, 0.4
    rows, _ = np.mgrid[0:height, 0:width]
    down = (rows - 29.5) / focal
    # A ray meets the floor where z (sin p + down cos p) is the camera's height.
    depth = 0.5 / np.maximum(math.sin(pitch) + down * math.cos(pitch), 1e-6)
    values = np.where(depth < 60, depth * 1000, 0).astype("<u2")
    message = image("16UC1", values, width * 2, 0)
    camera = Intrinsics(camera_info(0, focal, width, height))
    assert len(depth_points(message, camera, Mount(z=0.5, pitch=pitch), 1.0)) == 0
    assert len(depth_points(message, camera, Mount(z=0.5, pitch=pitch - 0.2), 1.0)) > 100


def test_depth_that_is_none_is_refused():
    with pytest.raises(DataError, match="depth image is 'rgb8', expected 16UC1 or mono16 or 32FC1"):
        depth_metres(image("rgb8", np.zeros((2, 2, 3), np.uint8), 6, 0))
    message = image("16UC1", np.zeros((2, 2), np.uint16), 4, 0)
    message.data = message.data[:-1]
    with pytest.raises(DataError, match="2x2 has 7 bytes, step 4"):
        depth_metres(message)
    with pytest.raises(DataError, match="uncalibrated"):
        Intrinsics(camera_info(0, 0.0, 2, 2))


def approach(speed: float = 1.0, count: int = 60, clock_ns: int = 0) -> list:
    """A robot drives 1 m/s at a wall 2 m ahead, is stopped by it, and is told to go on."""
    rows = []
    for n in range(count):
        ahead = max(2.0 - speed * n / 20, 0.2)
        moving = speed if ahead > 0.2 else 0.0
        ranges = [ahead / max(math.cos(a), 0.05) if abs(a) < 1.4 else math.inf
                  for a in np.linspace(*CIRCLE, 360)]  # fmt: skip
        sent = stamp(n) + clock_ns
        rows.append(("/camera", sent, compressed(n, stamp(n))))
        rows.append(("/scan", sent, laser_scan(ranges, stamp(n) + 3_000_000, *CIRCLE)))
        rows.append(("/range", sent, range_of(ahead, stamp(n))))
        rows.append(("/odom", sent, odometry(moving, 0.0, stamp(n))))
        rows.append(("/cmd", sent, twist(speed, 0.0)))
        rows.append(("/bumper", sent, make("std_msgs/msg/Bool", data=moving == 0.0)))
        rows.append(("/mine", sent, float32(float(n > 20))))
    return rows


CONTACT = 36  # frame at which the robot stands at the wall


@pytest.mark.parametrize("clock_ns", [0, 10**18])
def test_all_rules_agree_on_a_wall(tmp_path, clock_ns):
    """Also where what has no header was received by another clock."""
    bag = write_bag(tmp_path / "bag", approach(clock_ns=clock_ns))
    rules = Rules(scan="/scan", range="/range", odom="/odom", contact="/bumper", motion="/cmd")
    robot = RobotShape(width=0.4, front=0.2, horizon=1.0)
    labels = label_bag(bag, rules, robot, Mount())
    first = CONTACT - 20  # a second before
    for one in labels.rules:
        name = one.judged.rule
        known = ~np.isnan(one.collision)
        found = np.flatnonzero(one.collision > 0.5)
        assert abs(found[0] - first) <= 2, name
        assert (found == np.arange(found[0], found[-1] + 1)).all(), name
        assert found[-1] == len(one.collision) - 1, name
        assert known.all(), name
        before = one.seconds[first + 2 : CONTACT]
        assert before == pytest.approx((CONTACT - np.arange(first + 2, CONTACT)) / 20, abs=0.12)
    assert labels.collision[CONTACT] == 1.0
    assert labels.collision[0] == 0.0


def test_the_future_that_was_not_recorded_is_not_labelled(tmp_path):
    bag = write_bag(tmp_path / "bag", approach(count=30))  # it ends before the wall
    robot = RobotShape(width=0.4, front=0.2, horizon=1.0)
    (contact,) = label_bag(bag, Rules(contact="/bumper"), robot, Mount()).rules
    assert np.isnan(contact.collision).tolist() == [n > 9 for n in range(30)]
    assert (contact.collision[:10] == 0).all()


def test_a_robot_that_never_moved_did_not_stall(tmp_path):
    rows = [("/odom", stamp(n), odometry(0.0, 0.0, stamp(n))) for n in range(60)]
    rows += [("/cmd", stamp(n), twist(0.5, 0.0)) for n in range(60)]
    bag = write_bag(tmp_path / "bag", sorted(rows, key=lambda row: row[1]))
    (stall,) = judge(bag, Rules(odom="/odom", motion="/cmd"), ROBOT, Mount())
    assert not (stall.collision > 0.5).any()


def test_labels_become_topics_beside_what_was_recorded(tmp_path, capsys):
    bag = write_bag(tmp_path / "drive", approach())
    code = main(
        ["label", str(bag), "--out", str(tmp_path / "out"), "--scan", "/scan", "--contact",
         "/bumper", "--motion", "/cmd", "--steering", "/cmd", "--width", "0.4", "--front", "0.2",
         "--horizon", "1", "--json"]
    )  # fmt: skip
    out, err = capsys.readouterr()
    assert code == 0, err
    (result,) = json.loads(out)["bags"]
    assert (result["frames"], result["labelled"], result["unlabelled"]) == (60, 60, 0)
    new = tmp_path / "out" / "drive"
    frames = [frame.stamp_ns for frame in read_frames(new)]
    assert frames == [frame.stamp_ns for frame in read_frames(bag)]
    label = read_signal(new, "/collision")
    assert label.stamps_ns.tolist() == frames  # at the stamps of the frames, not of the scans
    assert int((label.values > 0.5).sum()) == result["positive"] == 60 - CONTACT + 20
    assert read_signal(new, "/steering").values.tolist() == [0.0] * 60
    old, info = read_info(bag), read_info(new)
    assert {name: info.topics[name] for name in old.topics} == old.topics
    added = set(info.topics) - set(old.topics)
    assert added == {"/collision", "/steering", "/labels/scan", "/labels/scan/seconds",
                     "/labels/contact", "/labels/contact/seconds"}  # fmt: skip
    assert info.about["labels"] == "scan /scan, contact /bumper"
    for rule, path in zip(result["rules"], result["pictures"], strict=True):
        drawn = cv2.imread(path)
        assert drawn.shape[1] == 1280, rule
        assert len(np.unique(drawn)) > 50, rule
    again = main(["label", str(bag), "--out", str(tmp_path / "out"), "--scan", "/scan"])
    assert again == 2
    assert "exists: remove it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "no rule is named: give --scan, --range"),
        (["--odom", "/odom"], "--odom needs --motion"),
        (["--scan", "/laser"], "has no topic /laser, only /bumper"),
        (["--scan", "/odom"], "/odom is nav_msgs/msg/Odometry, expected sensor_msgs/msg/LaserScan"),
        (["--depth", "/camera"], "expected sensor_msgs/msg/CameraInfo|has no topic /camera_info"),
        (["--scan", "/scan", "--width", "-1"], "width -1.0 is not within"),
        (["--scan", "/scan", "--tolerance", "0.001"], "no frame has a label: the nearest message"),
        (["--scan", "/scan", "--collision-label", "/odom"], "has a topic /odom already"),
        (
            ["--scan", "/scan", "--collision-label", "soon label"],
            "'soon label' is no name of a topic",
        ),
        (["--scan", "/scan", "--details", "/"], "'/' is no name of a topic"),
        (["--scan", "/scan", "--collision-label", "/labels/scan"], "two labels have one name"),
        (["--scan", "/scan", "--sensor-x", "nan"], "sensor's x nan is not within"),
        (["--scan", "/scan", "--sensor-yaw", "inf"], "sensor's yaw inf is not within"),
        (["--topic", "/cmd"], "/cmd is geometry_msgs/msg/Twist, expected std_msgs/msg/Float32"),
    ],
)
def test_what_cannot_be_labelled_is_said(tmp_path, capsys, options, says):
    bag = write_bag(tmp_path / "bag", approach(count=4))
    assert main(["label", str(bag), "--out", str(tmp_path / "out"), *options]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert any(part in err for part in says.split("|")), err
    assert not list(tmp_path.glob("out/*"))


def test_labels_of_ones_own_are_checked(tmp_path):
    bag = write_bag(tmp_path / "bag", approach(count=30))
    (mine,) = judge(bag, Rules(topic="/mine"), ROBOT, Mount())
    assert mine.collision.tolist() == [float(n > 20) for n in range(30)]
    other = write_bag(tmp_path / "other", [("/mine", 5, float32(2.0))])
    with pytest.raises(DataError, match=r"/mine: value 0 is 2, expected 0\.\.1"):
        judge(other, Rules(topic="/mine"), ROBOT, Mount())
    with pytest.raises(ConfigError, match="least points 0"):
        RobotShape(least_points=0)


def test_clocks(tmp_path):
    rows = approach(count=4, clock_ns=10**18)
    bag = write_bag(tmp_path / "bag", rows)
    clock = read_clock(bag, "/scan")
    received = np.array([stamp(n) + 10**18 for n in range(-2, 6)])
    assert clock.stamp(received).tolist() == [stamp(n) + 3_000_000 for n in range(-2, 6)]
    same = write_bag(tmp_path / "same", approach(count=4))
    assert read_clock(same, "/scan") is ONE_CLOCK
    slow = Clock(np.array([0, 1000]) + 10**18, np.array([0, 500]))  # half of real time
    assert slow.stamp(np.array([10**18 + 500])).tolist() == [250]


def test_suspicions():
    stamps = np.arange(400) * 50_000_000
    free, inf = np.zeros(400), np.full(400, math.inf)
    assert suspicions(stamps, free, inf) == []
    silent = free.copy()
    silent[100:130] = math.nan
    assert [(s.begin, s.end) for s in suspicions(stamps, silent, inf)] == [(100, 129)]
    stuck = free.copy()
    stuck[50:300] = 1.0
    (found,) = suspicions(stamps, stuck, inf)
    assert (found.begin, found.end) == (50, 299)
    assert found.why.startswith("in collision for 12.")
    flickering = free.copy()
    flickering[200:220:2] = 1.0
    (found,) = suspicions(stamps, flickering, inf)
    assert (found.begin, found.end, found.why) == (200, 219, "changes 20 times")
    lone = free.copy()
    lone[300] = 1.0
    assert [s.why for s in suspicions(stamps, lone, inf)] == ["a collision for one frame only"]
    leaping = inf.copy()
    leaping[10:14] = [1.5, 1.45, 0.3, 0.25]
    assert [s.begin for s in suspicions(stamps, free, leaping)] == [11]


SHARED = Path(__file__).parents[2] / "shared" / "data"


def test_scans_of_a_turtlebot():
    bag = Path(os.environ.get("CRNN_SNN_SHARED_DATA", SHARED)) / "turtlebot_scan_cmdvel_bags"
    if not bag.is_dir():
        pytest.skip(f"no foreign bags in {bag.parent}")
    robot = RobotShape(width=0.2, front=0.1)
    rules = Rules(scan="/scan", motion="/cmd_vel")
    labels = label_bag(bag / "test_bag", rules, robot, Mount(), "/cmd_vel")
    assert len(labels.stamps_ns) == 922
    assert not np.isnan(labels.collision).any()
    assert 10 < (labels.collision > 0.5).sum() < 100  # looked at: it comes close to pillars twice
    # Although the scans are of simulated time, and the commands of the computer's; nobody
    # commanded before and between the drives.
    assert 400 < np.isfinite(labels.steering).sum() < 922
