from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from recording_samples import RATE_HZ, recording, tiny_graph
from test_replay import frames, pipeline

from crnn_snn_ros.evaluation.recording import Recording
from crnn_snn_ros.evaluation.replay import replay


def test_rows_stay_when_the_table_grows():
    count = 3000
    values = np.linspace(-1, 1, count)
    made = recording(values, np.abs(values), drives=(1000, 1500, 500))
    assert len(made) == len(made.rows) == count
    np.testing.assert_array_equal(made.rows["snn"][:, 0], values)
    np.testing.assert_array_equal(made.rows["float"][:, 1], 1 - np.abs(values))
    assert [len(made.of_drive(n)) for n in range(3)] == [1000, 1500, 500]
    assert made.drives == ["drive0", "drive1", "drive2"]


def test_labels_reach_the_frames_of_their_drive_only():
    made = recording(np.zeros(6), np.zeros(6), drives=(2, 4))
    made.label(1, np.arange(4.0), np.array([0.0, 1.0, np.nan, 0.0]))
    want = [np.nan, np.nan, 0, 1, 2, 3]
    np.testing.assert_array_equal(made.rows["truth"][:, 0], want)
    np.testing.assert_array_equal(made.rows["truth"][2:, 1], [0, 1, np.nan, 0])


def test_time_goes_on_from_drive_to_drive():
    """Each begins one frame after the last one ended, however far apart their stamps are."""
    made = recording(np.zeros(5), np.zeros(5), drives=(3, 2))
    np.testing.assert_allclose(made.times_s(), np.arange(5) / RATE_HZ)
    assert (np.diff(made.rows["stamp_ns"]) < 0).any()


def test_a_clock_that_runs_back_does_not_turn_time():
    made = recording(np.zeros(4), np.zeros(4))
    made.rows["stamp_ns"][2] -= 10**9
    np.testing.assert_allclose(made.times_s(), [0.0, 0.05, 0.05, 1.1])


def test_of_nothing():
    made = Recording(tiny_graph(), RATE_HZ)
    assert len(made) == len(made.rows) == len(made.times_s()) == 0


def test_carry_comes_back_as_it_was():
    made = recording(np.zeros(2), np.zeros(2))
    counts = {"memory": torch.tensor([[-3.0, 2.0]])}
    made.rows["carry"][1] = made.pack_carry(counts)
    np.testing.assert_array_equal(made.unpack_carry(1)["memory"], [[-3.0, 2.0]])
    np.testing.assert_array_equal(made.unpack_carry(0)["memory"], [[0.0, 0.0]])
    np.testing.assert_array_equal(made.pack_carry({}), [0, 0])


def test_a_long_replay_holds_no_tensors_and_few_bytes():
    """What grows is one row of numbers a frame."""
    built = pipeline()
    replay(frames(4), built)
    gc.collect()
    before = sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())
    made = replay(frames(40), built)
    gc.collect()
    after = sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())
    assert after - before < 20
    assert made.rows.itemsize < 500
    assert len(made) == 40


@pytest.mark.parametrize("field", ["carry", "layer_spikes", "layer_additions"])
def test_replay_fills(field):
    made = replay(frames(12), pipeline())
    assert len(np.unique(made.rows[field], axis=0)) > 3
    assert made.rows["layer_spikes"].sum() == made.rows["spikes"].sum()
