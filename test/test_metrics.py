from __future__ import annotations

import builtins
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from recording_samples import RATE_HZ, recording
from sklearn import metrics

from crnn_snn_ros.core.command import ControlConfig
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.evaluation.metrics import summarise

NETWORKS = ("float", "qann", "snn")

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
    made = recording(steering, probability, true_steering=truth, label=label)
    result = summarise(made, resamples=0)
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
            f1 = metrics.f1_score(label[seen], score[seen] >= 0.5, zero_division=0.0)
        if len(set(label[seen])) == 2:
            auroc = metrics.roc_auc_score(label[seen], score[seen])
        assert result["collision_f1"][name] == (f1 and pytest.approx(f1, abs=1e-9))
        assert result["collision_auroc"][name] == (auroc and pytest.approx(auroc, abs=1e-9))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=30))
def test_auroc_is_the_chance_that_a_positive_ranks_above_a_negative(rows):
    scores, labels = (np.array(column) for column in zip(*rows, strict=True))
    assume(labels.any() and not labels.all())
    made = recording(np.zeros(len(rows)), scores, label=labels.astype(float))
    result = summarise(made, resamples=0)
    above = scores[labels][:, None] - scores[~labels][None]
    want = np.mean((above > 0) + 0.5 * (above == 0))
    assert result["collision_auroc"]["snn"] == pytest.approx(want, abs=1e-9)


def test_counts_and_means_by_hand():
    made = recording([0.0, 0.1, 0.2, 0.3], [0.5] * 4, settled=[True, False, True, True])
    made.rows["qann"][2, 0] += 1e-7
    result = summarise(made)
    assert result["frames"] == 4
    assert result["fps"] == 8.0
    assert result["qann_snn_differences"] == 1
    assert result["settled_fraction"] == 0.75
    assert (result["settle_steps_mean"], result["settle_steps_max"]) == (4.5, 6)
    assert result["spikes_per_frame"] == 15.0
    assert result["synaptic_operations_per_frame"] == 150.0
    assert (result["input_operations_per_frame"], result["dense_operations_per_frame"]) == (12, 24)
    assert set(result["collision_f1"].values()) == {None}
    assert set(result["time_to_warn"].values()) == {None}


def test_without_a_float_network_its_figures_are_none():
    made = recording([0, 1], [0.1, 0.9], true_steering=[0, 0], label=[0, 1], float_net=False)
    result = summarise(made)
    for name in (
        "steering_rmse",
        "steering_explained_variance",
        "collision_auprc",
        "collision_ece",
        "time_to_warn",
        "false_stops_per_minute",
        "command_roughness",
    ):
        assert result[name]["float"] is None
    assert result["collision_auroc"] == {"float": None, "qann": 1.0, "snn": 1.0}


def drive(seconds: int, seed: int = 0):
    """Steering and warnings of a middling network, and what was true."""
    rng = np.random.default_rng(seed)
    count = int(seconds * RATE_HZ)
    truth = np.sin(np.arange(count) / 30)
    label = (np.sin(np.arange(count) / 45) > 0.9).astype(float)
    steering = truth + rng.normal(0, 0.2, count)
    collision = np.clip(0.4 * label + rng.uniform(0, 0.7, count), 0, 1)
    return recording(steering, collision, true_steering=truth, label=label)


def test_every_figure_has_an_interval_that_holds_it():
    made = drive(40)
    result = summarise(made, resamples=40)
    for name in (
        "steering_rmse",
        "steering_explained_variance",
        "collision_auroc",
        "collision_auprc",
        "collision_f1",
        "collision_ece",
    ):
        for network in NETWORKS:
            low, high = result["ci95"][name][network]
            assert low <= result[name][network] <= high
        assert low < high  # of the spiking network
    assert result["ci95"]["steering_rmse"]["qann"] == result["ci95"]["steering_rmse"]["snn"]
    assert summarise(made, resamples=40)["ci95"] == result["ci95"]
    assert summarise(made, resamples=40, seed=1)["ci95"] != result["ci95"]


def test_the_threshold_is_the_one_asked_for():
    made = drive(20)
    truth, score = made.rows["truth"][:, 1], made.rows["snn"][:, 1]
    for threshold in (0.3, 0.65):
        result = summarise(made, threshold=threshold, resamples=0)
        assert result["threshold"] == threshold
        want = metrics.f1_score(truth, score >= threshold)
        assert result["collision_f1"]["snn"] == pytest.approx(want, abs=1e-9)


def test_warnings_and_stops_of_a_drive_by_hand():
    """A calm minute; in it one collision, seen 0.5 s ahead, and one stop for nothing."""
    label, collision = np.zeros(1200), np.full(1200, 0.1)
    label[600:620] = 1.0
    collision[590:620] = 0.9
    collision[900:910] = 0.9
    result = summarise(recording(np.zeros(1200), collision, label=label), resamples=0)
    warned = result["time_to_warn"]["qann"]
    assert (warned["events"], warned["warned"], warned["in_time"]) == (1, 1, 1)
    assert warned["lead_s_median"] == warned["lead_s_min"] == pytest.approx(0.5)
    assert result["false_stops_per_minute"]["qann"] == pytest.approx(1.0, rel=1e-3)
    calm = summarise(
        recording(np.zeros(1200), collision, label=label),
        ControlConfig(stop_threshold=0.95),
        resamples=0,
    )
    assert calm["false_stops_per_minute"]["qann"] == 0.0
    assert calm["stop_threshold"] == 0.95
    assert calm["time_to_warn"]["qann"] == warned


def test_a_gap_in_a_drive_is_neither_time_nor_a_stop():
    twice = recording(np.zeros(1200), np.zeros(1200), label=np.zeros(1200))
    twice.rows["stamp_ns"][600:] += 600 * 10**9
    twice.rows["was_reset"][600] = True
    result = summarise(twice, resamples=0)
    assert result["false_stops_per_minute"]["qann"] == 0.0
    label = np.zeros(1200)
    collision = np.where(np.arange(1200) // 10 == 90, 0.9, 0.1)
    once = recording(np.zeros(1200), collision, label=label)
    once.rows["stamp_ns"][600:] += 600 * 10**9
    once.rows["was_reset"][600] = True
    stopped = summarise(once, resamples=0)["false_stops_per_minute"]["qann"]
    assert stopped == pytest.approx(1.0, rel=0.01), "of the one minute that there is"


def test_scikit_learn_is_asked_for_only_where_it_is_needed(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **options):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    summarise(recording([0.0], [0.5], true_steering=[0.0]))
    with pytest.raises(ConfigError, match="pip install"):
        summarise(recording([0.0], [0.5], label=[1.0]))
