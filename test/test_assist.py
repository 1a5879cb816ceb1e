"""The filter in front of the base: never faster than asked for, nor than the network drives."""

from __future__ import annotations

import math

import pytest
from control_samples import configs, predictions
from hypothesis import given
from hypothesis import strategies as st

from crnn_snn_ros.core.assist import assist
from crnn_snn_ros.core.command import INITIAL, ControlConfig, control
from crnn_snn_ros.core.types import STOP, Command, Prediction

ROUND_OFF = 1e-9
wanted = st.builds(Command, st.floats(-3.0, 3.0), st.floats(-5.0, 5.0))


@given(configs(), st.lists(st.tuples(predictions, wanted), max_size=20))
def test_never_faster_than_asked_for_nor_than_the_network_and_within_the_limits(config, stream):
    state = INITIAL
    for prediction, asked in stream:
        own, state = control(prediction, state, 0.05, config)
        command = assist(asked, own, prediction, config)
        assert all(map(math.isfinite, command))
        if asked.linear_mps > 0.0:
            assert 0.0 <= command.linear_mps <= min(asked.linear_mps, own.linear_mps)
        else:
            assert command.linear_mps == max(asked.linear_mps, -config.v_max_mps)
        assert abs(command.angular_radps) <= config.max_yaw_rate_radps
        if config.drive == "ackermann":
            radius = config.wheelbase_m / max(math.tan(config.max_steering_rad), 1e-300)
            most = abs(command.linear_mps) * (1 + ROUND_OFF)
            assert abs(command.angular_radps) * radius <= most


@given(configs(), predictions, st.floats(-5.0, 5.0), st.floats(0.001, 3.0))
def test_danger_stops_the_way_ahead(config, prediction, angular, linear):
    certain = prediction._replace(collision_probability=1.0)
    own, _ = control(certain, INITIAL._replace(stopped=False), 0.05, config)
    assert assist(Command(linear, angular), own, certain, config) == (0.0, 0.0)


@given(wanted, st.sampled_from([math.nan, math.inf, -math.inf]), st.booleans())
def test_nonsense_comes_out_as_nonsense(asked, bad, first):
    asked = asked._replace(**{"linear_mps" if first else "angular_radps": bad})
    clear = Prediction(0.0, 0.0, True, 7, 9)
    assert all(map(math.isnan, assist(asked, STOP, clear, ControlConfig())))


def test_slowed_it_keeps_its_curve():
    free = Prediction(0.0, 0.0, True, 7, 9)
    command = assist(Command(1.0, 0.6), Command(0.25, 0.0), free, ControlConfig())
    assert command == (0.25, pytest.approx(0.15))


@pytest.mark.parametrize(("bend", "yaw"), [(0.0, 0.2), (0.5, 0.4), (1.0, 0.6)])
def test_it_bends_as_far_as_it_is_told(bend, yaw):
    near = Prediction(0.4, 0.5, True, 7, 9)
    config = ControlConfig(assist_bend=bend)
    command = assist(Command(0.2, 0.2), Command(0.3, 1.0), near, config)
    assert command == (0.2, pytest.approx(yaw))
