from __future__ import annotations

import numpy as np
import pytest
from training_samples import bar_image

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.evaluation.driven import COLUMNS, DriveLog, DrivenCourse


def log(count: int, every_s: float = 1.0) -> DriveLog:
    made = DriveLog("a run", every_s=every_s)
    for number in range(count):
        made.add(number / 10, (0.3 * number, 0.4 * number, 0.1), 5.0, image=bar_image(number, 3))
    return made


def test_a_log_becomes_columns():
    run = log(26).finish("goal", True)
    assert run.columns["time_s"] == pytest.approx(np.arange(26) / 10)
    assert run.columns["y_m"] == pytest.approx(0.4 * np.arange(26))
    assert np.isnan(run.columns["steering_rad"]).all()
    assert run.distance_m == pytest.approx(0.5 * 25)
    assert run.time_s == pytest.approx(2.5)
    assert (run.outcome, run.succeeded) == ("goal", True)


def test_pictures_are_kept_now_and_then_and_at_the_end():
    run = log(26).finish("contact", False)
    assert [shot.time_s for shot in run.snapshots] == pytest.approx([0.0, 1.0, 2.0, 2.5])
    assert len(log(2000, every_s=10.0).finish("goal", True).snapshots) == 21


def test_without_pictures_there_are_none():
    made = DriveLog("blind")
    made.add(0.0, (0.0, 0.0, 0.0), 0.0)
    assert made.finish("timeout", False).snapshots == []


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
    with pytest.raises(DataError):
        DriveLog("empty").finish("goal", True)
