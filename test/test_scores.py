from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.calibration import calibration_curve

from crnn_snn_ros.evaluation import scores

probability = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 1.0]))
frames = st.lists(st.tuples(st.booleans(), probability, st.integers(0, 3)), min_size=1, max_size=60)
steering = st.lists(
    st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.integers(0, 3)), min_size=1, max_size=60
)


def columns(rows):
    labels, values, weight = (np.array(column) for column in zip(*rows, strict=True))
    assume(weight.sum() > 0)
    return labels, values.astype(float), weight.astype(float)


def repeated(array, weight):
    """The same frames, each as often as its weight says."""
    return np.repeat(array, weight.astype(int))


@given(steering)
def test_steering_errors_are_those_of_scikit_learn(rows):
    truth, values, weight = columns(rows)
    want = metrics.root_mean_squared_error(truth, values, sample_weight=weight)
    assert scores.rmse(truth, values, weight) == pytest.approx(want, abs=1e-9)
    assume(np.std(repeated(truth, weight)) > 1e-3)
    want = metrics.explained_variance_score(truth, values, sample_weight=weight)
    got = scores.explained_variance(truth, values, weight)
    assert got == pytest.approx(want, abs=1e-9, rel=1e-9)


def test_a_constant_truth_has_no_variance_to_explain():
    assert scores.explained_variance(np.full(3, 0.1), np.arange(3.0), np.ones(3)) is None


@given(frames, st.floats(0.01, 1.0))
def test_f1_and_confusion_are_those_of_scikit_learn(rows, threshold):
    labels, values, weight = columns(rows)
    alarm = values >= threshold
    want = metrics.f1_score(labels, alarm, sample_weight=weight, zero_division=0.0)
    assert scores.f1(labels, values, weight, threshold) == pytest.approx(want, abs=1e-9)
    found = scores.confusion(labels, values, weight, threshold)
    (tn, fp), (fn, tp) = metrics.confusion_matrix(
        labels, alarm, labels=[False, True], sample_weight=weight
    )
    assert found == pytest.approx((tp, fp, fn, tn))


@given(frames)
def test_rankings_are_those_of_scikit_learn_on_the_repeated_frames(rows):
    labels, values, weight = columns(rows)
    truth, told = repeated(labels, weight), repeated(values, weight)
    ranking = scores.Ranking(labels, values)
    for ours, library in (
        (ranking.auprc(weight), scores.auprc(truth, told)),
        (ranking.auroc(weight), scores.auroc(truth, told)),
    ):
        assert ours == (library if library is None else pytest.approx(library, abs=1e-9))
    if len(set(truth)) == 2:
        want = metrics.roc_auc_score(labels, values, sample_weight=weight)
        assert ranking.auroc(weight) == pytest.approx(want, abs=1e-9)
    else:
        assert ranking.auroc(weight) is None


@given(frames)
def test_reliability_is_that_of_scikit_learn(rows):
    labels, values, weight = columns(rows)
    truth, told = repeated(labels, weight), repeated(values, weight)
    observed, predicted = calibration_curve(truth, told, n_bins=scores.BINS)
    curve = scores.reliability(labels, values, weight)
    np.testing.assert_allclose(curve.observed, observed, atol=1e-9)
    np.testing.assert_allclose(curve.predicted, predicted, atol=1e-9)
    assert curve.weight.sum() == weight.sum()
    error = np.average(np.abs(observed - predicted), weights=curve.weight)
    assert scores.calibration_error(labels, values, weight) == pytest.approx(error, abs=1e-9)


def test_calibration_error_by_hand():
    """Nine clear frames at p = 0.1 with one labelled, and two at 0.9, one of them labelled."""
    labels = np.array([True] + [False] * 8 + [True, False])
    values = np.array([0.1] * 9 + [0.9] * 2)
    want = (9 * abs(1 / 9 - 0.1) + 2 * abs(0.5 - 0.9)) / 11
    assert scores.calibration_error(labels, values, np.ones(11)) == pytest.approx(want, abs=1e-12)
