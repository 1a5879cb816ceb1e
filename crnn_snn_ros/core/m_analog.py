"""m-analog encoding, for comparison: input and bias at every time-step, read out as a rate.

The older way to run a converted network (arXiv 2408.09403 compares both). Its error falls with the
number of time-steps but never reaches zero. A rate S / T stands for the activation n_max * S / T,
which in integers is: charge n_max(source) per spike, threshold n_max times as high.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from crnn_snn_ros.core.bounds import largest_counts
from crnn_snn_ros.core.engines.base import make_charge, sum_pool
from crnn_snn_ros.core.graph import INPUT, Graph, Head, MaxPool, Neurons, SumPool, validate
from crnn_snn_ros.core.neuron import BifParams, BifState, bif_step

CPU = torch.device("cpu")
Trains = dict[str, list[Tensor]]


def run_frame(
    graph: Graph, frame: NDArray[np.int8], carry: Trains, num_steps: int
) -> tuple[dict[str, NDArray[np.float64]], Trains]:
    """Run one frame for ``num_steps``; recurrent layers hear the spikes of the frame before.

    Args:
        graph: A validated graph.
        frame: int8 (C, H, W).
        carry: Spike trains of the recurrent layers in the frame before, {} at first.
        num_steps: T, the same for every frame of a stream.

    Returns:
        Outputs of each head (outputs,), in its unit, and the carry for the next frame.
    """
    net = _MAnalog(graph, num_steps)
    pixels = torch.from_numpy(frame[None].astype(np.float64))
    trains: Trains = {node.name: [] for node, _ in graph.recurrent()}
    for t in range(num_steps):
        spikes = net.time_step(pixels, {name: train[t] for name, train in carry.items()})
        for name, train in trains.items():
            train.append(spikes[name])
    heads = {
        node.name: net.heads[node.name][0].numpy() / num_steps * node.scale
        for node in graph.heads()
    }
    return heads, trains


class _MAnalog:
    """State of one frame, in float64, whose integers do not overflow here either."""

    def __init__(self, graph: Graph, num_steps: int) -> None:
        self.graph = graph
        self.per_spike = {**_source_levels(graph), INPUT: 1}
        self.charges = {
            node.name: [(s.source, make_charge(s, CPU, torch.float64)) for s in node.synapses]
            for node in graph.nodes
            if isinstance(node, Neurons | Head)
        }
        self.heads: dict[str, Tensor] = {}
        self.states: dict[str, BifState] = {}
        self.params: dict[str, BifParams] = {}
        self.pooled: dict[str, Tensor] = {}
        for name, shape in validate(graph).items():
            self.pooled[name] = self.heads[name] = torch.zeros(1, *shape, dtype=torch.float64)
        for node in graph.neurons():
            levels = max(node.n_max, -node.n_min)
            threshold = levels * _per_channel(node.threshold, self.pooled[node.name].ndim)
            lowest = -(num_steps * -node.n_min // levels)
            highest = num_steps * node.n_max // levels
            self.params[node.name] = BifParams(threshold, lowest, highest)
            zeros = self.pooled[node.name]
            self.states[node.name] = BifState(zeros + threshold // 2, zeros)

    def time_step(self, pixels: Tensor, recurrent: dict[str, Tensor]) -> dict[str, Tensor]:
        """Advance all layers by one time-step; return all spikes."""
        spikes = {INPUT: pixels}
        for node in self.graph.nodes:
            if isinstance(node, SumPool):
                spikes[node.name] = sum_pool(spikes[node.source], node.kernel)
            elif isinstance(node, MaxPool):
                before = self.pooled[node.name]
                state = self.states.get(node.source)
                tracer = state.spike_count if state else self.pooled[node.source]
                now = functional.max_pool2d(tracer, node.kernel, node.stride, node.padding)
                self.pooled[node.name], spikes[node.name] = now, now - before
            elif isinstance(node, Head):
                self.heads[node.name] = self.heads[node.name] + self._charge(node, spikes)
            else:
                charge = self._charge(node, spikes)
                if node.recurrent is not None and node.name in recurrent:
                    levels = max(node.n_max, -node.n_min)
                    before = recurrent[node.name]
                    charge = charge + levels * before * _per_channel(node.recurrent, before.ndim)
                spikes[node.name], self.states[node.name] = bif_step(
                    charge, self.states[node.name], self.params[node.name]
                )
        return spikes

    def _charge(self, node: Neurons | Head, spikes: dict[str, Tensor]) -> Tensor:
        parts = [
            self.per_spike[source] * charge(spikes[source])
            for source, charge in self.charges[node.name]
        ]
        total = torch.stack(parts).sum(dim=0)
        return total + _per_channel(node.bias, total.ndim)


def _source_levels(graph: Graph) -> dict[str, int]:
    """Activation that a rate of one stands for, per node; a sum-pool adds its windows by itself."""
    levels = largest_counts(graph)
    for node in graph.nodes:
        if isinstance(node, SumPool | MaxPool):
            levels[node.name] = levels[node.source] if node.source != INPUT else 1
    return levels


def _per_channel(values: NDArray[np.int32], ndim: int) -> Tensor:
    return torch.from_numpy(values.astype(np.float64)).reshape((-1,) + (1,) * (ndim - 2))
