"""Synaptic operations, counted exactly: additions by spikes, and products of the first layer.

A spike of a neuron is added to every membrane that it reaches: its fan-out, fewer at the border
of a convolution. Weights that happen to be zero are counted. The input is analog (s-analog),
so its synapses multiply, once per frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crnn_snn_ros.core.engines.base import make_charge
from crnn_snn_ros.core.graph import (
    INPUT,
    Graph,
    Head,
    Neurons,
    SumPool,
    Synapse,
    validate,
)


class Operations(NamedTuple):
    """Operations of one frame."""

    multiplications: int  # multiply-accumulates of the analog input
    additions: int  # accumulates that spikes caused, recurrent ones included
    by_layer: dict[str, int]  # the same, by the neurons or max-pool whose spikes they were


class OperationCounter:
    """Counts operations of frames of one graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        shapes = validate(graph)
        self._fan_out = {
            name: np.zeros(shape, np.int64)
            for name, shape in shapes.items()
            if name not in {head.name for head in graph.heads()}
        }
        for node in graph.nodes:
            if isinstance(node, Neurons | Head):
                for synapse in node.synapses:
                    shape = shapes[synapse.source]
                    self._fan_out[synapse.source] += fan_out(synapse, shape)

    def dense(self) -> int:
        """Multiply-accumulates of the same network as an ordinary one, without recurrent ones."""
        return sum(int(fan_out.sum()) for fan_out in self._fan_out.values())

    def count(self, activity: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> Operations:
        """Count one frame.

        Args:
            activity: Spikes fired per neuron or max-pool, ``FrameResult.activity``, (1, *shape).
            before: Recurrent counts that entered the frame, ``Carry.counts``, (1, channels).
        """
        fired: dict[str, NDArray[np.int64]] = {
            name: spikes[0].cpu().to(torch.int64).numpy() for name, spikes in activity.items()
        }
        owner = {name: name for name in fired}
        for node in self._graph.nodes:
            if isinstance(node, SumPool) and node.source in fired:  # passes every spike on
                fired[node.name] = _block_sum(fired[node.source], node.kernel)
                owner[node.name] = owner[node.source]
        by_layer = {name: int(count.abs().sum()) for name, count in before.items()}
        for name, spikes in fired.items():
            caused = int((spikes * self._fan_out[name]).sum())
            by_layer[owner[name]] = by_layer.get(owner[name], 0) + caused
        return Operations(int(self._fan_out[INPUT].sum()), sum(by_layer.values()), by_layer)


def fan_out(synapse: Synapse, source: tuple[int, ...]) -> NDArray[np.int64]:
    """How many membranes each element of the source reaches: the gradient of an all-ones map."""
    weight: Any = np.ones_like(synapse.weight)  # int8 or int32, as the kind of synapse wants
    ones = replace(synapse, weight=weight)
    spikes = torch.zeros(1, *source, dtype=torch.float64, requires_grad=True)
    charge = make_charge(ones, torch.device("cpu"), torch.float64)(spikes)
    (reach,) = torch.autograd.grad(charge.sum(), spikes)
    counts: NDArray[np.int64] = np.rint(reach[0].numpy()).astype(np.int64)
    return counts


def _block_sum(values: NDArray[np.int64], kernel: tuple[int, int]) -> NDArray[np.int64]:
    channels, height, width = values.shape
    blocks = values.reshape(channels, height // kernel[0], kernel[0], width // kernel[1], kernel[1])
    total: NDArray[np.int64] = blocks.sum(axis=(2, 4))
    return total
