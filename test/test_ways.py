"""Ways to steer: what a network says of them, and the choice."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crnn_snn_ros.core.ways import (
    MOST_RAD,
    NEIGHBOURS,
    SCALE,
    SCALES,
    STEERING_RAD,
    WAYS,
    choose,
    soft_minimum,
)
from crnn_snn_ros.training.config import WAYS_SCALES

COSTS = st.lists(st.floats(0.0, 3.0), min_size=WAYS, max_size=WAYS).map(np.array)


def told(costs: np.ndarray, scale: float = SCALE) -> np.ndarray:
    """What a network that knows the costs says."""
    return np.asarray(1.0 - np.exp(-costs / scale))


def costs_of(**ways: float) -> np.ndarray:
    """Costs, 2 where nothing is said: right, left, or an angle as ``a12``."""
    costs = np.full(WAYS, 2.0)
    number = {"right": 0, "left": WAYS - 1}
    for name, cost in ways.items():
        costs[number[name] if name in number else 1 + int(name[1:])] = cost
    return costs


def test_between_two_good_sides_it_does_not_go_through_the_middle() -> None:
    both = costs_of(a4=0.2, a20=0.21)
    chosen = choose(told(both))
    assert chosen == pytest.approx(STEERING_RAD[4], abs=0.05)


def test_the_best_side_is_chosen() -> None:
    assert choose(told(costs_of(a4=0.4, a20=0.2))) > 0.3
    assert choose(told(costs_of(a4=0.2, a20=0.4))) < -0.3


@pytest.mark.parametrize(("side", "steering"), [("right", -MOST_RAD), ("left", MOST_RAD)])
def test_it_turns_on_the_spot_where_that_is_best(side: str, steering: float) -> None:
    assert choose(told(costs_of(**{side: 0.7}))) == steering
    assert abs(choose(told(costs_of(**{side: 0.7, "a12": 0.6})))) < 0.2


@given(COSTS)
def test_it_is_within_the_angles_and_mirrored_costs_give_the_other_side(costs: np.ndarray) -> None:
    chosen = choose(told(costs))
    assert abs(chosen) <= MOST_RAD + 1e-12
    angles, spots = np.sort(costs[1:-1]), costs[[0, -1]]
    alike = angles[1] - angles[0] < 1e-6 or abs(spots[0] - spots[1]) < 1e-6
    if not alike and costs.min() < 2.5:  # or rounding may choose another one of equals
        assert choose(told(costs[::-1].copy())) == pytest.approx(-chosen, abs=1e-6)


@given(st.lists(st.floats(allow_nan=False), min_size=WAYS, max_size=WAYS).map(np.array))
def test_whatever_a_network_says_the_answer_is_an_angle(said: np.ndarray) -> None:
    assert abs(choose(said)) <= MOST_RAD + 1e-12


@pytest.mark.parametrize("way", [0, 1, 12, WAYS - 2, WAYS - 1])
def test_what_is_not_a_number_gives_none(way: int) -> None:
    """The control law stops for it."""
    said = np.full(WAYS, 0.5)
    said[way] = np.nan
    assert math.isnan(choose(said))


def test_a_soft_minimum_goes_smoothly_with_its_costs() -> None:
    for best in np.linspace(-0.4, 0.4, 33):
        costs = 3.0 * (STEERING_RAD - best) ** 2
        assert soft_minimum(costs, STEERING_RAD, 0.04) == pytest.approx(best, abs=0.01)


def test_networks_are_taught_by_a_scale_that_models_can_tell_of() -> None:
    assert set(SCALES.values()) == set(WAYS_SCALES)
    assert WAYS_SCALES[0] == SCALE


@given(COSTS)
def test_cold_it_is_the_best_angle_and_warm_the_mean_around_it(costs: np.ndarray) -> None:
    angles = costs[1:-1].copy()
    angles[7] = -1.0
    assert soft_minimum(angles, STEERING_RAD, 1e-3) == pytest.approx(STEERING_RAD[7])
    near = np.exp(-0.5 * ((np.arange(len(angles)) - 7) / NEIGHBOURS) ** 2)
    mean = (near * STEERING_RAD).sum() / near.sum()
    assert soft_minimum(angles, STEERING_RAD, 1e9) == pytest.approx(mean)


@given(COSTS)
def test_by_a_scale_four_times_as_large_costs_count_as_a_fourth(costs: np.ndarray) -> None:
    """An error of what a network says is one of costs, the larger the scale is."""
    by_scale = choose(told(costs, 2.0), 2.0)
    assert by_scale == pytest.approx(choose(told(costs / 4.0, 0.5), 0.5), abs=1e-6)
