"""The expert: what it sees, what it does, and what it labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sim_support import course

from crnn_snn_ros.core.types import Command
from crnn_snn_ros.sim.course import Mover, Shape
from crnn_snn_ros.sim.expert import Expert, ExpertConfig
from crnn_snn_ros.sim.figures import summarize
from crnn_snn_ros.sim.geometry import cast
from crnn_snn_ros.sim.robot import CAR, RobotConfig, RobotState
from crnn_snn_ros.sim.rollouts import Arcs, View
from crnn_snn_ros.sim.simulator import Simulator
from crnn_snn_ros.sim.suites import BLIND, SUCCESSES, SUITES, Setup, run_suite

ROBOT = RobotConfig()
HERE = RobotState(0.0, 0.0, 0.0)
POST = Shape("cylinder", 1.6, 0.0, 0.0, 0.15, 0.15, 1.0)


@pytest.mark.parametrize("suite", ["static", "movers", "rush", "narrow"])
def test_the_expert_gets_through_where_straight_does_not(suite: str) -> None:
    blind = Setup(draw=False)
    experts, teachers, straights = (
        run_suite(BLIND[name], suite, range(1100, 1110), blind)
        for name in ("expert", "teacher", "straight")
    )
    figures = summarize(experts)
    assert figures.success >= 0.9
    assert summarize(teachers).success >= 0.8
    assert figures.mean_speed >= 0.8
    assert summarize(straights).success <= 0.2


def test_it_steers_to_the_free_side() -> None:
    for side in (1.0, -1.0):
        expert = Expert(course(POST._replace(y_m=-0.1 * side)), ROBOT)
        labels = expert.labels(HERE, 0.0)
        assert side * labels.steering_rad > 0.1
    assert abs(Expert(course(), ROBOT).labels(HERE, 0.0).steering_rad) < 0.05


def test_steering_and_speed_do_not_depend_on_how_the_robot_moves() -> None:
    expert = Expert(course(POST), ROBOT)
    moving = HERE._replace(speed_mps=1.1, yaw_rate_radps=-0.8)
    assert expert.labels(HERE, 0.0)[:3] == expert.labels(moving, 0.0)[:3]


def test_it_sees_only_what_a_ray_reaches() -> None:
    screen = Shape("box", 1.0, 0.0, 0.0, 0.05, 1.5, 1.0)
    hidden = Shape("box", 1.8, 0.0, 0.0, 0.3, 0.3, 1.0)
    times = np.array([1.0])
    beyond = np.array([[[2.5, 0.0, 0.0]]])
    alone, both = (
        View(course(*shapes), HERE, ROBOT, 0.0).room(beyond, times)
        for shapes in ((screen,), (screen, hidden))
    )
    assert np.array_equal(alone, both)
    ranges, _ = cast(np.zeros(2), np.zeros(1), course(screen, hidden).at(0.0), 5.0)
    assert ranges[0] == pytest.approx(0.95)


@pytest.mark.parametrize("robot", [ROBOT, CAR])
@pytest.mark.parametrize("most_m", [0.0, 0.3, 0.8])
def test_only_room_beyond_what_is_asked_for_may_be_left_out(robot, most_m) -> None:
    made, times = SUITES["narrow"].course(2003), np.linspace(0.2, 2.2, 12)
    for state in (RobotState(*made.start), HERE._replace(x_m=4.0), HERE._replace(yaw_rad=2.0)):
        view = View(made, state, robot, 0.0)
        paths = Arcs(np.full(1, 0.4), np.linspace(-1.2, 1.2, 9), times, np.full(9, 1.1)).of(state)
        whole, asked = view.room(paths, times), view.room(paths, times, most_m)
        assert np.array_equal(np.minimum(whole, most_m), np.minimum(asked, most_m))
        assert (asked >= whole).all()


def test_it_knows_where_a_mover_will_be() -> None:
    shape = Shape("cylinder", 0.0, 0.0, 0.0, 0.2, 0.2, 1.0)
    crossing = Mover(shape, (2.0, -2.0), (2.0, 2.0), 1.0, 0.0)  # in the way after 2 s
    view = View(course(movers=(crossing,)), HERE, ROBOT, 0.0)
    spot = np.array([[[2.0, 0.0, 0.0], [2.0, 0.0, 0.0]]])
    room = view.room(spot, np.array([0.1, 2.0]))[0]
    assert room[0] == pytest.approx(1.9 - 0.2 - ROBOT.radius_m)
    assert room[1] < 0.0


def test_time_to_contact_is_that_of_a_simulated_run() -> None:
    expert = Expert(course(POST), ROBOT)
    for speed in (0.6, 1.0):
        state = HERE._replace(speed_mps=speed)
        expected = (1.6 - 0.15 - ROBOT.radius_m) / speed
        contact_s = expert.time_to_contact_s(state, 0.0, horizon_s=3.0)
        assert contact_s == pytest.approx(expected, abs=0.11)
        assert contact_s >= expected
    assert expert.time_to_contact_s(HERE._replace(speed_mps=1.0), 0.0) < 1.5
    turning = HERE._replace(speed_mps=1.0, yaw_rate_radps=1.2)
    assert expert.time_to_contact_s(turning, 0.0) == math.inf
    near = HERE._replace(x_m=1.0)  # it stands, and is told not to start
    assert expert.time_to_contact_s(near, 0.0) < 1.5


def test_the_collision_label_is_what_the_control_law_makes_the_speed_of() -> None:
    shut_in = [POST._replace(kind="box", x_m=x, half_x_m=0.1, half_y_m=2.0) for x in (-0.4, 0.4)]
    for shapes, expected in (((), 0.0), (shut_in, 1.0)):
        labels = Expert(course(*shapes), ROBOT).labels(HERE, 0.0)
        assert labels.collision == expected == 1.0 - labels.speed_mps
    slow = Expert(course(), ROBOT, ExpertConfig(speed_mps=0.5)).labels(HERE, 0.0)
    assert (slow.collision, slow.speed_mps) == (0.0, 0.5)


@pytest.mark.parametrize("rate", [-0.9, 0.0, 1.2])
def test_arcs_are_what_a_robot_without_limits_drives(rate: float) -> None:
    times = np.linspace(0.1, 1.5, 15)
    path = Arcs(np.array([0.7]), np.array([rate]), times, np.array([0.8])).of(HERE)[0]
    ideal = RobotConfig(lag_s=0.0, acceleration_mps2=50.0, yaw_acceleration_radps2=200.0)
    with Simulator(course(), None, ideal, rate_hz=1000.0) as simulator:
        for _ in range(20):  # up to speed at once: 0.014 s
            simulator.step(Command(0.7, 0.0))
        origin = simulator.observation.state
        for number in range(1500):
            simulator.step(Command(0.7, rate if number < 800 else 0.0))
    state = simulator.observation.state
    driven = (state.x_m - origin.x_m, state.y_m, state.yaw_rad)
    assert tuple(path[-1]) == pytest.approx(driven, abs=0.01)


def test_a_car_is_steered_by_its_wheels_and_gets_along() -> None:
    expert = Expert(course(POST), CAR, ExpertConfig(max_steering_rad=0.45))
    assert expert.yaw_rate(0.3, 0.9) == pytest.approx(0.9 * math.tan(0.3) / CAR.wheelbase_m)
    with Simulator(course(POST), None, CAR) as simulator:
        seen = simulator.observation
        while seen.finished is None:
            seen = simulator.step(expert.act(seen))
    assert seen.finished in SUCCESSES
