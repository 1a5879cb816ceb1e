"""The recurrence of an IndRNN layer over a sequence as Triton kernels; imported where that is.

A thread has one channel of one stream and goes through its frames. What a frame needs from memory
does not depend on the frame before it, so it is loaded for ``AHEAD`` frames at once. Sums and
products are rounded one by one, as in torch: none is contracted to a fused one.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 32  # channels of one program: few, so that there are many programs
AHEAD = 8
_OPTIONS: dict[str, Any] = {"num_warps": 1, "enable_fp_fusion": False}


@triton.jit
def _row(tile, rows, k):  # type: ignore[no-untyped-def]
    """Row k of a tile: others add zeros."""
    return tl.sum(tl.where(rows == k, tile, 0.0), axis=0)


@triton.jit  # type: ignore[untyped-decorator]
def _forward(  # type: ignore[no-untyped-def]
    charge, recurrent, threshold, before, states, inside,
    channels, low, high, below,
    FRAMES: tl.constexpr, COUNTS: tl.constexpr, BLOCK: tl.constexpr, AHEAD: tl.constexpr,  # noqa: N803
):  # fmt: skip
    channel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    stream = tl.program_id(1)
    there = channel < channels
    rows = tl.arange(0, AHEAD)[:, None]
    u = tl.load(recurrent + channel, mask=there, other=0.0)
    limit = tl.load(threshold + channel, mask=there, other=2.0)
    half = tl.floor(limit * 0.5)
    state = tl.load(before + stream * channels + channel, mask=there, other=0.0)
    start = stream * FRAMES * channels + channel
    for first in range(0, FRAMES, AHEAD):
        at = start[None, :] + (first + rows) * channels
        tile = tl.load(charge + at, mask=there[None, :] & (first + rows < FRAMES), other=0.0)
        for k in tl.static_range(AHEAD):
            value = _row(tile, rows, k) + u * state
            if COUNTS:
                value = tl.floor(tl.div_rn(value + half, limit))
                passes = (value >= low) & (value <= high)
            else:
                passes = (value > below) & (value <= high)
            state = tl.minimum(tl.maximum(value, low), high)
            now = start + (first + k) * channels
            known = there & (first + k < FRAMES)
            tl.store(states + now, state, mask=known)
            tl.store(inside + now, passes.to(tl.uint8), mask=known)


@triton.jit  # type: ignore[untyped-decorator]
def _backward(  # type: ignore[no-untyped-def]
    grad, recurrent, threshold, before, states, inside, out, grad_recurrent,
    channels,
    FRAMES: tl.constexpr, COUNTS: tl.constexpr, BLOCK: tl.constexpr, AHEAD: tl.constexpr,  # noqa: N803
):  # fmt: skip
    channel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    stream = tl.program_id(1)
    there = channel < channels
    rows = tl.arange(0, AHEAD)[:, None]
    u = tl.load(recurrent + channel, mask=there, other=0.0)
    limit = tl.load(threshold + channel, mask=there, other=2.0)
    initial = tl.load(before + stream * channels + channel, mask=there, other=0.0)
    after, total = u * 0.0, u * 0.0  # of the next frame's charge; of the recurrent weight
    start = stream * FRAMES * channels + channel
    for behind in range(0, FRAMES, AHEAD):
        last = FRAMES - 1 - behind
        at = start[None, :] + (last - rows) * channels
        known = there[None, :] & (last - rows >= 0)
        wanted = tl.load(grad + at, mask=known, other=0.0)
        passes = tl.load(inside + at, mask=known, other=0).to(tl.float32)
        earlier = tl.load(states + at - channels, mask=known & (last - rows > 0), other=0.0)
        earlier += tl.where(last == rows, initial[None, :], 0.0)
        for k in tl.static_range(AHEAD):
            value = _row(wanted, rows, k) + u * after
            after = tl.where(_row(passes, rows, k) > 0.0, value, 0.0)
            if COUNTS:
                after = tl.div_rn(after, limit)
            total += after * _row(earlier, rows, k)
            tl.store(out + start + (last - k) * channels, after, mask=there & (last >= k))
    tl.store(grad_recurrent + stream * channels + channel, total, mask=there)


def forward(
    charge: Tensor,
    recurrent: Tensor,
    before: Tensor,
    threshold: Tensor | None,
    limits: tuple[float, float, float],
) -> tuple[Tensor, Tensor]:
    """All states, and where a gradient passes.

    Args:
        charge: float32 (N, T, channels), contiguous as all here.
        recurrent: (channels,).
        before: (N, channels).
        threshold: (channels,), or None: real activations.
        limits: Least and greatest activation, and what a real charge must be over to pass one.

    Returns:
        float32 and uint8, both as the charge.
    """
    streams, frames, channels = charge.shape
    states = torch.empty_like(charge)
    inside = torch.empty(charge.shape, dtype=torch.uint8, device=charge.device)
    _forward[_grid(channels, streams)](
        charge, recurrent, recurrent if threshold is None else threshold, before, states, inside,
        channels, *limits,
        FRAMES=frames, COUNTS=threshold is not None, BLOCK=BLOCK, AHEAD=AHEAD, **_OPTIONS,
    )  # fmt: skip
    return states, inside


def backward(
    grad: Tensor,
    recurrent: Tensor,
    before: Tensor,
    threshold: Tensor | None,
    states: Tensor,
    inside: Tensor,
) -> tuple[Tensor, Tensor]:
    """Gradients of the charges (N, T, channels), and of the recurrent weights by stream."""
    streams, frames, channels = grad.shape
    out, grad_recurrent = torch.empty_like(grad), torch.empty_like(before)
    _backward[_grid(channels, streams)](
        grad, recurrent, recurrent if threshold is None else threshold, before, states, inside,
        out, grad_recurrent, channels,
        FRAMES=frames, COUNTS=threshold is not None, BLOCK=BLOCK, AHEAD=AHEAD, **_OPTIONS,
    )  # fmt: skip
    return out, grad_recurrent


def _grid(channels: int, streams: int) -> tuple[int, int]:
    return triton.cdiv(channels, BLOCK), streams
