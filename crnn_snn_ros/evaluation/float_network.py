"""What a graph costs as an ordinary network in float32: the yardstick for speed, in plain torch.

It has the graph's shapes and weights. (The same integers run once are the engine ``collapsed``.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from crnn_snn_ros.core.graph import (
    INPUT,
    Conv,
    Graph,
    Head,
    Identity,
    MaxPool,
    Neurons,
    SumPool,
    Synapse,
)

State = dict[str, Tensor]  # activation of each recurrent layer in the frame before


class _Layer(NamedTuple):
    node: Neurons | Head
    weights: list[Tensor]
    bias: Tensor
    recurrent: Tensor | None


class FloatNetwork(nn.Module):
    """A graph as an ordinary recurrent network, one pass a frame.

    Nothing is rounded: ReLU, or the clip of a signed layer, with thresholds folded into the weights
    as a converter would find them.

    Args:
        graph: A valid graph.
        device: Where it runs.
    """

    def __init__(self, graph: Graph, device: str | torch.device = "cpu") -> None:
        super().__init__()
        self._graph = graph
        self.device = torch.device(device)
        self._layers = {
            node.name: _on(self.device, _layer(node))
            for node in graph.nodes
            if isinstance(node, Neurons | Head)
        }

    def forward(self, frame: Tensor, state: State) -> tuple[dict[str, Tensor], State]:
        """One frame of N streams.

        Args:
            frame: int8 (N, C, H, W).
            state: Empty before the first frame.

        Returns:
            Heads in units of charge, float (N, outputs), and the state for the next frame.
        """
        values = {INPUT: frame.to(self.device, torch.float32)}
        heads, after = {}, {}
        for node in self._graph.nodes:
            if isinstance(node, SumPool):
                values[node.name] = functional.avg_pool2d(
                    values[node.source], node.kernel, divisor_override=1
                )
            elif isinstance(node, MaxPool):
                values[node.name] = functional.max_pool2d(
                    values[node.source], node.kernel, node.stride, node.padding
                )
            else:
                layer = self._layers[node.name]
                total = _charge(layer, values)
                if isinstance(node, Head):
                    heads[node.name] = total
                    continue
                if layer.recurrent is not None and node.name in state:
                    total = total + layer.recurrent * state[node.name]
                values[node.name] = _activate(node, total)
                if layer.recurrent is not None:
                    after[node.name] = values[node.name]
        return heads, after


def _layer(node: Neurons | Head) -> _Layer:
    first = node.synapses[0].weight
    ndim = 4 if first.ndim == 4 or isinstance(node.synapses[0], Identity) else 2
    scale = 1.0 if isinstance(node, Head) else 1.0 / node.threshold
    weights = [
        _tensor(synapse.weight * np.reshape(scale, (-1,) + (1,) * (synapse.weight.ndim - 1)))
        for synapse in node.synapses
    ]
    recurrent = None
    if isinstance(node, Neurons) and node.recurrent is not None:
        recurrent = _tensor(node.recurrent * scale).reshape((-1,) + (1,) * (ndim - 2))
    return _Layer(node, weights, _tensor(node.bias * scale), recurrent)


def _on(device: torch.device, layer: _Layer) -> _Layer:
    recurrent = layer.recurrent if layer.recurrent is None else layer.recurrent.to(device)
    weights = [weight.to(device) for weight in layer.weights]
    return layer._replace(weights=weights, bias=layer.bias.to(device), recurrent=recurrent)


def _tensor(values: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _charge(layer: _Layer, values: dict[str, Tensor]) -> Tensor:
    total: Tensor | None = None
    for synapse, weight in zip(layer.node.synapses, layer.weights, strict=True):
        bias = layer.bias if total is None else None
        charge = _product(synapse, values[synapse.source], weight, bias)
        total = charge if total is None else total + charge
    assert total is not None  # a valid layer has a synapse
    return total


def _product(synapse: Synapse, source: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if isinstance(synapse, Conv):
        return functional.conv2d(source, weight, bias, synapse.stride, synapse.padding)
    if isinstance(synapse, Identity):
        shape = (-1,) + (1,) * (source.ndim - 2)
        out = source * weight.reshape(shape)
        return out if bias is None else out + bias.reshape(shape)
    return functional.linear(source.flatten(1), weight, bias)


def _activate(node: Neurons, total: Tensor) -> Tensor:
    return functional.relu(total) if node.n_min == 0 else total.clamp(node.n_min, node.n_max)
