"""Convolution of spike trains by int8 products of the CPU: oneDNN's, as inductor itself calls it.

Exact: spikes become unsigned by adding the largest there can be, products are summed in int32, and
the share of what was added is taken away there, before the sum, below 2^24, becomes a float32.
"""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crnn_snn_ros.core.engines.base import Charge
from crnn_snn_ros.core.graph import Conv, Graph, SumPool

# A CPU without VNNI adds two products of bytes in 16 bits: 2 * (2 * 64) * 127 is still below 2^15.
LARGEST = 64


def available() -> bool:
    """Whether this build of PyTorch has it, for this kind of CPU."""
    x86 = platform.machine() in ("x86_64", "AMD64")
    return x86 and hasattr(torch.ops.onednn, "qconv2d_pointwise")


def largest_spikes(graph: Graph) -> dict[str, int]:
    """The largest magnitude in one time-step of all nodes that send spikes, the input left out."""
    largest: dict[str, int] = {}
    for node in graph.nodes:
        if isinstance(node, SumPool):
            if node.source in largest:
                largest[node.name] = largest[node.source] * int(np.prod(node.kernel))
        else:
            largest[node.name] = 1
    return largest


def make_int8_charge(synapse: Conv, largest: int, size: tuple[int, ...]) -> Charge:
    """The map of one synapse, as ``base.make_charge``, for spikes of magnitude ``largest`` at most.

    Args:
        synapse: A convolution.
        largest: Up to ``LARGEST``.
        size: Of its source, (C, H, W).
    """
    weight = torch.from_numpy(np.array(synapse.weight, np.int8))
    scales = torch.ones(len(weight))
    zeros = torch.zeros(len(weight), dtype=torch.int32)
    stride, padding = ([n, n] for n in (synapse.stride, synapse.padding))
    window = (stride, padding, [1, 1], 1)  # not dilated, one group
    source = (1.0, largest)  # scale and zero
    packed = torch.ops.onednn.qconv_prepack(weight, scales, *source, *window, [1, *size])
    # No bias, nothing behind it.
    plain: tuple[Any, ...] = (None, *window, 1.0, 0, torch.float32, "none", [], "")

    def charge(spikes: Tensor) -> Tensor:
        unsigned = (spikes + largest).to(torch.uint8)
        out: Tensor = torch.ops.onednn.qconv2d_pointwise(
            unsigned.contiguous(memory_format=torch.channels_last),
            *source, packed, scales, zeros, *plain,
        )  # fmt: skip
        return out

    return charge
