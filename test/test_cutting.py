from __future__ import annotations

import numpy as np
import pytest
from report_samples import input_of, replayed

from crnn_snn_ros.core.bounds import prove
from crnn_snn_ros.evaluation.cutting import (
    ENCODING_FRAMES,
    MOST_OPERATIONS,
    cut_errors,
    encoding_errors,
    encoding_rows,
)


def test_cutting_later_than_all_have_settled_costs_nothing():
    done = replayed()
    inputs = {row: input_of(done, row) for row in (3, 50, 180)}
    errors = cut_errors(done.pipeline, done.recording, inputs)
    steps = max(done.recording.rows["settle_steps"][list(inputs)])
    for by_step in errors.values():
        assert len(by_step) == steps
        assert by_step[-1] == 0.0
        assert max(by_step[:3]) > 0.0


def test_s_analog_ends_at_zero_and_m_analog_does_not():
    done = replayed()
    model = done.pipeline.model
    bound = prove(model.graph).settling_steps
    inputs = [input_of(done, row) for row in range(40, 46)]
    found = encoding_errors(model, inputs, (1, bound, 4 * bound))
    assert found.frames == 6
    assert found.s_analog[0] > 0.0
    assert found.s_analog[1:] == [0.0, 0.0]
    assert min(found.m_analog) > 0.0


def test_frames_for_encodings_follow_each_other_within_a_drive():
    made = replayed().recording
    rows = encoding_rows(made)
    assert len(rows) == ENCODING_FRAMES
    assert np.diff(rows).tolist() == [1] * (ENCODING_FRAMES - 1)
    assert set(made.rows["drive"][rows]) == {0}


@pytest.mark.parametrize("operations", [MOST_OPERATIONS // 500, 10 * MOST_OPERATIONS])
def test_a_large_network_is_shown_fewer_frames(operations):
    made = replayed().recording
    before, made.dense_operations = made.dense_operations, operations
    count = len(encoding_rows(made))
    made.dense_operations = before
    assert 1 <= count < ENCODING_FRAMES
