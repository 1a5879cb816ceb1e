"""The closed world: the same run for the same commands, and contact exactly where it is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from sim_support import course, needs_pictures

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.types import STOP, Command
from crnn_snn_ros.sim.course import Mover, Shape, shapes_of
from crnn_snn_ros.sim.generate import Difficulty, generate
from crnn_snn_ros.sim.geometry import point_distance
from crnn_snn_ros.sim.looks import Look
from crnn_snn_ros.sim.robot import CAR, RobotConfig
from crnn_snn_ros.sim.simulator import (
    CONTACT,
    DISTANCE,
    GOAL,
    SCAN_REACH_M,
    TIMEOUT,
    Observation,
    Simulator,
    footprint,
)

AHEAD = Command(1.0, 0.0)
WHEELS = RobotConfig(lag_s=0.0, acceleration_mps2=50.0)


def drive(simulator: Simulator, *commands: Command) -> list[Observation]:
    return [simulator.reset(), *(simulator.step(command) for command in commands)]


def wander(count: int) -> list[Command]:
    random = np.random.default_rng(3)
    return [Command(float(v), float(w)) for v, w in random.uniform((0, -1.5), (1, 1.5), (count, 2))]


@needs_pictures
def test_the_same_commands_give_the_same_pictures_and_poses() -> None:
    made = generate("corridor", 1001, Difficulty(movers=(2, 2)))
    runs = []
    for _ in range(2):
        with Simulator(made, Look.from_seed(7)) as simulator:
            first, second = (drive(simulator, *wander(25)) for _ in range(2))
        runs += [first, second]
    for other in runs[1:]:
        for a, b in zip(runs[0], other, strict=True):
            assert a[1:] == b[1:]
            assert a.frame is not None
            assert b.frame is not None
            assert a.frame.stamp_ns == b.frame.stamp_ns
            assert np.array_equal(a.frame.image, b.frame.image)


@needs_pictures
def test_looks_do_not_change_the_run() -> None:
    made = generate("room", 1001, Difficulty(movers=(2, 2)))
    seen = []
    for look in (Look.from_seed(1), Look.from_seed(2, held_out=True), None):
        with Simulator(made, look, camera=(32, 24)) as simulator:
            seen.append(drive(simulator, *wander(10)))
    for a, b, blind in zip(*seen, strict=True):
        assert a[1:] == b[1:] == blind[1:]
        assert blind.frame is None
        assert a.frame is not None
        assert b.frame is not None
        assert not np.array_equal(a.frame.image, b.frame.image)


@needs_pictures
def test_frames_are_of_the_asked_size_and_time() -> None:
    with Simulator(course(), Look.from_seed(0), camera=(40, 30), rate_hz=10.0) as simulator:
        seen = drive(simulator, AHEAD, AHEAD)
    frames = [observation.frame for observation in seen if observation.frame is not None]
    assert [frame.image.shape for frame in frames] == [(30, 40, 3)] * 3
    assert np.diff([frame.stamp_ns for frame in frames]).tolist() == [100_000_000] * 2
    assert [observation.time_s for observation in seen] == pytest.approx([0.0, 0.1, 0.2])


@pytest.mark.parametrize("robot", [WHEELS, replace(CAR, lag_s=0.0)], ids=["disc", "car"])
@pytest.mark.parametrize("rate_hz", [5.0, 20.0, 60.0])
def test_contact_is_where_the_footprint_meets_the_box(robot: RobotConfig, rate_hz: float) -> None:
    box = Shape("box", 2.0, 0.1, 0.3, 0.2, 0.3, 1.0)
    with Simulator(course(box), None, robot, rate_hz=rate_hz) as simulator:
        seen = simulator.reset()
        while seen.finished is None:
            before, seen = seen, simulator.step(AHEAD)
            apart = gap(seen, robot, box)
            assert (apart <= 0.0) == seen.collided
            assert before.distance_m <= seen.distance_m
        assert seen.finished == CONTACT
        assert -0.02 < apart <= 0.0  # found within a sub-step, however few the frames
        assert simulator.step(AHEAD) == seen  # it is over
        assert simulator.reset().finished is None


def gap(seen: Observation, robot: RobotConfig, box: Shape) -> float:
    """Room between footprint and box, by points laid along the footprint's segment."""
    start, end = footprint(seen.state, robot)
    points = start + np.linspace(0.0, 1.0, 2001)[:, None] * (end - start)
    return float(point_distance(points[:, None], shapes_of((box,))).min()) - robot.radius_m


def test_a_mover_can_hit_a_robot_that_stands() -> None:
    shape = Shape("cylinder", 0.0, 0.0, 0.0, 0.2, 0.2, 1.0)
    mover = Mover(shape, (0.0, 3.0), (0.0, -3.0), 0.5, 0.0)
    with Simulator(course(movers=(mover,)), None) as simulator:
        seen = simulator.reset()
        while seen.finished is None:
            seen = simulator.step(STOP)
    assert seen.finished == CONTACT
    assert seen.time_s == pytest.approx((3.0 - 0.2 - 0.18) / 0.5, abs=0.0126)


def test_how_runs_end() -> None:
    with Simulator(replace(course(), goal_m=2.0), None, WHEELS) as simulator:
        seen = drive(simulator, *[AHEAD] * 45)[-1]
        assert seen.finished == DISTANCE
        assert seen.succeeded
        assert seen.distance_m == pytest.approx(2.0, abs=0.05)
    with Simulator(replace(course(), timeout_s=1.0), None) as simulator:
        seen = drive(simulator, *[STOP] * 20)[-1]
        assert (seen.finished, seen.time_s, seen.succeeded) == (TIMEOUT, 1.0, False)
    on_rails = replace(course(), route=((-4.0, 0.0), (4.0, 0.0)), goal_m=6.0)
    with Simulator(on_rails, None, WHEELS) as simulator:
        seen = drive(simulator, *[AHEAD] * 60)[-1]
        assert seen.finished == GOAL
        assert seen.state.x_m == pytest.approx(2.0, abs=0.06)


def test_the_scan_measures_the_hall() -> None:
    with Simulator(course(), None) as simulator:
        ranges = simulator.scan(5, math.pi)
        assert ranges == pytest.approx([5.0, 5.0 * math.sqrt(2), 5.0, 5.0 * math.sqrt(2), 5.0])
        assert simulator.scan(4) == pytest.approx([5.0] * 4)
    far = replace(course(), start=(-4.0, 0.0, 0.0))
    with Simulator(far, None) as simulator:
        assert simulator.scan(3, 0.1)[1] == SCAN_REACH_M


def test_a_wrong_rate_is_refused() -> None:
    with pytest.raises(ConfigError, match="rate_hz"):
        Simulator(course(), None, rate_hz=0.0)
