from __future__ import annotations

import numpy as np
import pytest
from recording_samples import recording

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.evaluation.comparison import apart, as_json, differences
from crnn_snn_ros.evaluation.metrics import summarise

COUNT = 1200
TIME = np.arange(COUNT) / 20
TRUTH = 0.3 * np.sin(TIME)
LABEL = (np.sin(TIME / 3) > 0.6).astype(float)


def model(error, collision=None, count=COUNT):
    """A model whose error changes from second to second."""
    collision = 0.2 + 0.5 * LABEL if collision is None else collision
    return recording(TRUTH[:count] + error[:count], collision[:count],
                     true_steering=TRUTH[:count], label=LABEL[:count])  # fmt: skip


def hard(seed: int = 0):
    """Errors that both models make alike: some seconds are harder than others."""
    rng = np.random.default_rng(seed)
    return np.repeat(rng.exponential(0.1, COUNT // 20), 20)


def test_differences_are_of_the_summaries():
    first, other = model(hard()), model(0.5 * hard(1), 0.3 + 0.2 * LABEL)
    found = differences(first, other, resamples=50)
    told = [summarise(made, resamples=0) for made in (first, other)]
    for name, difference in found.items():
        wanted = told[1][name]["snn"] - told[0][name]["snn"]
        assert difference.value == pytest.approx(wanted, abs=1e-9)
    assert set(found) == {"steering_rmse", "steering_explained_variance", "collision_auroc",
                          "collision_auprc", "collision_f1", "collision_ece"}  # fmt: skip


def test_what_is_hard_for_both_does_not_hide_that_one_is_better():
    """The intervals overlap, yet the difference is sure: it is taken of the same frames."""
    first, other = model(hard()), model(0.9 * hard())
    intervals = [summarise(made)["ci95"]["steering_rmse"]["snn"] for made in (first, other)]
    assert intervals[1][1] > intervals[0][0]
    found = differences(first, other)["steering_rmse"]
    assert found.ci95 is not None
    assert found.ci95[1] < 0.0
    assert found.better("steering_rmse") is True
    back = differences(other, first)["steering_rmse"]
    assert back.better("steering_rmse") is False
    assert back.value == -found.value


def test_a_larger_variance_explained_is_better():
    first, other = model(hard()), model(0.5 * hard())
    name = "steering_explained_variance"
    assert differences(first, other)[name].better(name) is True


def test_chance_is_not_called_a_difference():
    found = differences(model(hard(1)), model(hard(2)))["steering_rmse"]
    assert found.better("steering_rmse") is None


def test_a_model_differs_from_itself_in_nothing():
    first = model(hard())
    found = differences(first, first)
    assert {difference.value for difference in found.values()} == {0.0}
    assert {value["better"] for value in as_json(found).values()} == {None}
    assert apart(first, first) == []


def test_an_untrained_collision_output_is_not_compared():
    found = differences(model(hard()), model(hard(1)), collision=False)
    assert set(found) == {"steering_rmse", "steering_explained_variance"}


def test_too_little_data_gives_no_interval():
    found = differences(model(hard(), count=40), model(0.5 * hard(), count=40))
    assert found["steering_rmse"].ci95 is None
    assert found["steering_rmse"].better("steering_rmse") is None


def test_where_they_are_apart():
    bump = np.zeros(COUNT)
    bump[500], bump[900], bump[910] = 0.4, -0.6, -0.5
    moments = apart(model(np.zeros(COUNT)), model(bump))
    assert [moment.at for moment in moments] == [900, 500]  # 910 is the same moment as 900
    assert moments[0].text.startswith("0.60 rad apart, A is nearer")
    assert moments[0].before < 900 < moments[0].after


def test_other_frames_are_refused():
    with pytest.raises(DataError, match="1200 and 1100 frames"):
        differences(model(hard()), model(hard(), count=1100))
