"""Conversion by named passes: fold, CNN-Morph, RNN-Morph (both on integers), bounds, check."""

from __future__ import annotations

from typing import NamedTuple

import torch

from crnn_snn_ros.core.bounds import Bounds, prove
from crnn_snn_ros.core.errors import ConversionError
from crnn_snn_ros.core.graph import Graph
from crnn_snn_ros.core.verify import random_video
from crnn_snn_ros.training.convert import cnn_morph, rnn_morph
from crnn_snn_ros.training.convert.check import count_mismatches
from crnn_snn_ros.training.convert.fold import fold_bn
from crnn_snn_ros.training.layers import NeuronLayer
from crnn_snn_ros.training.network import Network

CHECK_FRAMES = 32


class Conversion(NamedTuple):
    """A proven graph and how it was shown to be the trained network."""

    graph: Graph
    bounds: Bounds
    mismatches: dict[str, int]  # per node, over checked_frames; all zero
    checked_frames: int


def convert(network: Network) -> Conversion:
    """Convert a trained network without loss, or refuse.

    Raises:
        ConversionError: a layer does not fit, a bound cannot be proven, or the graph is not the
            fake-quantized network integer for integer.
    """
    if not network.quantized:
        raise ConversionError("the network is not quantized yet; train its quantized phase first")
    network = fold_bn(network).eval()
    graph = to_graph(network)
    bounds = prove(graph)
    frames = random_video(graph.input_shape, CHECK_FRAMES)
    mismatches = count_mismatches(network, graph, frames)
    for name, count in mismatches.items():
        if count:
            raise ConversionError(
                f"layer '{name}': {count} integers differ from the fake-quantized network"
            )
    return Conversion(graph, bounds, mismatches, CHECK_FRAMES)


@torch.no_grad()
def to_graph(network: Network) -> Graph:
    """Integer graph of a folded, quantized network.

    Raises:
        ConversionError: a layer does not fit its number formats.
    """
    scales = network.scales()
    nodes = tuple(
        rnn_morph.morph(name, layer, scales)
        if isinstance(layer, NeuronLayer) and layer.recurrent is not None
        else cnn_morph.morph(name, layer, scales)
        for name, layer in network.layers()
    )
    return Graph(network.input_shape, nodes)
