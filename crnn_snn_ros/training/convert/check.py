"""Last pass: the fake-quantized network in eval mode is the QANN, integer for integer."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from crnn_snn_ros.core import qann
from crnn_snn_ros.core.graph import INPUT, Graph
from crnn_snn_ros.training.network import Network


@torch.no_grad()
def count_mismatches(
    network: Network, graph: Graph, frames: Iterable[NDArray[np.int8]]
) -> dict[str, int]:
    """Run one stream through both and count unequal integers per node.

    Args:
        network: In quantized mode.
        graph: Its conversion.
        frames: Network inputs, int8 (C, H, W) each.
    """
    network = network.eval()
    mismatches = {node.name: 0 for node in graph.nodes}
    carry: dict[str, torch.Tensor] = {}
    reference_carry = qann.initial_carry(graph)
    device = next(network.parameters()).device
    for pixels in frames:
        output = network(torch.from_numpy(pixels[None, None]).to(device), carry)
        carry = output.carry
        reference, reference_carry = qann.run_frame(graph, pixels[None], reference_carry)
        for name, want in {**reference.counts, **reference.heads}.items():
            if name != INPUT:
                got = output.activations[name][:, 0].double().cpu().numpy()
                mismatches[name] += int((got != want).sum())
    return mismatches
