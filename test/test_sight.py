"""What a teacher that looks ahead knows, and for how long."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sim_support import course

from crnn_snn_ros.sim.course import Mover, Shape
from crnn_snn_ros.sim.expert import Expert
from crnn_snn_ros.sim.figures import summarize
from crnn_snn_ros.sim.robot import RobotConfig, RobotState
from crnn_snn_ros.sim.rollouts import Doubt, View
from crnn_snn_ros.sim.sight import Sight
from crnn_snn_ros.sim.simulator import Simulator
from crnn_snn_ros.sim.suites import Setup, run_suite, teacher

ROBOT = RobotConfig()
HERE = RobotState(0.0, 0.0, 0.0)
AHEAD = Shape("cylinder", 2.0, 0.0, 0.0, 0.2, 0.2, 1.0)
CROSSING = Mover(AHEAD, (2.0, -1.0), (2.0, 1.0), 0.5, 0.5)  # in view as time begins
ORIGIN = np.zeros(2)


def known(sight: Sight, yaw_rad: float, time_s: float) -> tuple[bool, bool]:
    """Whether it knows of the post and of the mover, which crosses behind it."""
    made = course(AHEAD._replace(x_m=1.0, y_m=0.6), movers=(CROSSING,))
    shapes = made.at(time_s)
    fixed = len(made.fixed.radius)
    seen = sight.look(ORIGIN, yaw_rad, shapes, fixed, time_s, 5.0)
    return bool(seen[fixed - 1]), bool(seen[fixed])


def test_what_left_the_view_stays_in_mind_for_a_while():
    sight = Sight(math.pi / 2, memory_s=2.0, mover_memory_s=1.0)
    assert known(sight, 0.0, 0.0) == (True, True)
    behind = math.pi
    assert known(sight, behind, 0.9) == (True, True)
    assert known(sight, behind, 1.5) == (True, False)
    assert known(sight, behind, 2.5) == (False, False)
    assert known(sight, 0.0, 2.6) == (True, True)
    sight.reset()
    assert known(sight, behind, 2.7) == (False, False)


@pytest.mark.parametrize(("bearing_deg", "seen"), [(40.0, True), (50.0, False), (-50.0, False)])
def test_only_what_is_ahead_is_seen(bearing_deg: float, seen: bool):
    bearing = math.radians(bearing_deg)
    post = AHEAD._replace(
        x_m=2 * math.cos(bearing), y_m=2 * math.sin(bearing), half_x_m=0.05, half_y_m=0.05
    )
    here = course(post)
    count = len(here.fixed.radius)
    mind = Sight().look(ORIGIN, 0.0, here.at(0.0), count, 0.0, 5.0)
    assert mind[-1] == seen


def test_the_teacher_sees_as_far_aside_as_those_whom_it_teaches():
    bearing = math.radians(52.0)  # beyond half of 90 degrees, within half of 115
    x_m, y_m = 0.9 * math.cos(bearing), 0.9 * math.sin(bearing)
    made = course(AHEAD._replace(x_m=x_m, y_m=y_m, half_x_m=0.05, half_y_m=0.05))
    with Simulator(made, None) as simulator:
        narrow, wide = (
            np.array(teacher(simulator, fov_deg).labels(HERE, 0.0).way_costs)[1:-1]
            for fov_deg in (90.0, 115.0)
        )
    assert wide[-1] > narrow[-1] + 0.1, "hard to the left the post is near"
    assert wide[0] < narrow[0] + 0.05, "hard to the right it is not"


def test_it_keeps_more_room_from_a_mover_the_later_it_is_expected():
    made = course(movers=(CROSSING,))
    times = np.array([0.0, 0.3, 1.0])
    path = np.tile([[[1.0, 0.0, 0.0]]], (1, 3, 1))
    sure, doubting = (
        View(made, HERE, ROBOT, 0.0, None, doubt).room(path, times)[0]
        for doubt in (None, Doubt(0.1, 0.2))
    )
    assert sure - doubting == pytest.approx([0.0, 0.16, 0.3])


def test_where_a_mover_turns_back_only_foresight_knows():
    made = course(movers=(CROSSING,))  # at y = 0 as time begins, back from y = 1 m at 2 s
    times = np.array([1.0, 4.0])
    path = np.array([[[2.0, 0.5, 0.0], [2.0, 0.0, 0.0]]])
    begun = 0.5  # s, so that it was seen moving: y is 0.25 m
    sure, seeing = (
        View(made, HERE, ROBOT, begun, foresight=foresight).room(path, times)[0]
        for foresight in (True, False)
    )
    radii = ROBOT.radius_m + AHEAD.half_x_m
    assert sure == pytest.approx([0.25 - radii, 0.25 - radii])
    assert seeing == pytest.approx([0.25 - radii, 2.25 - radii])


def test_driving_and_labelling_at_once_is_the_same_as_either():
    made = course(AHEAD, movers=(CROSSING,))
    both, one = (Expert(made, ROBOT, None, Sight()) for _ in range(2))
    for step in range(5):
        state = HERE._replace(x_m=0.1 * step)
        assert both.labels(state, 0.1 * step) == both.labels(state, 0.1 * step)
        assert both.labels(state, 0.1 * step) == one.labels(state, 0.1 * step)


@pytest.mark.parametrize("suite", ["static", "movers"])
def test_the_teacher_gets_through_with_what_it_sees(suite: str):
    outcomes = run_suite(teacher, suite, range(1100, 1110), Setup(draw=False))
    assert summarize(outcomes).success >= 0.9
