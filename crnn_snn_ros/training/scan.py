"""The recurrence of an IndRNN layer over a whole sequence: ``h_n = f(charge_n + u h_{n-1})``.

Elementwise, so that all charges can be had from one matrix product before it; but not linear, so
that no associative scan computes it. It is one pass forward and one backward: in C++ on a CPU (the
library is compiled when the package is installed, if there is a compiler), as a Triton kernel on
CUDA. Elsewhere it is torch, frame by frame. All give the same activations bit for bit.
"""

from __future__ import annotations

import ctypes
import math
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from crnn_snn_ros.training.quantize import count_spikes

LIBRARY = "crnn_snn_ros.training._scan"
FEW_THREADS = 4  # the library has one: where torch has more than these, its passes share them


class Activation(NamedTuple):
    """The f of a layer: real, where there is no threshold, or a count of spikes.

    Real, it is ReLU or a clip; as a count, ``quantize.count_spikes``.
    """

    low: float
    high: float
    threshold: Tensor | None = None  # (channels, 1...), integers; None: real activations

    def __call__(self, charge: Tensor) -> Tensor:
        """Activations of charges (..., channels, ...)."""
        if self.threshold is not None:
            return count_spikes(charge, self.threshold, int(self.low), int(self.high))
        return charge.relu() if math.isinf(self.high) else charge.clamp(self.low, self.high)

    def below(self) -> float:
        """A real charge passes a gradient if it is over this: ReLU has none at 0, a clip has."""
        if math.isinf(self.high):
            return self.low
        return float(np.nextafter(np.float32(self.low), np.float32(-np.inf)))


RELU, CLIP = Activation(0.0, math.inf), Activation(-1.0, 1.0)


def scan(
    charge: Tensor, recurrent: Tensor, before: Tensor | None, activation: Activation
) -> Tensor:
    """Activations of all frames, by the fastest way that there is here.

    Args:
        charge: (N, T, channels), without the recurrent part.
        recurrent: u, (channels,).
        before: Activations of the frame before the first, (N, channels); None for zero.
        activation: f.

    Returns:
        (N, T, channels), with gradients to charge, recurrent and before.
    """
    state = torch.zeros_like(charge[:, 0]) if before is None else before
    way = _way(charge, state)
    if way is not None:
        fused: Tensor = way.apply(charge, recurrent, state, activation)  # type: ignore[no-untyped-call]
        return fused
    return frame_by_frame(charge, recurrent, state, activation)


def frame_by_frame(
    charge: Tensor, recurrent: Tensor, state: Tensor, activation: Activation
) -> Tensor:
    """``scan`` in torch operations: its specification."""
    states = []
    for n in range(charge.shape[1]):
        state = activation(charge[:, n] + recurrent * state)
        states.append(state)
    return torch.stack(states, dim=1)


def memoryless(charge: Tensor, activation: Activation) -> Tensor:
    """Activations (N, T, channels, ...) of what is not linked to anything before it.

    Counts take torch eight passes over them, and a scan with recurrent weights of zero one: over
    all places of all frames one after another, with their channels side by side.
    """
    rows = charge.movedim(2, -1)
    flat = rows.reshape(1, -1, rows.shape[-1])
    few = torch.get_num_threads() <= FEW_THREADS
    if activation.threshold is None or not few or _way(flat, flat) is not _Scan:
        return activation(charge)
    counts = scan(flat, torch.zeros_like(flat[0, 0]), None, activation)
    return counts.reshape(rows.shape).movedim(-1, 2)


class _ScanStruct(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("streams", "frames", "channels")),
        *((name, ctypes.c_void_p) for name in ("recurrent", "threshold")),
        *((name, ctypes.c_float) for name in ("low", "high", "below")),
    )


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL | None:
    """The library, or None where it was not built."""
    spec = find_spec(LIBRARY)
    if spec is None or spec.origin is None:
        return None
    library = ctypes.CDLL(spec.origin)
    for name, pointers in (("scan_forward", 5), ("scan_backward", 8)):
        function = getattr(library, name)
        function.argtypes, function.restype = [ctypes.c_void_p] * pointers, None
    return library


@lru_cache(maxsize=1)
def _kernels() -> ModuleType | None:
    """The kernels, where Triton is installed, as it is with PyTorch for CUDA."""
    try:
        return import_module("crnn_snn_ros.training.scan_kernels")
    except ImportError:
        return None


def _way(charge: Tensor, state: Tensor) -> type[_Scan | _CudaScan] | None:
    """What can take these, but for torch."""
    if charge.ndim != 3 or not charge.dtype == state.dtype == torch.float32:
        return None
    if charge.device.type == "cuda":
        return _CudaScan if _kernels() is not None else None
    return _Scan if charge.device.type == "cpu" and _library() is not None else None


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, charge: Tensor, recurrent: Tensor, before: Tensor, activation: Activation
    ) -> Tensor:
        charge, recurrent, before = (x.contiguous() for x in (charge, recurrent, before))
        states = torch.empty_like(charge)
        inside = torch.empty(charge.shape, dtype=torch.uint8)
        struct, _kept = _struct(charge, recurrent, activation)
        library = _library()
        assert library is not None
        library.scan_forward(
            ctypes.addressof(struct), *(x.data_ptr() for x in (charge, before, states, inside))
        )
        ctx.activation = activation
        ctx.save_for_backward(recurrent, before, states, inside)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        recurrent, before, states, inside = ctx.saved_tensors
        grad = grad.contiguous()
        out, zeros = torch.empty_like(grad), torch.zeros_like(recurrent)
        grad_recurrent = torch.zeros_like(before)
        struct, _kept = _struct(grad, recurrent, ctx.activation)
        library = _library()
        assert library is not None
        library.scan_backward(
            ctypes.addressof(struct),
            *(x.data_ptr() for x in (grad, before, states, inside, zeros, out, grad_recurrent)),
        )
        return out, grad_recurrent.sum(dim=0), recurrent * out[:, 0], None


class _CudaScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, charge: Tensor, recurrent: Tensor, before: Tensor, activation: Activation
    ) -> Tensor:
        kernels = _kernels()
        assert kernels is not None
        charge, recurrent, before = (x.contiguous() for x in (charge, recurrent, before))
        threshold = _flat(activation.threshold)
        limits = activation.low, activation.high, activation.below()
        states, inside = kernels.forward(charge, recurrent, before, threshold, limits)
        ctx.counts = threshold is not None
        ctx.save_for_backward(
            recurrent, before, recurrent if threshold is None else threshold, states, inside
        )
        return states  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        kernels = _kernels()
        assert kernels is not None
        recurrent, before, threshold, states, inside = ctx.saved_tensors
        out, grad_recurrent = kernels.backward(
            grad.contiguous(), recurrent, before, threshold if ctx.counts else None, states, inside
        )
        return out, grad_recurrent.sum(dim=0), recurrent * out[:, 0], None


def _flat(threshold: Tensor | None) -> Tensor | None:
    return None if threshold is None else threshold.detach().flatten().contiguous()


def _struct(
    charge: Tensor, recurrent: Tensor, activation: Activation
) -> tuple[_ScanStruct, Tensor | None]:
    """What the library is told, and what must live as long as it runs."""
    threshold = _flat(activation.threshold)
    struct = _ScanStruct(
        *charge.shape,
        recurrent.data_ptr(),
        None if threshold is None else threshold.data_ptr(),
        activation.low,
        activation.high,
        activation.below(),
    )
    return struct, threshold
