"""The control law never leaves its limits, and stops whenever it should."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
from control_samples import NUMBERS, RANGES, clears, configs, good, intervals, predictions
from hypothesis import given
from hypothesis import strategies as st

from crnn_snn_ros.core.command import (
    INITIAL,
    MAX_INTERVAL_S,
    ControlConfig,
    ControlState,
    control,
)
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.types import STOP, Prediction

ROUND_OFF = 1e-9


def clear(steering_rad: float = 0.0, probability: float = 0.0) -> Prediction:
    return Prediction(steering_rad, probability, True, 7, 100)


def drive(
    prediction: Prediction, config: ControlConfig, frames: int, dt_s: float = 0.05
) -> tuple[tuple[float, float], ControlState]:
    command, state = STOP, INITIAL
    for _ in range(frames):
        command, state = control(prediction, state, dt_s, config)
    return command, state


@given(
    configs(),
    st.lists(st.tuples(st.one_of(clears, predictions), intervals), min_size=1, max_size=30),
)
def test_no_input_leaves_the_limits(config, stream):
    state = INITIAL
    for prediction, dt_s in stream:
        before = state
        command, state = control(prediction, state, dt_s, config)
        assert all(map(math.isfinite, (*command, *state)))
        assert 0.0 <= command.linear_mps <= config.v_max_mps
        assert abs(command.angular_radps) <= config.max_yaw_rate_radps
        dt_s = min(dt_s, MAX_INTERVAL_S) if math.isfinite(dt_s) and dt_s > 0 else 0.0
        rise = command.linear_mps - before.linear_mps
        assert rise <= config.acceleration_mps2 * dt_s + ROUND_OFF
        if command != STOP:
            assert -rise <= config.deceleration_mps2 * dt_s + ROUND_OFF
            if config.drive == "differential":
                turn = abs(command.angular_radps - before.angular_radps)
                assert turn <= config.yaw_acceleration_radps2 * dt_s + ROUND_OFF
            else:
                radius = config.wheelbase_m / max(math.tan(config.max_steering_rad), 1e-300)
                assert abs(command.angular_radps) * radius <= command.linear_mps * (1 + ROUND_OFF)


@given(configs(), st.lists(good, max_size=20), predictions)
def test_danger_and_nonsense_stop_at_once(config, stream, last):
    state = INITIAL
    for prediction in stream:
        _, state = control(prediction, state, 0.05, config)
    p = last.collision_probability
    trusted = last.settled and math.isfinite(last.steering_rad) and 0.0 <= p <= 1.0
    for danger in ([last] if trusted and p >= config.stop_threshold else []) + [clear(1.0, 1.0)]:
        command, after = control(danger, state, 0.05, config)
        assert command.linear_mps == after.linear_mps == 0.0
        assert after.stopped
        if not state.stopped or config.turn_after_s == 0.0:
            assert (command, after) == (STOP, INITIAL)
    for nonsense in ([last] if not trusted else []) + [clear(0.0, math.nan), clear(math.inf)]:
        assert control(nonsense, state, 0.05, config) == (STOP, INITIAL)


@given(configs(), st.lists(good, max_size=20), good, good)
def test_more_danger_never_means_more_speed(config, stream, a, b):
    state = INITIAL
    for prediction in stream:
        _, state = control(prediction, state, 0.05, config)
    safer, riskier = sorted((a, b), key=lambda p: p.collision_probability)
    riskier = riskier._replace(steering_rad=safer.steering_rad)
    slow, _ = control(riskier, state, 0.05, config)
    fast, _ = control(safer, state, 0.05, config)
    assert slow.linear_mps <= fast.linear_mps + ROUND_OFF


@given(configs(), st.lists(st.tuples(predictions, intervals), max_size=20))
def test_same_stream_same_commands(config, stream):
    def run():
        state, commands = INITIAL, []
        for prediction, dt_s in stream:
            command, state = control(prediction, state, dt_s, config)
            commands.append(command)
        return commands

    assert run() == run()


def test_it_begins_standing_still():
    assert ControlState() == INITIAL == (0.0, 0.0, 0.0, True, 0, 0.0, 0, 0.0)


def test_a_broken_state_stops():
    state = ControlState(math.nan, 0.0, 0.0, False, 3)
    assert control(clear(), state, 0.05, ControlConfig()) == (STOP, INITIAL)


@pytest.mark.parametrize("probability", [0.0, 0.2, 0.5])
def test_speed_settles_where_the_law_says(probability):
    config = ControlConfig(v_max_mps=0.8)
    (linear, _), _ = drive(clear(probability=probability), config, frames=200)
    assert linear == pytest.approx(0.8 * (1 - probability), abs=1e-3)


def test_yaw_follows_the_steering_of_either_base():
    differential = ControlConfig(yaw_gain=2.0)
    assert drive(clear(0.2), differential, 100)[0][1] == pytest.approx(0.4, abs=1e-3)
    assert drive(clear(-0.2), differential, 100)[0][1] == pytest.approx(-0.4, abs=1e-3)
    car = ControlConfig(drive="ackermann", v_max_mps=1.0, wheelbase_m=0.5)
    expected = 1.0 * math.tan(0.2) / 0.5
    assert drive(clear(0.2), car, 200)[0][1] == pytest.approx(expected, abs=1e-3)


def test_an_ackermann_base_keeps_both_limits_of_its_yaw_rate():
    quick = {"drive": "ackermann", "v_max_mps": 2.0, "acceleration_mps2": 50.0, "wheelbase_m": 0.2}
    capped = ControlConfig(**quick, max_yaw_rate_radps=0.7)
    assert drive(clear(0.6), capped, 100)[0][1] == 0.7
    config = ControlConfig(
        **quick, max_yaw_rate_radps=20.0, max_steering_rad=0.3, yaw_acceleration_radps2=0.5
    )
    (linear, angular), state = drive(clear(0.3), config, 400)
    assert angular == pytest.approx(2.0 * math.tan(0.3) / 0.2, rel=1e-3)
    slower, _ = control(clear(0.3, 0.6), state, 0.05, config)
    assert slower.linear_mps < linear
    # Braking would leave the yaw rate behind, its own limit being low; the wheels cannot.
    assert slower.angular_radps == slower.linear_mps * math.tan(0.3) / 0.2


@pytest.mark.parametrize("dt_s", [0.02, 0.05, 0.2])
@pytest.mark.parametrize("time_constant_s", [0.0, 0.05, 0.4])
def test_low_pass_is_first_order(time_constant_s, dt_s):
    config = ControlConfig(
        speed_rise_s=time_constant_s,
        steering_smoothing_s=time_constant_s,
        acceleration_mps2=50.0,
        yaw_acceleration_radps2=200.0,
        yaw_gain=1.0,
        go_frames=1,
    )
    share = 1.0 - math.exp(-dt_s / time_constant_s) if time_constant_s else 1.0
    command, _ = control(clear(0.2), INITIAL, dt_s, config)
    assert command.linear_mps == pytest.approx(0.5 * share, rel=1e-12)
    assert command.angular_radps == pytest.approx(0.2 * share, rel=1e-12)
    still, _ = control(clear(0.2), INITIAL, 0.0, config)
    assert still == (0.0, 0.0)


def test_low_pass_does_not_depend_on_the_frame_rate():
    config = ControlConfig(acceleration_mps2=50.0, go_frames=1, go_threshold=0.5)
    slow, _ = drive(clear(), config, frames=4, dt_s=0.1)
    fast, _ = drive(clear(), config, frames=8, dt_s=0.05)
    assert slow[0] == pytest.approx(fast[0], rel=1e-9)


def test_hysteresis_and_the_frames_before_it_moves():
    config = ControlConfig(stop_threshold=0.7, go_threshold=0.5, go_frames=3)
    state = INITIAL
    moving = []
    for p in [0.4, 0.5, 0.6, 0.5, 0.5, 0.5, 0.6, 0.69, 0.7, 0.6, 0.5, 0.5, 0.4]:
        command, state = control(clear(probability=p), state, 0.1, config)
        moving.append(command != STOP)
    assert moving == [False] * 5 + [True] * 3 + [False] * 4 + [True]


TURNING = ControlConfig(turn_after_s=1.0, turn_rate_radps=0.4, yaw_gain=2.0)


def stuck(
    steering: list[float], dt_s: float = 0.125, config: ControlConfig = TURNING
) -> list[float]:
    """Yaw rates in front of a wall, of which the network says these steering angles."""
    state, rates = INITIAL, []
    for steering_rad in steering:
        (linear, angular), state = control(clear(steering_rad, 0.9), state, dt_s, config)
        assert linear == 0.0
        rates.append(angular)
    return rates


@pytest.mark.parametrize("side", [1, -1])
def test_stopped_too_long_it_turns_to_the_side_that_the_network_steers_to(side):
    rates = [side * rate for rate in stuck([side * 0.05] * 12 + [side * 0.5] * 20)]
    assert rates[:7] == [0.0] * 7
    assert rates[7:12] == pytest.approx([0.4] * 5), "at least turn_rate_radps"
    assert rates[-1] == pytest.approx(1.0, abs=1e-3), "and as far as it steers"
    assert not any(stuck([side * 0.5] * 50, config=ControlConfig())), "never unless told to"


@given(st.lists(st.floats(-0.6, 0.6), max_size=80), st.sampled_from([0.02, 0.05, 0.1]))
def test_turning_keeps_its_side_until_the_other_was_wanted_for_as_long(steering, dt_s):
    rates = stuck(steering, dt_s)
    settle = math.ceil(2 * TURNING.max_yaw_rate_radps / TURNING.yaw_acceleration_radps2 / dt_s)
    frames = math.ceil(TURNING.turn_after_s / dt_s) - 1
    for n, (before, after) in enumerate(itertools.pairwise(rates), start=1):
        if before * after < 0.0 or (before and not after):
            ran = steering[max(0, n - settle - frames) : n + 1]
            assert longest_run(ran, -before) >= frames


def longest_run(steering: list[float], side: float) -> int:
    runs = itertools.groupby((s >= 0.0) == (side > 0.0) for s in steering)
    return max(len(list(group)) for match, group in runs if match)


def test_turning_side_changes_at_last():
    rates = stuck([0.2] * 15 + [-0.2, -0.2, 0.2] * 10 + [-0.2] * 20)
    assert min(rates[7:45]) > 0.0
    assert rates[-1] == pytest.approx(-0.4, abs=1e-2)


def test_turning_ends_when_it_may_go_and_does_not_begin_again_at_once():
    state = INITIAL
    for _ in range(20):
        (_, angular), state = control(clear(0.1, 0.9), state, 0.1, TURNING)
    assert angular > 0.0
    commands = []
    for _ in range(TURNING.go_frames):
        command, state = control(clear(0.1, 0.3), state, 0.1, TURNING)
        commands.append(command)
    assert [c.linear_mps > 0.0 for c in commands] == [False, False, True]
    assert all(c.angular_radps > 0.0 for c in commands), "the turn goes over into the drive"
    assert state.turn_side == 0
    command, state = control(clear(0.1, 0.9), state, 0.1, TURNING)
    assert command == STOP
    assert control(clear(0.1, 0.9), state, 0.1, TURNING)[0] == STOP


def test_no_time_no_change_but_a_stop():
    _, state = drive(clear(0.3), ControlConfig(), frames=50)
    for dt_s in (0.0, -1.0, math.nan, math.inf):
        command, _ = control(clear(-0.3, 0.4), state, dt_s, ControlConfig())
        assert command == (state.linear_mps, state.angular_radps)
    assert control(clear(0.0, 0.9), state, 0.0, ControlConfig())[0] == STOP


@pytest.mark.parametrize("name", NUMBERS)
def test_values_past_either_end_are_refused(name):
    known = RANGES[name]
    assert known.low is not None
    assert known.high is not None
    step = 1 if name == "go_frames" else 1e-6
    for wrong in (known.low - step, known.high + step, math.nan, math.inf, "fast", True, None):
        with pytest.raises(ConfigError, match=name):
            dataclasses.replace(ControlConfig(), **{name: wrong})


def test_contradictions_are_refused():
    with pytest.raises(ConfigError, match=r"differential, ackermann"):
        ControlConfig(drive="hover")
    with pytest.raises(ConfigError, match=r"'ackermann' cannot turn on the spot"):
        ControlConfig(drive="ackermann", turn_after_s=1.0)
    with pytest.raises(ConfigError, match=r"below stop_threshold"):
        ControlConfig(go_threshold=0.7, stop_threshold=0.7)
