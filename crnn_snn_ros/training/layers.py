"""Layers of the network before conversion, in float and in the integers that they will have.

Sequences are (N, T, ...): N streams of T frames. Float activations are real numbers; quantized ones
are spike counts, and a layer's ``scale`` is the real value of one count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from crnn_snn_ros.training.quantize import (
    MAX_WEIGHT,
    integer_weight,
    largest_threshold,
    round_half_up,
    to_threshold,
)
from crnn_snn_ros.training.scan import CLIP, RELU, Activation, memoryless, scan

Values = Mapping[str, Tensor]  # activations by node, (N, T, ...)
Scales = Mapping[str, Tensor]  # real value of one count by node, scalars
SLOW = 0.02  # momentum of statistics over neighbouring frames, which are near-copies


class LayerIntegers(NamedTuple):
    """Integer parameters of one layer, as float32 tensors that carry gradients."""

    weights: list[Tensor]  # one per branch
    bias: Tensor  # (channels,)
    threshold: Tensor  # (channels,)
    recurrent: Tensor | None  # (channels,)


class HeadIntegers(NamedTuple):
    """Integer parameters of a head."""

    weight: Tensor  # (outputs, inputs)
    bias: Tensor  # (outputs,)
    scale: Tensor  # unit of the head per unit of charge, scalar


class LinearBranch(nn.Module):
    """Dense synapse: int8 once converted.

    A batch norm, until ``convert.fold`` folds it into weight and bias, keeps the charge where the
    neurons answer to it: without one, most of a clipped recurrent layer is driven into its limits
    early in training, and learns nothing more.

    Args:
        source: Node that charges it.
        weight: (outputs, inputs), initial values.
        spread: (outputs,) standard deviations of the charge to begin with.
    """

    norm: nn.Module | None

    def __init__(self, source: str, weight: Tensor, spread: Tensor | None = None) -> None:
        super().__init__()
        self.source = source
        self.weight = nn.Parameter(weight)
        self.norm = self._new_norm(len(weight))
        if spread is not None:
            self.norm.weight.data.copy_(spread)

    def _new_norm(self, channels: int) -> nn.BatchNorm1d | nn.BatchNorm2d:
        return nn.BatchNorm1d(channels, momentum=SLOW)

    def deliver(self, x: Tensor, weight: Tensor) -> Tensor:
        """Charge (M, *target) of activations (M, *source) through the given weight."""
        return functional.linear(x.flatten(1), weight)

    def float_charge(self, x: Tensor) -> Tensor:
        """Charge through the float weight, normalised while there is a batch norm."""
        charge = self.deliver(x, self.weight)
        return charge if self.norm is None else self.norm(charge)


class ConvBranch(LinearBranch):
    """Convolution; else as ``LinearBranch``."""

    def __init__(self, source: str, weight: Tensor, stride: int, padding: int) -> None:
        super().__init__(source, weight)
        self.stride, self.padding = stride, padding

    def _new_norm(self, channels: int) -> nn.BatchNorm1d | nn.BatchNorm2d:
        return nn.BatchNorm2d(channels)

    def deliver(self, x: Tensor, weight: Tensor) -> Tensor:
        """See ``LinearBranch``."""
        return functional.conv2d(x, weight, stride=self.stride, padding=self.padding)


class IdentityBranch(nn.Module):
    """Residual shortcut without a weight; an int32 per channel once converted."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source

    def deliver(self, x: Tensor, weight: Tensor) -> Tensor:
        """Charge (M, *source) through one weight per channel."""
        return x * weight.reshape(-1, *(1,) * (x.ndim - 2))

    def float_charge(self, x: Tensor) -> Tensor:
        """The source itself."""
        return x


Branch = LinearBranch | IdentityBranch


class NeuronLayer(nn.Module):
    """Neurons charged by any number of branches; recurrent (IndRNN) where asked.

    ``h_n = f(W x_n + b + u h_{n-1})``. Float: f is ReLU, or a clip to [-1, 1] where signed.
    Quantized: the same on integers, with ``count_spikes``, exactly as the converted layer.

    Attributes:
        on_integers: Whether the layer computes with the integers of the conversion already while
            its network is float, by a scale and weights that learn, without batch norm.
        rounds: Whether float activations are put on the grid of counts, weights left as they are: a
            layer with long memory then learns early what rounding does to it in every frame.
    """

    on_integers = False
    rounds = False
    _frozen: LayerIntegers | None = None

    def __init__(
        self,
        branches: list[Branch],
        channels: int,
        n_max: int,
        *,
        signed: bool = False,
        recurrent: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.scale = nn.Parameter(torch.tensor(1.0 / n_max))
        self.n_min, self.n_max = (-n_max if signed else 0), n_max
        self.recurrent = None if recurrent is None else nn.Parameter(recurrent)

    def output_scale(self) -> Tensor:
        """Real value of one count, kept positive."""
        return self.scale.clamp(min=1e-6)

    def forward_float(self, values: Values, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """Real activations (N, T, ...), and those of the last frame.

        Args:
            values: Real activations of the sources.
            before: Activations of the frame before the first, (N, ...); None for zero.
        """
        delivers = [(branch.source, branch.float_charge) for branch in self.typed_branches()]
        charge = _charge(values, delivers, self.bias)
        if self.rounds:
            return self._rounded(charge, before)
        return _activate(charge, self.recurrent, before, CLIP if self.n_min < 0 else RELU)

    def _rounded(self, charge: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """Real charges to real activations, all of them whole counts."""
        scale = self.output_scale()
        unit, threshold = scale / 2.0, torch.full_like(self.bias, 2.0)  # so that half is whole
        recurrent = None if self.recurrent is None else self.recurrent * threshold
        activation = Activation(
            self.n_min, self.n_max, threshold.reshape(-1, *(1,) * (charge.ndim - 3))
        )
        carried = None if before is None else before / scale
        counts, last = _activate(charge / unit, recurrent, carried, activation)
        return counts * scale, last * scale

    def forward_counts(
        self, counts: Values, scales: Scales, before: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Spike counts (N, T, ...), and those of the last frame; else as ``forward_float``."""
        integers = self.integers(scales)
        delivers = [
            (branch.source, partial(branch.deliver, weight=weight))
            for branch, weight in zip(self.typed_branches(), integers.weights, strict=True)
        ]
        charge = _charge(counts, delivers, integers.bias)
        threshold = integers.threshold.reshape(-1, *(1,) * (charge.ndim - 3))
        activation = Activation(self.n_min, self.n_max, threshold)
        return _activate(charge, integers.recurrent, before, activation)

    def forward_on_integers(
        self, counts: Values, scales: Scales, before: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The counts of ``forward_counts``; what is carried over is the real value of the last."""
        scale = self.output_scale()
        carried = None if before is None else to_counts(before, scale)
        found, last = self.forward_counts(counts, scales, carried)
        return found, last * scale

    def drop_norms(self) -> None:
        """Take the batch norms away, as when they have been folded into the weights."""
        for branch in self.branches:
            if isinstance(branch, LinearBranch):
                branch.norm = None

    def threshold_limit(self, scales: Scales) -> Tensor:
        """Largest threshold per channel with which every weight fits into int8: (channels,)."""
        weights = [
            (branch.weight, scales[branch.source])
            for branch in self.typed_branches()
            if isinstance(branch, LinearBranch)
        ]
        return largest_threshold(self.output_scale(), weights)

    def integers(self, scales: Scales) -> LayerIntegers:
        """Parameters on the integer grid; ``scales`` are those of the sources."""
        if self._frozen is not None:
            return self._frozen
        threshold = to_threshold(self.threshold_limit(scales))
        unit = self.output_scale() / threshold  # real value of one unit of charge
        weights = [
            integer_weight(branch.weight, scales[branch.source], unit)
            if isinstance(branch, LinearBranch)
            else round_half_up(scales[branch.source] / unit)
            for branch in self.typed_branches()
        ]
        recurrent = None
        if self.recurrent is not None:
            recurrent = round_half_up(self.recurrent * threshold)
        return LayerIntegers(weights, round_half_up(self.bias / unit), threshold, recurrent)

    def freeze(self, scales: Scales) -> None:
        """Compute the integers once and for all: for a layer that has done with learning."""
        self._frozen = self.integers(scales)

    @property
    def sources(self) -> frozenset[str]:
        """Nodes that charge it."""
        return frozenset(branch.source for branch in self.typed_branches())

    def typed_branches(self) -> list[Branch]:
        """The branches, in order."""
        return [b for b in self.branches if isinstance(b, LinearBranch | IdentityBranch)]


class HeadLayer(nn.Module):
    """Outputs that never fire, starting at zero: an unknown answer until it is trained."""

    def __init__(self, source: str, inputs: int, kind: str, outputs: int = 1) -> None:
        super().__init__()
        self.source, self.kind = source, kind
        self.weight = nn.Parameter(torch.zeros(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward_float(self, values: Values) -> Tensor:
        """Real output (N, T, outputs)."""
        return functional.linear(values[self.source].flatten(2), self.weight, self.bias)

    def forward_counts(self, counts: Values, scales: Scales) -> tuple[Tensor, Tensor]:
        """Accumulators (N, T, outputs), integers, and the real output, the same times the scale."""
        integers = self.integers(scales)
        charge = functional.linear(counts[self.source].flatten(2), integers.weight, integers.bias)
        return charge, charge * integers.scale

    def integers(self, scales: Scales) -> HeadIntegers:
        """Parameters on the head's own grid, its weights filling int8."""
        source_scale = scales[self.source]
        largest = (self.weight.abs().max() * source_scale).clamp(min=1e-6)
        scale = torch.maximum(largest / MAX_WEIGHT, self.bias.abs().max() / 2**20).detach()
        weight = integer_weight(self.weight, source_scale, scale.expand(1))
        return HeadIntegers(weight, round_half_up(self.bias / scale), scale)


class MaxPoolLayer(nn.Module):
    """Maximum over windows, of real activations and of counts alike."""

    def __init__(self, source: str, kernel: int, stride: int, padding: int) -> None:
        super().__init__()
        self.source = source
        self.kernel, self.stride, self.padding = kernel, stride, padding

    def forward(self, values: Tensor, *, counts: bool) -> Tensor:
        """Pool (M, C, H, W)."""
        del counts  # a maximum of counts is one
        return functional.max_pool2d(values, self.kernel, self.stride, self.padding)


class SumPoolLayer(nn.Module):
    """Average pool in float; in counts the sum, with 1 / area in the scale of what follows."""

    def __init__(self, source: str, kernel: tuple[int, int]) -> None:
        super().__init__()
        self.source, self.kernel = source, kernel
        self.area = kernel[0] * kernel[1]

    def forward(self, values: Tensor, *, counts: bool) -> Tensor:
        """Pool (M, C, H, W) with non-overlapping windows."""
        divisor = 1 if counts else self.area
        return functional.avg_pool2d(values, self.kernel, divisor_override=divisor)


def each_frame(function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """Apply a function of (M, ...) to all frames of (N, T, ...) at once."""
    out = function(values.flatten(0, 1))
    return out.reshape(*values.shape[:2], *out.shape[1:])


def to_counts(values: Tensor, scale: Tensor) -> Tensor:
    """Counts of real activations, which are some: the rounding error of the division is cut off.

    The gradient goes through.
    """
    almost = values / scale
    return almost + (almost.round() - almost).detach()


def _charge(
    values: Values, delivers: Sequence[tuple[str, Callable[[Tensor], Tensor]]], bias: Tensor
) -> Tensor:
    parts = [each_frame(deliver, values[source]) for source, deliver in delivers]
    return sum(parts[1:], parts[0]) + bias.reshape(-1, *(1,) * (parts[0].ndim - 3))


def _activate(
    charge: Tensor, recurrent: Tensor | None, before: Tensor | None, activation: Activation
) -> tuple[Tensor, Tensor]:
    """Activate all frames: at once, or one after another where a recurrent weight links them."""
    if recurrent is None:
        activations = memoryless(charge, activation)
    else:
        activations = scan(charge, recurrent, before, activation)
    return activations, activations[:, -1]
