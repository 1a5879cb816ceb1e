from __future__ import annotations

import numpy as np
import pytest
from training_samples import bar_image

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.evaluation.driven import COLUMNS, DrivenCourse, driven
from crnn_snn_ros.sim.simulator import GOAL
from crnn_snn_ros.sim.suites import Outcome
from crnn_snn_ros.sim.trace import Row, Trace, make_trace


def trace(count: int) -> Trace:
    rows = [
        Row(10**9 + number * 10**8, 0.3 * number, 0.4 * number, 0.1, 5.0, 0.0,
            0.2, number / 100, number != 3, 7, 90, 5.0, 0.4)
        for number in range(count)
    ]  # fmt: skip
    images = [bar_image(number, 3) for number in range(count)]
    return make_trace("movers", Outcome(7, "room", GOAL, 12.5, 2.5, ""), rows, images)


def test_a_trace_becomes_columns():
    run = driven(trace(26), None)
    assert run.columns["time_s"] == pytest.approx(np.arange(26) / 10)
    assert run.columns["y_m"] == pytest.approx(0.4 * np.arange(26))
    assert run.columns["collision_probability"] == pytest.approx(np.arange(26) / 100)
    assert run.distance_m == pytest.approx(0.5 * 25)
    assert run.time_s == pytest.approx(2.5)
    assert (run.name, run.outcome, run.succeeded) == ("movers 7 (room)", GOAL, True)


def test_pictures_keep_their_times():
    run = driven(trace(26), None)
    assert [shot.time_s for shot in run.snapshots] == pytest.approx([0.0, 1.0, 2.0, 2.5])
    assert [shot.settled for shot in run.snapshots] == [True] * 4
    assert not driven(trace(4), None).snapshots[-1].settled
    assert np.array_equal(run.snapshots[1].image, bar_image(10, 3))


def columns(**changes) -> dict:
    return {name: np.arange(3.0) for name in COLUMNS} | changes


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (columns(x_m=np.zeros(2)), "lengths"),
        (columns(time_s=np.array([0.0, 2.0, 1.0])), "runs back"),
        ({name: np.zeros(0) for name in COLUMNS}, "lengths"),
        ({"time_s": np.zeros(1)}, "lacks the column"),
    ],
)
def test_what_is_no_drive_is_refused(given, message):
    with pytest.raises(DataError, match=message):
        DrivenCourse("bad", None, given, [], "goal", True)
