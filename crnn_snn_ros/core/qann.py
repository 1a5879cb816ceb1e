"""The quantized network (QANN) in int64: the reference that every engine must equal.

Written in NumPy with its own convolution and its own closed-form quantizer, sharing no arithmetic
with the spiking engines (which are torch, float32 and step by step), so that a fault in one is not
repeated in the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

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

Int64 = NDArray[np.int64]


class QannFrame(NamedTuple):
    """Everything that one frame leads to. Arrays have a leading batch dimension N."""

    counts: dict[str, Int64]  # activation of every node that is not a head: (N, *shape)
    charges: dict[str, Int64]  # Q + r of every neuron: (N, *shape)
    heads: dict[str, Int64]  # accumulators: (N, outputs)


def initial_carry(graph: Graph, batch: int = 1) -> dict[str, Int64]:
    """Recurrent counts before the first frame: zero, (N, channels, 1...) for broadcasting."""
    return {node.name: np.zeros((batch, 1), np.int64) for node, _ in graph.recurrent()}


def run_frame(
    graph: Graph, frame: NDArray[np.int8], carry: dict[str, Int64]
) -> tuple[QannFrame, dict[str, Int64]]:
    """Run one frame of every stream in the batch.

    ``q = clip(floor((Q + r) / threshold), n_min, n_max)``, Q = W x + b + u h (README, "Exact").

    Args:
        graph: A validated graph.
        frame: Input, int8 (N, C, H, W).
        carry: Recurrent counts of the frame before, from ``initial_carry`` or the last call.

    Returns:
        All activations, and the carry for the next frame.
    """
    counts: dict[str, Int64] = {INPUT: frame.astype(np.int64)}
    charges: dict[str, Int64] = {}
    heads: dict[str, Int64] = {}
    for node in graph.nodes:
        if isinstance(node, SumPool):
            counts[node.name] = _sum_pool(counts[node.source], node.kernel)
        elif isinstance(node, MaxPool):
            counts[node.name] = _max_pool(counts[node.source], node)
        else:
            charge = sum(
                (_charge(synapse, counts[synapse.source]) for synapse in node.synapses),
                start=np.zeros((), np.int64),
            )
            charge = charge + _per_channel(node.bias, charge.ndim)
            if isinstance(node, Head):
                heads[node.name] = charge
            else:
                charges[node.name], counts[node.name] = _quantize(node, charge, carry)
    state = {node.name: counts[node.name] for node, _ in graph.recurrent()}
    return QannFrame(counts, charges, heads), state


def _quantize(node: Neurons, charge: Int64, carry: dict[str, Int64]) -> tuple[Int64, Int64]:
    threshold = _per_channel(node.threshold, charge.ndim)
    if node.recurrent is not None:
        before = carry[node.name]
        before = before.reshape(before.shape + (1,) * (charge.ndim - before.ndim))
        charge = charge + _per_channel(node.recurrent, charge.ndim) * before
    charge = charge + threshold // 2
    return charge, np.clip(charge // threshold, node.n_min, node.n_max)


def _charge(synapse: Synapse, source: Int64) -> Int64:
    weight = synapse.weight.astype(np.int64)
    if isinstance(synapse, Identity):
        return source * _per_channel(synapse.weight, source.ndim)
    if isinstance(synapse, Conv):
        return _convolve(source, weight, synapse.stride, synapse.padding)
    flat: Int64 = source.reshape(len(source), -1) @ weight.T
    return flat


def _convolve(source: Int64, weight: Int64, stride: int, padding: int) -> Int64:
    margin = (padding, padding)
    padded = np.pad(source, ((0, 0), (0, 0), margin, margin))
    windows = sliding_window_view(padded, weight.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    batch, _, height, width = windows.shape[:4]
    rows = windows.transpose(0, 2, 3, 1, 4, 5).reshape(batch * height * width, -1)
    out = rows @ weight.reshape(len(weight), -1).T
    return out.reshape(batch, height, width, len(weight)).transpose(0, 3, 1, 2)


def _sum_pool(source: Int64, kernel: tuple[int, int]) -> Int64:
    batch, channels, height, width = source.shape
    blocks = source.reshape(
        batch, channels, height // kernel[0], kernel[0], width // kernel[1], kernel[1]
    )
    total: Int64 = blocks.sum(axis=(3, 5))
    return total


def _max_pool(source: Int64, node: MaxPool) -> Int64:
    margin = (node.padding, node.padding)
    lowest = np.iinfo(np.int64).min
    padded = np.pad(source, ((0, 0), (0, 0), margin, margin), constant_values=lowest)
    windows = sliding_window_view(padded, (node.kernel, node.kernel), axis=(2, 3))
    pooled: Int64 = windows[:, :, :: node.stride, :: node.stride].max(axis=(4, 5))
    return pooled


def _per_channel(values: NDArray[np.int32], ndim: int) -> Int64:
    return values.astype(np.int64).reshape((-1,) + (1,) * (ndim - 2))
