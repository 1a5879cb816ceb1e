"""Every spike of one frame, layer by layer, by the engine that is the specification."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from crnn_snn_ros.core.engines import make_engine
from crnn_snn_ros.core.engines.base import Carry
from crnn_snn_ros.evaluation.recording import Recording
from crnn_snn_ros.io.model_schema import Model

MOST_NEURONS = 160  # shown of a layer, spread evenly over those that fired


class LayerRaster(NamedTuple):
    """Spikes of one layer in one frame."""

    layer: str
    neurons: int  # in the layer
    fired: int  # of them
    steps: NDArray[np.int64]  # (k,), time-step of each spike shown, from 1
    neuron: NDArray[np.int64]  # (k,), flat number of its neuron
    sign: NDArray[np.int64]  # (k,), +1 or -1


class FrameRaster(NamedTuple):
    """Spikes of one frame."""

    title: str
    settle_steps: int
    layers: list[LayerRaster]


def raster(
    model: Model, recording: Recording, number: int, pixels: NDArray[np.int8], title: str
) -> FrameRaster:
    """Run frame ``number`` again, from the state that entered it, and keep every spike."""
    engine = make_engine("stepwise", model.graph)
    counts = {name: torch.from_numpy(c) for name, c in recording.unpack_carry(number).items()}
    frame = torch.from_numpy(pixels[None])
    result, _ = engine.step(frame, Carry(counts, torch.ones(1, dtype=torch.bool)), trace=True)
    assert result.trace is not None  # it was asked for
    layers = [_layer(name, result.trace.spikes[name]) for name in recording.layers]
    return FrameRaster(title, int(result.settle_steps[0]), layers)


def _layer(name: str, spikes: torch.Tensor) -> LayerRaster:
    trains = spikes[:, 0].flatten(1).to(torch.int64).numpy()  # (T, neurons)
    active = np.flatnonzero(trains.any(axis=0))
    shown = active
    if len(active) > MOST_NEURONS:
        shown = active[np.linspace(0, len(active) - 1, MOST_NEURONS).round().astype(int)]
    steps, place = np.nonzero(trains[:, shown])
    sign = trains[steps, shown[place]]
    return LayerRaster(name, trains.shape[1], len(active), steps + 1, shown[place], sign)
