"""Fake quantization on exactly the grids of the converted network.

Forward results are integers held in float32, so the fake-quantized network in eval mode is the
QANN; backward is straight-through. One rounding rule everywhere: half up, ``floor(x + 0.5)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from crnn_snn_ros.core.graph import MAX_THRESHOLD, MIN_THRESHOLD
from crnn_snn_ros.core.neuron import settled_count

MAX_WEIGHT = 127


class _RoundHalfUp(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        return torch.floor(x + 0.5)

    @staticmethod
    @once_differentiable
    def backward(_ctx: Any, grad: Tensor) -> Tensor:
        return grad


class _CountSpikes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, charge: Tensor, threshold: Tensor, n_min: int, n_max: int) -> Tensor:
        count = settled_count(charge, threshold)
        ctx.save_for_backward((count >= n_min) & (count <= n_max), threshold)
        return count.clamp(n_min, n_max)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        inside, threshold = ctx.saved_tensors
        return grad * inside / threshold, None, None, None


def round_half_up(x: Tensor) -> Tensor:
    """Round to the nearest integer, ties up; gradient straight through.

    Example:
        >>> round_half_up(torch.tensor([0.5, 1.5, -0.5, 2.4])).tolist()
        [1.0, 2.0, 0.0, 2.0]
    """
    rounded: Tensor = _RoundHalfUp.apply(x)  # type: ignore[no-untyped-call]
    return rounded


def count_spikes(charge: Tensor, threshold: Tensor, n_min: int, n_max: int) -> Tensor:
    """Activation of a layer: ``clip(floor((charge + r) / threshold), n_min, n_max)``.

    ``neuron.settled_count`` with a gradient.

    Args:
        charge: Q, integers, (..., channels, ...).
        threshold: Integers that broadcast against it.
        n_min: Smallest count.
        n_max: Largest count.

    Example:
        >>> count_spikes(torch.tensor([-9.0, 1.0, 2.0, 99.0]), torch.tensor(4.0), 0, 3).tolist()
        [0.0, 0.0, 1.0, 3.0]
    """
    counts: Tensor = _CountSpikes.apply(charge, threshold, n_min, n_max)  # type: ignore[no-untyped-call]
    return counts


def largest_threshold(scale: Tensor, branches: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Largest threshold per channel for which every int8 branch still fits, not yet limited.

    ``floor(min over branches of 127 s_out / (s_src max|W_i|))``.

    Args:
        scale: s_out of the layer, a scalar.
        branches: (float weight (channels, ...), s_src) of every int8 branch.

    Returns:
        (channels,), at most MAX_THRESHOLD; conversion refuses values below MIN_THRESHOLD.
    """
    limit = torch.full_like(branches[0][0].flatten(1)[:, 0], float(MAX_THRESHOLD))
    for weight, source_scale in branches:
        largest = weight.abs().flatten(1).amax(dim=1) * source_scale
        limit = torch.minimum(limit, torch.floor(MAX_WEIGHT * scale / largest))
    return limit.detach()


def to_threshold(limit: Tensor) -> Tensor:
    """Threshold that training uses: the limit, but never below the least allowed one."""
    return limit.clamp(min=float(MIN_THRESHOLD))


def integer_weight(weight: Tensor, source_scale: Tensor, unit: Tensor) -> Tensor:
    """``round(W s_src / unit)`` within int8; ``unit`` (channels,) is the scale of the charge."""
    unit = unit.reshape((-1,) + (1,) * (weight.ndim - 1))
    return round_half_up(weight * (source_scale / unit)).clamp(-MAX_WEIGHT, MAX_WEIGHT)


def best_scale(values: Tensor, n_max: int) -> float:
    """Scale with the least mean squared error for rounding ``values`` to at most n_max steps.

    Args:
        values: Activations of one layer after its nonlinearity, any shape.
        n_max: Largest count.
    """
    top = float(values.abs().max())
    if top == 0.0:
        return 1.0 / n_max
    candidates = [top * fraction / (20 * n_max) for fraction in range(2, 21)]
    return min(candidates, key=lambda scale: _squared_error(values, scale, n_max))


def _squared_error(values: Tensor, scale: float, n_max: int) -> float:
    steps = torch.floor(values / scale + 0.5).clamp(-n_max, n_max)
    return float((steps * scale - values).square().mean())
