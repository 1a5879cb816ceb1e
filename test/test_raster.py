from __future__ import annotations

import numpy as np
import pytest
from report_samples import replayed

from crnn_snn_ros.evaluation.raster import MOST_NEURONS, raster
from crnn_snn_ros.evaluation.replay_output import cut_errors


def image_of(done, row):
    drive = done.recording.rows["drive"][row]
    first = int(np.searchsorted(done.recording.rows["drive"], drive))
    return list(done.readers[drive]())[row - first].image


@pytest.mark.parametrize("row", [0, 5, 100, 170])
def test_spikes_are_those_that_the_replay_counted(row):
    """So the frame was run from the very state that had entered it."""
    done = replayed()
    found = raster(done.pipeline.model, done.recording, row, image_of(done, row), "t")
    rows = done.recording.rows
    assert found.settle_steps == rows["settle_steps"][row]
    assert [layer.layer for layer in found.layers] == list(done.recording.layers)
    for layer, spikes in zip(found.layers, rows["layer_spikes"][row], strict=True):
        assert layer.fired <= layer.neurons
        if layer.fired <= MOST_NEURONS:
            assert len(layer.sign) == spikes
        assert set(layer.sign.tolist()) <= {-1, 1}
        assert layer.steps.min(initial=1) >= 1
        assert layer.steps.max(initial=1) <= found.settle_steps


def test_cutting_later_than_all_have_settled_costs_nothing():
    done = replayed()
    images = {row: image_of(done, row) for row in (3, 50, 180)}
    errors = cut_errors(done.pipeline, done.recording, images)
    steps = max(done.recording.rows["settle_steps"][list(images)])
    for by_step in errors.values():
        assert len(by_step) == steps
        assert by_step[-1] == 0.0
        assert max(by_step[:3]) > 0.0
