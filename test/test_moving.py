"""How a robot has moved, by what it was told."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crnn_snn_ros.core.moving import STILL, move
from crnn_snn_ros.core.types import Command, Moved
from crnn_snn_ros.sim.robot import RobotConfig, RobotState, step

CHANGES = st.floats(-0.3, 0.3)  # which a base can follow within a frame


@given(st.lists(st.tuples(CHANGES, CHANGES), min_size=1, max_size=40))
def test_it_is_about_what_a_base_does_of_its_commands(changes: list[tuple[float, float]]) -> None:
    robot, state, moving, said = RobotConfig(), RobotState(0.0, 0.0, 0.0), STILL, Moved()
    speed = rate = 0.0
    for turn, faster in changes:
        rate = min(max(rate + turn, -1.5), 1.5)
        speed = min(max(speed + faster / 4, 0.0), 1.0)
        told = Command(speed, rate)
        for _ in range(4):
            state = step(state, told, 0.0125, robot)
        moving = move(moving, told, 0.05)
        said = said.then(moving.moved)
    assert said.turned_rad == pytest.approx(state.yaw_rad, abs=0.02)
    assert (said.ahead_m, said.left_m) == pytest.approx((state.x_m, state.y_m), abs=0.03)


def test_it_ends_as_it_was_told() -> None:
    told = move(STILL, Command(0.4, 0.7), 5.0)
    assert (told.speed_mps, told.rate_radps) == pytest.approx((0.4, 0.7))
    assert move(told, Command(0.0, 0.0), 5.0)[1:] == pytest.approx((0.0, 0.0))
    assert move(STILL, Command(0.0, 0.0), 1.0) == STILL


@pytest.mark.parametrize("told", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_a_stop(told: float) -> None:
    assert move(STILL, Command(told, 1.0), 0.1) == STILL
    assert move(STILL, Command(1.0, told), 0.1) == STILL


WAYS = st.builds(Moved, st.floats(-3.0, 3.0), st.floats(-2.0, 2.0), st.floats(-2.0, 2.0))


@given(WAYS, WAYS, WAYS)
def test_ways_come_after_one_another(one: Moved, other: Moved, third: Moved) -> None:
    together = one.then(other).then(third)
    assert together == pytest.approx(one.then(other.then(third)), abs=1e-9)
    assert one.then(Moved()) == one == Moved().then(one)
    turned = Moved(math.pi / 2).then(Moved(0.0, 1.0, 0.0))
    assert turned == pytest.approx(Moved(math.pi / 2, 0.0, 1.0), abs=1e-12), "ahead is to the left"
