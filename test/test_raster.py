from __future__ import annotations

import pytest
from report_samples import input_of, replayed

from crnn_snn_ros.evaluation.raster import MOST_NEURONS, raster


@pytest.mark.parametrize("row", [0, 5, 100, 170])
def test_spikes_are_those_that_the_replay_counted(row):
    """So the frame was run from the very state that had entered it."""
    done = replayed()
    found = raster(done.pipeline.model, done.recording, row, input_of(done, row), "t")
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
