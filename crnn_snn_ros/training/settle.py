"""What batch norms must know of what a network sees, where it has learned from something else.

Where a share of the values is hidden from a network that learns, and the others are larger for it,
their mean stays but not their spread; and averaged weights never saw anything. The statistics that
batch norms gathered meanwhile are then not those of what the network will see (the variance shift
of dropout: Li et al., CVPR 2019).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from crnn_snn_ros.training.network import Network
from crnn_snn_ros.training.streams import Streams, kept

WINDOWS = 500  # of all streams: enough for a mean and a spread


@torch.no_grad()
def settle(network: Network, streams: Streams) -> None:
    """Give the batch norms of a network, in place, the statistics of what streams show.

    Args:
        network: Float; its weights stay.
        streams: Of what it is to see; ``WINDOWS`` of them are looked at, or one pass.
    """
    norms = [
        layer for layer in network.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
    ]
    usual = [norm.momentum for norm in norms]
    device = next(network.parameters()).device
    carry: dict[str, Tensor] = {}
    network.train()
    for window in range(min(WINDOWS, streams.steps)):
        for norm in norms:
            norm.momentum = 1.0 / (window + 1)  # so that all windows weigh the same
        chunk = next(streams)
        output = network(chunk.pixels.to(device), kept(carry, chunk.fresh.to(device)))
        carry = dict(output.carry)
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
    network.eval()
