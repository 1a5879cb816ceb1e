"""Rules that say for each moment whether a collision was ahead; none of them clicks.

| rule | from | positive |
|---|---|---|
| scan, range, depth | obstacles | one lies in the robot's tube within the horizon |
| stall | odometry, commands | the robot will be told to drive and stand still, within the horizon |
| contact | a bumper's topic | it will touch something within the horizon, or does |
| topic | a recorded label | as recorded |
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.data.bags import Signal, Topic, read_info, read_messages, read_signal
from crnn_snn_ros.data.clocks import ONE_CLOCK, Clock, read_clock
from crnn_snn_ros.data.labels.sensors import (
    Intrinsics,
    Mount,
    depth_points,
    range_points,
    scan_points,
)
from crnn_snn_ros.data.labels.tube import Floats, RobotShape, time_to_contact
from crnn_snn_ros.data.messages import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    LASER_SCAN,
    RANGE,
    TWIST,
)
from crnn_snn_ros.data.steering import MOTIONS, motion

NAMES = ("scan", "range", "depth", "stall", "contact", "topic")
DEPTH_POINTS = 8  # fewer in the tube are noise
STALL_S, MOVED_S = 0.5, 3.0  # of standing against the command, after having moved
COMMANDED_MPS, STANDING_MPS, MOVING_MPS = 0.1, 0.02, 0.05
MOTION_TOLERANCE_S = 0.5  # a command is in force that long

Points = Callable[[Any], "Floats | None"]


@dataclass(frozen=True)
class Rules:
    """Which topics say what; None: not asked.

    Raises:
        ConfigError: none is asked, or a rule lacks another topic.
    """

    scan: str | None = None  # sensor_msgs/LaserScan
    range: str | None = None  # sensor_msgs/Range
    depth: str | None = None  # sensor_msgs/Image, 16UC1 in mm or 32FC1 in m
    camera_info: str | None = None  # of the depth image; beside it where not given
    odom: str | None = None  # nav_msgs/Odometry: the robot stands although --motion tells it to go
    contact: str | None = None  # Bool or a number, over 0.5 while something is touched
    topic: str | None = None  # a label of yours, 0..1
    motion: str | None = None  # Twist, TwistStamped or Odometry: bends the tube

    def __post_init__(self) -> None:
        if not any((self.scan, self.range, self.depth, self.odom, self.contact, self.topic)):
            raise ConfigError(
                "no rule is named: give --scan, --range, --depth, --odom, --contact or --topic"
            )
        if self.odom and not self.motion:
            raise ConfigError(
                "--odom needs --motion, the topic of the commands that it stalls under"
            )


@dataclass(frozen=True, eq=False)
class Judged:
    """What one rule says, at the stamps of its own sensor."""

    rule: str
    topic: str
    stamps_ns: NDArray[np.int64]  # (n,), in order
    collision: Floats  # (n,), 0..1; NaN where it cannot say
    seconds: Floats  # (n,) to contact; inf: none, NaN: unknown, or not of this rule
    points: Points | None = None  # obstacles of a message, for pictures
    motions: Floats | None = None  # (n, 2) speed and yaw rate of the tube, likewise


def judge(path: Path, rules: Rules, robot: RobotShape, mount: Mount) -> list[Judged]:
    """Ask every rule that is named.

    Raises:
        DataError: a topic is missing, of another type, empty or damaged.
    """
    clock = sensor_clock(path, rules)
    motions = _motions(path, rules.motion, clock)
    judged = []
    if rules.scan:
        points: Points = lambda content: scan_points(content, mount)  # noqa: E731
        judged.append(_obstacles(path, "scan", rules.scan, LASER_SCAN, points, motions, robot))
    if rules.range:
        points = lambda content: range_points(content, mount)  # noqa: E731
        judged.append(_obstacles(path, "range", rules.range, RANGE, points, motions, robot))
    if rules.depth:
        camera = _camera(path, rules.depth, rules.camera_info)
        points = lambda content: depth_points(content, camera, mount, robot.height)  # noqa: E731
        many = replace(robot, least_points=max(robot.least_points, DEPTH_POINTS))
        judged.append(_obstacles(path, "depth", rules.depth, IMAGE, points, motions, many))
    if rules.odom and motions is not None:
        judged.append(_stall(path, rules.odom, motions, robot))
    if rules.contact:
        judged.append(_contact(path, rules.contact, clock, robot))
    if rules.topic:
        judged.append(_recorded(path, rules.topic, clock))
    return judged


def _obstacles(
    path: Path,
    rule: str,
    topic: str,
    msgtype: str,
    points: Points,
    motions: _Motions | None,
    robot: RobotShape,
) -> Judged:
    stamps: list[int] = []
    seconds: list[float] = []
    moves: list[tuple[float, float]] = []
    for message in read_messages(path, topic, (msgtype,)):
        speed, yaw_rate = (0.0, 0.0) if motions is None else motions.at(message.stamp_ns)
        try:
            found = points(message.content)
        except DataError as error:
            raise DataError(f"bag {path}, {topic}, message {len(stamps)}: {error}") from None
        stamps.append(message.stamp_ns)
        moves.append((speed, yaw_rate))
        seconds.append(
            math.nan if found is None else time_to_contact(found, speed, yaw_rate, robot)
        )
    order = np.argsort(np.array(stamps, np.int64), kind="stable")
    times = np.array(seconds)[order]
    collision = np.where(np.isnan(times), np.nan, np.isfinite(times).astype(np.float64))
    at = np.array(stamps, np.int64)[order]
    return Judged(rule, topic, at, collision, times, points, np.array(moves)[order])


class _Motions:
    """Speed and yaw rate over time."""

    def __init__(self, stamps_ns: NDArray[np.int64], values: Floats) -> None:
        self.stamps_ns, self.values = stamps_ns, values  # (n,), (n, 2)

    def at(self, stamp_ns: int) -> tuple[float, float]:
        """The last one up to a moment, while it is in force; a robot without a command stands."""
        at = int(np.searchsorted(self.stamps_ns, stamp_ns, side="right")) - 1
        if at < 0 or stamp_ns - self.stamps_ns[at] > MOTION_TOLERANCE_S * 1e9:
            return 0.0, 0.0
        return float(self.values[at, 0]), float(self.values[at, 1])


def sensor_clock(path: Path, rules: Rules) -> Clock:
    """The clock that stamps the sensors, or the images where no rule has a sensor of its own.

    Raises:
        DataError: the bag is damaged.
    """
    topic = rules.scan or rules.range or rules.depth or rules.odom
    topics = read_info(path).topics
    if topic is None:
        topic = next((n for n, t in topics.items() if t.msgtype in (IMAGE, COMPRESSED_IMAGE)), None)
    return ONE_CLOCK if topic not in topics else read_clock(path, topic)


def _motions(path: Path, topic: str | None, clock: Clock = ONE_CLOCK) -> _Motions | None:
    if topic is None:
        return None
    headless = read_info(path).topics.get(topic, Topic("", 0)).msgtype == TWIST
    stamps: list[int] = []
    values: list[tuple[float, float]] = []
    for message in read_messages(path, topic, MOTIONS):
        stamps.append(message.stamp_ns)
        values.append(motion(message.content))
        if not all(math.isfinite(value) for value in values[-1]):
            raise DataError(f"bag {path}, {topic}: message {len(stamps) - 1} is {values[-1]}")
    times = np.array(stamps, np.int64)
    if headless:
        times = clock.stamp(times)
    order = np.argsort(times, kind="stable")
    return _Motions(times[order], np.array(values)[order])


def _camera(path: Path, depth: str, info: str | None) -> Intrinsics:
    topic = info or f"{depth.rsplit('/', 1)[0]}/camera_info"
    for message in read_messages(path, topic, (CAMERA_INFO,)):
        return Intrinsics(message.content)
    raise DataError(f"bag {path}: {topic} has no messages")


def _stall(path: Path, topic: str, motions: _Motions, robot: RobotShape) -> Judged:
    odometry = _motions(path, topic)
    assert odometry is not None
    stamps, speed = odometry.stamps_ns, np.abs(odometry.values[:, 0])
    commanded = np.array([motions.at(int(stamp))[0] for stamp in stamps])
    stuck = (commanded >= COMMANDED_MPS) & (speed <= STANDING_MPS)
    moved = np.where(speed >= MOVING_MPS, stamps, -(2**62))
    last_moved = np.maximum.accumulate(moved)
    events = [
        (begin, end)
        for begin, end in _stretches(stuck)
        if stamps[end] - stamps[begin] >= STALL_S * 1e9
        and stamps[begin] - last_moved[begin] <= MOVED_S * 1e9
    ]
    return _foreseen("stall", topic, stamps, events, robot)


def _contact(path: Path, topic: str, clock: Clock, robot: RobotShape) -> Judged:
    signal = clock.carry(read_signal(path, topic))
    _require_share(path, topic, signal)
    events = list(_stretches(signal.values > 0.5))
    return _foreseen("contact", topic, signal.stamps_ns, events, robot)


def _recorded(path: Path, topic: str, clock: Clock) -> Judged:
    signal = clock.carry(read_signal(path, topic))
    _require_share(path, topic, signal)
    unknown = np.full(len(signal.values), np.nan)
    return Judged("topic", topic, signal.stamps_ns, signal.values, unknown)


def _foreseen(
    rule: str,
    topic: str,
    stamps: NDArray[np.int64],
    events: list[tuple[int, int]],
    robot: RobotShape,
) -> Judged:
    """Positive from the horizon before an event to its end; the last horizon is not known."""
    seconds = np.full(len(stamps), np.inf)
    horizon_ns = robot.horizon * 1e9
    for begin, end in events:
        before = (stamps >= stamps[begin] - horizon_ns) & (stamps <= stamps[end])
        until = np.maximum(stamps[begin] - stamps, 0) * 1e-9
        seconds = np.where(before, np.minimum(seconds, until), seconds)
    open_end = (stamps > stamps[-1] - horizon_ns) & np.isinf(seconds)
    seconds[open_end] = np.nan
    collision = np.where(np.isnan(seconds), np.nan, np.isfinite(seconds).astype(np.float64))
    return Judged(rule, topic, stamps, collision, seconds)


def _stretches(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last index of each run of True.

    Example:
        >>> _stretches(np.array([False, True, True, False, True]))
        [(1, 2), (4, 4)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _require_share(path: Path, topic: str, signal: Signal) -> None:
    wrong = np.flatnonzero(~((signal.values >= 0.0) & (signal.values <= 1.0)))
    if len(wrong):
        raise DataError(
            f"bag {path}, {topic}: value {wrong[0]} is {signal.values[wrong[0]]:g}, expected 0..1"
        )
