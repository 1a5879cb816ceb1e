"""A network in training as it is judged and as it is converted; how fast each part of it learns."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from benchmarks.sequential_mnist.data import frames
from benchmarks.sequential_mnist.model import HEAD, Size
from crnn_snn_ros.training.convert.fold import fold_bn
from crnn_snn_ros.training.layers import NeuronLayer
from crnn_snn_ros.training.network import Network

BATCH = 100  # pictures at once, where nothing is learned


def calibrated(network: Network, size: Size, pixels: Tensor) -> Network:
    """A copy whose batch norms have the statistics of these pictures in it, in eval mode.

    Of averaged weights an average of statistics is not those: a small shift of a charge is added up
    over the whole sequence.
    """
    network = copy.deepcopy(network)
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm1d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # type: ignore[assignment]  # the mean of all batches
    if norms:
        device = next(network.parameters()).device
        network.train()
        with torch.no_grad():
            for part in pixels.split(BATCH):
                network(frames(part.to(device), size.window))
    return network.eval()


def quantize(network: Network) -> Network:
    """The same on the grids of its conversion, not trained there yet."""
    folded = fold_bn(network)
    folded.quantized = True
    return folded


def paces(network: Network) -> list[tuple[nn.Parameter, Tensor]]:
    """Parameters of recurrent neurons, and the share of a step that each of them goes.

    A memory of 1 / (1 - u) frames adds up as often what a step of the optimizer changes: with the
    pace of other neurons the state would jump from limit to limit. While there is a batch norm, the
    weights before it have no size of their own, and go their full step.
    """
    found = []
    for _, layer in network.layers():
        if isinstance(layer, NeuronLayer) and layer.recurrent is not None:
            pace = 1.0 - layer.recurrent.detach().square().clamp(max=0.9999)
            for parameter in layer.parameters():
                if parameter.shape == pace.shape:
                    found.append((parameter, pace))
                elif network.quantized and parameter.ndim > 1:
                    found.append((parameter, pace[:, None]))
    return found


@torch.no_grad()
def predict(network: Network, size: Size, pixels: Tensor) -> Tensor:
    """Digits (N,) after the last step."""
    network.eval()
    device = next(network.parameters()).device
    told = []
    for part in torch.split(pixels, BATCH):
        out = network(frames(part.to(device), size.window)).heads[HEAD][:, -1]
        told.append(out.argmax(dim=1).cpu())
    return torch.cat(told)
