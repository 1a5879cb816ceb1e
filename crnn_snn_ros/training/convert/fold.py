"""Pass 1: fold batch norm into the weights before it, so that scales see what will be deployed."""

from __future__ import annotations

import copy

import torch
from torch import nn

from crnn_snn_ros.training.layers import LinearBranch, NeuronLayer
from crnn_snn_ros.training.network import AnyNetwork, Crnn


@torch.no_grad()
def fold_bn(network: AnyNetwork) -> AnyNetwork:
    """Copy of a network without batch norms that computes the same in eval mode.

    Several branches that charge the same neurons add up their shifts in the one bias.
    """
    folded = copy.deepcopy(network)
    for _, layer in folded.neurons():
        for branch in layer.branches:
            if isinstance(branch, LinearBranch):
                _fold(branch, layer)
    return folded


def without_norm(network: Crnn) -> Crnn:
    """The same network with its batch norms taken away: the form that folded weights load into."""
    for _, layer in network.neurons():
        layer.drop_norms()
    return network


def _fold(branch: LinearBranch, layer: NeuronLayer) -> None:
    norm = branch.norm
    if norm is None:
        return
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    branch.weight.mul_(factor.reshape(-1, *(1,) * (branch.weight.ndim - 1)))
    layer.bias.add_(norm.bias - norm.running_mean * factor)
    branch.norm = None
