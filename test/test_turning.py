"""How far a robot has turned, by what it was told."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crnn_snn_ros.core.turning import STILL, turn
from crnn_snn_ros.core.types import Command
from crnn_snn_ros.sim.robot import RobotConfig, RobotState, step

CHANGES = st.floats(-0.3, 0.3)  # which a base can follow within a frame


@given(st.lists(CHANGES, min_size=1, max_size=40))
def test_it_is_about_what_a_base_does_of_its_commands(changes: list[float]) -> None:
    robot, state, turning, said = RobotConfig(), RobotState(0.0, 0.0, 0.0), STILL, 0.0
    for rate in np.clip(np.cumsum(changes), -1.5, 1.5):
        for _ in range(4):
            state = step(state, Command(0.5, float(rate)), 0.0125, robot)
        turning = turn(turning, float(rate), 0.05)
        said += turning.turned_rad
    assert said == pytest.approx(state.yaw_rad, abs=0.02)


def test_it_ends_as_it_was_told() -> None:
    assert turn(STILL, 0.7, 5.0).rate_radps == pytest.approx(0.7)
    assert turn(turn(STILL, 0.7, 5.0), 0.0, 5.0).rate_radps == pytest.approx(0.0)
    assert turn(STILL, 0.0, 1.0) == STILL


@pytest.mark.parametrize("told", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_a_stop(told: float) -> None:
    assert turn(STILL, told, 0.1) == STILL
