from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording_samples import recording
from test_replay import frames, pipeline

from crnn_snn_ros.core.command import ControlConfig
from crnn_snn_ros.evaluation.events import (
    commands_of,
    false_stops,
    find_events,
    roughness,
    runs,
    stops,
)
from crnn_snn_ros.evaluation.replay import replay

RATE_HZ = 10


def flags(text: str) -> np.ndarray:
    return np.array([c == "x" for c in text])


def events(labels: str, alarms: str, drive: str | None = None):
    """One character a frame, ten a second: x where the flag is set."""
    time_s = np.arange(len(labels)) / RATE_HZ
    drives = np.array([int(c) for c in drive or "0" * len(labels)])
    return find_events(flags(labels), flags(alarms), time_s, drives)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=50))
def test_runs_are_the_set_frames_and_nothing_else(rows):
    on, turns = (np.array(column) for column in zip(*rows, strict=True))
    drive = np.cumsum(turns)
    found = runs(on, drive)
    covered = np.zeros(len(on), int)
    for first, last in found:
        covered[first : last + 1] += 1
        assert len(set(drive[first : last + 1])) == 1
        assert first == 0 or not on[first - 1] or drive[first - 1] != drive[first]
    np.testing.assert_array_equal(covered, on.astype(int))


def test_an_early_a_late_and_a_missed_alarm():
    (early,) = events("..........xxx..", ".......x.......")
    assert (early.first, early.last, early.alarm) == (10, 12, 7)
    assert early.lead_s == pytest.approx(0.3)
    (late,) = events("..........xxx..", "...........xx..")
    assert late.lead_s == pytest.approx(-0.1)
    (missed,) = events("..........xxx..", ".............xx")
    assert missed.alarm is None
    assert math.isnan(missed.lead_s)


def test_an_alarm_long_before_is_none_for_the_event():
    """Of 2 s before and earlier, only what is within the window counts."""
    labels = "." * 40 + "xx"
    (event,) = events(labels, "x" + "." * 41)
    assert event.alarm is None
    (event,) = events(labels, "x" * 42)
    assert event.lead_s == pytest.approx(2.0)


def test_a_short_pause_does_not_end_an_event_and_a_long_one_does():
    assert [(e.first, e.last) for e in events("xx..xx" + "." * 9, "." * 15)] == [(0, 5)]
    found = events("xx" + "." * 9 + "xx", "x" * 13)
    assert [(e.first, e.alarm) for e in found] == [(0, 0), (11, 2)]  # not the first one's alarm


def test_drives_know_nothing_of_each_other():
    found = events(".....xx" + "xx.....", "...x..." + "......x", "0" * 7 + "1" * 7)
    assert [(e.first, e.last, e.alarm) for e in found] == [(5, 6, 3), (7, 8, None)]


def test_stops_and_those_for_nothing():
    speed = np.array([0.0, 0.5, 0.0, 0.0, 0.5, 0.0, 0.5, 0.0])
    commands = np.stack([speed, speed], axis=1)
    drive = np.array([0, 0, 0, 0, 0, 0, 0, 1])
    began = stops(commands, drive)
    assert began == [2, 5]  # neither the start nor the next drive
    time_s = np.arange(8) * 10.0
    truth = np.zeros(8)
    assert false_stops(began, truth, time_s, drive) == [2, 5]
    truth[5] = 1.0
    assert false_stops(began, truth, time_s, drive) == [2]
    truth[2] = np.nan
    assert false_stops(began, truth, time_s, drive) == []


def test_a_label_of_another_drive_excuses_no_stop():
    drive = np.array([0, 0, 1])
    assert false_stops([1], np.array([0.0, 0.0, 1.0]), np.arange(3) * 0.1, drive) == [1]


def test_roughness_by_hand():
    commands = np.array([[0.0, 0.0], [0.1, 0.2], [0.1, -0.2], [9.0, 9.0]])
    drive = np.array([0, 0, 0, 1])
    found = roughness(commands, np.array([0.0, 0.1, 0.2, 0.3]), drive)
    assert found["linear_mps2"] == pytest.approx(math.sqrt((1 + 0) / 2))
    assert found["angular_radps2"] == pytest.approx(math.sqrt((4 + 16) / 2))
    assert roughness(commands[:1], np.zeros(1), drive[:1]) is None


def test_commands_of_the_qann_are_the_pipelines_own():
    """The same estimates through the one control law, gaps and all, bit for bit."""
    built = pipeline(seed=2)
    made = replay(frames(40, gaps=(13, 30)), built)
    np.testing.assert_array_equal(commands_of(made, "qann", built.config), made.rows["command"])
    assert len(np.unique(made.rows["command"][:, 0])) >= 5


def test_commands_obey_the_thresholds():
    probability = np.repeat([0.1, 0.9, 0.1], 20)
    made = recording(np.zeros(60), 1 - probability)  # the float network says the opposite
    speed = commands_of(made, "float", ControlConfig(stop_threshold=0.7))[:, 0]
    assert speed[10] > 0
    assert (speed[20:41] == 0).all()
    assert speed[59] > 0
