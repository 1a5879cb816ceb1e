"""A base keeps its limits whatever it is told, and its arithmetic is that of circles."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.types import Command
from crnn_snn_ros.sim.robot import CAR, RobotConfig, RobotState, step

DT_S = 0.0125
IDEAL = RobotConfig(lag_s=0.0, acceleration_mps2=50.0, yaw_acceleration_radps2=200.0)
anything = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-5.0, 5.0)
commands = st.builds(Command, anything, anything)
configs = st.sampled_from((RobotConfig(), CAR, IDEAL, RobotConfig(lag_s=0.5)))


@given(configs, st.lists(commands, min_size=1, max_size=40))
def test_limits_are_kept(config: RobotConfig, orders: list[Command]) -> None:
    state = RobotState(0.0, 0.0, 0.0)
    for order in orders:
        after = step(state, order, DT_S, config)
        assert all(map(math.isfinite, after))
        assert 0.0 <= after.speed_mps <= config.max_speed_mps
        assert abs(after.yaw_rate_radps) <= config.max_yaw_rate_radps
        change = (after.speed_mps - state.speed_mps) / DT_S
        assert -config.deceleration_mps2 - 1e-9 <= change <= config.acceleration_mps2 + 1e-9
        if config.drive == "ackermann":
            assert abs(after.steering_rad) <= config.max_steering_rad
            turned = abs(after.steering_rad - state.steering_rad) / DT_S
            assert turned <= config.steering_rate_radps + 1e-9
            curvature = math.tan(config.max_steering_rad) / config.wheelbase_m
            assert abs(after.yaw_rate_radps) <= after.speed_mps * curvature + 1e-9
        else:
            turned = abs(after.yaw_rate_radps - state.yaw_rate_radps) / DT_S
            assert turned <= config.yaw_acceleration_radps2 + 1e-9
        moved = math.hypot(after.x_m - state.x_m, after.y_m - state.y_m)
        assert moved <= config.max_speed_mps * DT_S + 1e-12
        state = after


@given(configs, st.lists(commands, max_size=20), st.floats(-3.0, 3.0), st.floats(-9.0, 9.0))
def test_the_place_does_not_matter(
    config: RobotConfig, orders: list[Command], yaw: float, shift: float
) -> None:
    here, there = RobotState(0.0, 0.0, 0.0), RobotState(shift, -shift, yaw)
    for order in orders:
        here, there = (step(state, order, DT_S, config) for state in (here, there))
    cos, sin = math.cos(yaw), math.sin(yaw)
    assert there.x_m == pytest.approx(shift + cos * here.x_m - sin * here.y_m, abs=1e-9)
    assert there.y_m == pytest.approx(-shift + sin * here.x_m + cos * here.y_m, abs=1e-9)
    assert there[3:] == here[3:]


@pytest.mark.parametrize("rate", [0.7, -1.3, 0.0])
def test_constant_motion_is_a_circle(rate: float) -> None:
    state = RobotState(0.0, 0.0, 0.0, speed_mps=0.8, yaw_rate_radps=rate)
    for _ in range(80):
        state = step(state, Command(0.8, rate), DT_S, IDEAL)
    turned = rate * 80 * DT_S
    radius = 0.8 / rate if rate else math.inf
    x = radius * math.sin(turned) if rate else 0.8 * 80 * DT_S
    y = radius * (1.0 - math.cos(turned)) if rate else 0.0
    assert (state.x_m, state.y_m, state.yaw_rad) == pytest.approx((x, y, turned), abs=1e-9)


def test_lag_is_first_order() -> None:
    config = RobotConfig(lag_s=0.2, acceleration_mps2=50.0)
    state = RobotState(0.0, 0.0, 0.0)
    for _ in range(16):  # 0.2 s
        state = step(state, Command(1.0, 0.0), DT_S, config)
    assert state.speed_mps == pytest.approx(1.0 - math.exp(-1.0))


def test_a_car_turns_as_its_wheels_say() -> None:
    state = RobotState(0.0, 0.0, 0.0)
    for _ in range(400):
        state = step(state, Command(0.9, 0.6), DT_S, CAR)
    assert state.yaw_rate_radps == pytest.approx(0.6, abs=1e-3)
    assert state.steering_rad == pytest.approx(math.atan(0.6 * CAR.wheelbase_m / 0.9), abs=1e-3)
    standing = step(state._replace(speed_mps=0.0), Command(0.0, 2.0), DT_S, CAR)
    assert standing.yaw_rate_radps == 0.0


def test_a_wrong_base_is_refused() -> None:
    with pytest.raises(ConfigError, match="radius_m"):
        RobotConfig(radius_m=0.0)
    with pytest.raises(ConfigError, match="drive"):
        RobotConfig(drive="hover")
