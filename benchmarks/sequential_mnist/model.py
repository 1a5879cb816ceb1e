"""The networks of the benchmark, of the package's own layers: ``convert`` takes them as they are.

pixel [- convolution along the sequence] - IndRNN x n - ten accumulators, read after the last step

The convolution is causal, over a delay line: a step sees the last pixels, and every filter weighs
each of them. What it gives is a step's input, so that to the graph it is one dense synapse.

All IndRNNs are signed, and all activations are whole counts from the first step of training on:
where a memory is to last for hundreds of steps, rounding in each of them changes what it keeps.
Memories begin between one step and the whole sequence, evenly on a logarithmic scale, those of the
last layer with long ones; the longer the memory that adds it up, the less charge a step brings: a
layer that begins in its limits, or whose steps are lost in rounding, learns slowly. (Less by the
square root: then a memory of the whole sequence is still charged with two counts of 127 a step.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crnn_snn_ros.core.graph import INPUT
from crnn_snn_ros.training.layers import HeadLayer, LinearBranch, NeuronLayer
from crnn_snn_ros.training.network import Network

HEAD = "digit"
DIGITS = 10
SHARE = 0.2  # of its range: spread of a state, were what comes in noise


@dataclass(frozen=True)
class Size:
    """What a network is made of."""

    hidden: tuple[int, ...] = (128, 128, 128)
    bits: int = 7  # of activations, and a sign
    window: int = 1  # pixels that a step sees; over more than one goes a convolution of that length
    filters: int = 64


def build(size: Size, steps: int, seed: int) -> Network:
    """A float network.

    Args:
        size: Its size.
        steps: Of a sequence, T.
        seed: Of its weights.
    """
    n_max = 2**size.bits - 1
    nodes: dict[str, NeuronLayer] = {}
    source, inputs = INPUT, 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if size.window > 1:
            weight = nn.init.kaiming_normal_(torch.empty(size.filters, size.window))
            conv = LinearBranch(INPUT, weight, torch.full((size.filters,), SHARE))
            nodes["conv"] = NeuronLayer([conv], size.filters, n_max)
            source, inputs = "conv", size.filters
        for number, hidden in enumerate(size.hidden, start=1):
            last = number == len(size.hidden)
            recurrent = _memories(hidden, steps / 8 if last else 1.0, float(steps))
            weight = nn.init.xavier_uniform_(torch.empty(hidden, inputs))
            spread = SHARE * (1.0 - recurrent.square()).sqrt()
            nodes[f"rnn{number}"] = NeuronLayer(
                [LinearBranch(source, weight, spread)],
                hidden,
                n_max,
                signed=True,
                recurrent=recurrent,
            )
            source, inputs = f"rnn{number}", hidden
    for layer in nodes.values():
        layer.rounds = True
        layer.scale.requires_grad_(False)  # the batch norms do for it, at half the time of a step
    head = HeadLayer(source, inputs, "logit", DIGITS)
    return Network((1, 1, size.window), {**nodes, HEAD: head})


def _memories(count: int, shortest: float, longest: float) -> Tensor:
    """Recurrent weights that forget in so many steps, from the shortest to the longest."""
    share = torch.rand(count)
    steps = torch.exp(math.log(shortest) + share * math.log(longest / shortest))
    return torch.exp(-1.0 / steps)
