from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crnn_snn_ros.evaluation.bootstrap import (
    FEWEST_SEGMENTS,
    intervals,
    resampled_weights,
    segments,
)
from crnn_snn_ros.evaluation.scores import rmse


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.floats(0.2, 3.0))
def test_segments_are_stretches_within_a_drive(lengths, length_s):
    drive = np.repeat(np.arange(len(lengths)), lengths)
    time_s = np.arange(len(drive)) * 0.1
    found = segments(time_s, drive, length_s)
    assert found[0] == 0
    assert set(np.diff(found)) <= {0, 1}
    for number in range(found[-1] + 1):
        mine = found == number
        assert len(set(drive[mine])) == 1
        assert np.ptp(time_s[mine]) < length_s + 1e-9


def test_a_resample_draws_whole_segments_and_as_many_as_there_are():
    segment = np.array([0, 0, 0, 1, 2, 2])
    drawn = list(resampled_weights(segment, 200, seed=3))
    for weight in drawn:
        assert weight[0] == weight[1] == weight[2]
        assert weight[4] == weight[5]
        assert weight[0] + weight[3] + weight[4] == 3
    assert np.mean(drawn, axis=0) == pytest.approx(np.ones(6), abs=0.2)


def test_the_seed_decides():
    segment = np.arange(20)
    first, again, other = (list(resampled_weights(segment, 3, seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_interval_holds_the_truth_as_often_as_it_says():
    """Mean of blocks of equal frames: an interval over frames would be four times too narrow."""
    rng = np.random.default_rng(0)
    segment, held, width = np.repeat(np.arange(40), 16), 0, []
    for trial in range(60):
        values = np.repeat(rng.normal(size=40), 16)
        figures = {"mean": lambda w, v=values: float(np.average(v, weights=w))}
        low, high = intervals(figures, segment, seed=trial)["mean"]
        held += low <= 0.0 <= high
        width.append(high - low)
    assert held >= 50
    assert np.mean(width) == pytest.approx(2 * 1.96 / np.sqrt(40), rel=0.2)


def test_nothing_is_pretended_of_few_segments_or_of_what_is_mostly_undefined():
    few = np.repeat(np.arange(FEWEST_SEGMENTS - 1), 5)
    assert intervals({"one": lambda _: 1.0}, few) == {"one": None}
    many = np.arange(FEWEST_SEGMENTS)
    assert intervals({"one": lambda _: 1.0}, many) == {"one": [1.0, 1.0]}
    assert intervals({"one": lambda _: 1.0}, many, resamples=0) == {"one": None}
    rare = {"rare": lambda w: 1.0 if w[0] > 1 else None}
    assert intervals(rare, many) == {"rare": None}
    assert intervals({"none": lambda _: 1.0}, np.zeros(0, int)) == {"none": None}


def test_an_interval_of_an_error_surrounds_it():
    rng = np.random.default_rng(1)
    truth, values = rng.normal(size=400), rng.normal(size=400)
    figure = {"rmse": lambda w: rmse(truth, values, w)}
    low, high = intervals(figure, np.arange(400) // 10)["rmse"]
    assert low < rmse(truth, values, np.ones(400)) < high
