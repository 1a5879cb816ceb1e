from __future__ import annotations

import builtins
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, roc_auc_score

from crnn_snn_ros.core.engines.base import FrameResult
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.types import STOP, Prediction
from crnn_snn_ros.evaluation.metrics import summarise
from crnn_snn_ros.evaluation.replay import Estimate, Recording
from crnn_snn_ros.pipeline import Answer

NETWORK = FrameResult({}, {}, {}, torch.zeros(1), torch.ones(1, dtype=torch.bool), None)


def recording(steering, collision, settled=None) -> Recording:
    """The QANN says what the SNN says; the float network says the opposite."""
    estimates = [Estimate(s, p) for s, p in zip(steering, collision, strict=True)]
    opposite = [Estimate(-s, 1 - p) for s, p in estimates]
    flags = [True] * len(estimates) if settled is None else settled
    answers = [
        Answer(Prediction(*estimate, flag, 3 + n, 10 * n), STOP, n == 0, NETWORK)
        for n, (estimate, flag) in enumerate(zip(estimates, flags, strict=True))
    ]
    made = Recording(snn=estimates, qann=list(estimates), float_net=opposite, answers=answers)
    made.operations = [100 * n for n in range(len(estimates))]
    made.input_operations, made.dense_operations, made.pipeline_s = 7, 1000, 0.5
    return made


finite = st.floats(-2, 2)
maybe = st.one_of(st.just(math.nan), finite)
frames = st.lists(
    st.tuples(finite, st.floats(0, 1), maybe, st.sampled_from([0.0, 1.0, math.nan])),
    min_size=1,
    max_size=40,
)


@given(frames)
def test_against_numpy_and_scikit_learn(rows):
    steering, probability, truth, label = (np.array(column) for column in zip(*rows, strict=True))
    result = summarise(recording(steering.tolist(), probability.tolist()), truth, label)
    known = ~np.isnan(truth)
    assert result["labelled_frames"] == known.sum()
    if known.any():
        for name, sign in (("snn", 1), ("qann", 1), ("float", -1)):
            want = np.sqrt(np.mean((sign * steering[known] - truth[known]) ** 2))
            assert result["steering_rmse"][name] == pytest.approx(want, abs=1e-9)
        mean = np.sqrt(np.mean((truth[known] - truth[known].mean()) ** 2))
        assert result["steering_rmse"]["predict_mean"] == pytest.approx(mean, abs=1e-9)
    else:
        assert set(result["steering_rmse"].values()) == {None}
    seen = ~np.isnan(label)
    for name, score in (("snn", probability), ("float", 1 - probability)):
        f1 = auroc = None
        if seen.any():
            f1 = f1_score(label[seen], score[seen] >= 0.5, zero_division=0.0)
        if len(set(label[seen])) == 2:
            auroc = roc_auc_score(label[seen], score[seen])
        assert result["collision_f1"][name] == (f1 and pytest.approx(f1, abs=1e-9))
        assert result["collision_auroc"][name] == (auroc and pytest.approx(auroc, abs=1e-9))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=30))
def test_auroc_is_the_chance_that_a_positive_ranks_above_a_negative(rows):
    scores, labels = (np.array(column) for column in zip(*rows, strict=True))
    assume(labels.any() and not labels.all())
    result = summarise(
        recording([0.0] * len(rows), scores.tolist()), np.zeros(len(rows)), labels.astype(float)
    )
    above = scores[labels][:, None] - scores[~labels][None]
    want = np.mean((above > 0) + 0.5 * (above == 0))
    assert result["collision_auroc"]["snn"] == pytest.approx(want, abs=1e-9)


def test_counts_and_means_by_hand():
    made = recording([0.0, 0.1, 0.2, 0.3], [0.5] * 4, settled=[True, False, True, True])
    made.qann[2] = Estimate(0.2000001, 0.5)
    result = summarise(made, np.full(4, np.nan), np.full(4, np.nan))
    assert result["frames"] == 4
    assert result["fps"] == 8.0
    assert result["qann_snn_differences"] == 1
    assert result["settled_fraction"] == 0.75
    assert result["settle_steps_mean"] == 4.5
    assert result["spikes_per_frame"] == 15.0
    assert result["synaptic_operations_per_frame"] == 150.0
    assert (result["input_operations_per_frame"], result["dense_operations_per_frame"]) == (7, 1000)
    assert set(result["collision_f1"].values()) == {None}


def test_without_a_float_network_its_figures_are_none():
    made = recording([0.0, 1.0], [0.1, 0.9])
    made.float_net = []
    result = summarise(made, np.zeros(2), np.array([0.0, 1.0]))
    assert result["steering_rmse"]["float"] is None
    assert result["collision_auroc"] == {"float": None, "qann": 1.0, "snn": 1.0}


def test_scikit_learn_is_asked_for_only_where_it_is_needed(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **options):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    summarise(recording([0.0], [0.5]), np.zeros(1), np.full(1, np.nan))
    with pytest.raises(ConfigError, match="pip install"):
        summarise(recording([0.0], [0.5]), np.zeros(1), np.ones(1))
