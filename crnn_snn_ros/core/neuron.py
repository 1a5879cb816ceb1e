"""Bipolar integrate-and-fire neurons, plain (BIF) and recurrent (RBIF).

Per frame ``V <- B + r, S <- 0``; at each time-step ``V += charge``, a spike s in {-1, 0, +1} is
fired by two half-open tests, ``V -= threshold s`` and ``S += s``. When nothing more arrives,
``S = clip(floor(Q / threshold), n_min, n_max)`` for the total charge Q (arXiv 2408.09403 for the
neurons; README, "The science", for the lemma). Floats here hold integers below 2^24.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class BifParams(NamedTuple):
    """Constants of a layer, broadcastable against (N, channels, ...)."""

    threshold: Tensor
    n_min: int
    n_max: int


class BifState(NamedTuple):
    """State of a layer inside one frame, both (N, channels, ...)."""

    v: Tensor  # membrane potential
    spike_count: Tensor  # spike tracer S


def begin_frame(bias: Tensor, zeros: Tensor, params: BifParams) -> BifState:
    """State before time-step 1: the bias, charged once, and half a threshold for rounding.

    Args:
        bias: (channels, 1...), integers.
        zeros: Zero tensor of the layer's shape (N, channels, ...).
        params: The layer's constants.
    """
    return BifState(zeros + bias + (params.threshold // 2), zeros)


def bif_step(charge: Tensor, state: BifState, params: BifParams) -> tuple[Tensor, BifState]:
    """One time-step of bipolar integrate-and-fire neurons.

    Args:
        charge: What arrived at this step, (N, channels, ...).
        state: State after the step before.
        params: The layer's constants.

    Returns:
        Spikes in {-1, 0, +1}, and the new state.

    Example:
        >>> import torch
        >>> params = BifParams(torch.tensor(4.0), 0, 3)
        >>> state = BifState(torch.tensor([0.0]), torch.tensor([0.0]))
        >>> spike, state = bif_step(torch.tensor([9.0]), state, params)
        >>> spike.item(), state.v.item(), state.spike_count.item()
        (1.0, 5.0, 1.0)
    """
    v = state.v + charge
    rises = (v >= params.threshold) & (state.spike_count < params.n_max)
    falls = (v < 0) & (state.spike_count > params.n_min)
    spike = rises.to(v.dtype) - falls.to(v.dtype)
    return spike, BifState(v - params.threshold * spike, state.spike_count + spike)


def rbif_step(
    charge: Tensor, recurrent_charge: Tensor, state: BifState, params: BifParams
) -> tuple[Tensor, BifState]:
    """One time-step of recurrent neurons: BIF with ``u * s_rec(t)`` as a further charge."""
    return bif_step(charge + recurrent_charge, state, params)


def canonical_spike(count: Tensor, t: int | Tensor) -> Tensor:
    """Recurrent spike at time-step t (from 1): sign(count) for |count| steps, then silence.

    The canonical form of the previous frame's count. Replaying its spike train as it was would be
    lossless too, but its settling time can drift without limit from frame to frame.
    """
    return count.sign() * (count.abs() >= t)


def settled_count(charge: Tensor, threshold: Tensor) -> Tensor:
    """What a layer has counted when nothing is in flight, but for the clip.

    ``floor((Q + r) / threshold)``. The division is exact enough to floor: both are integers below
    2^24, and a quotient that is not whole lies at least 1 / threshold below the next integer, which
    is more than half an ulp.

    Args:
        charge: Q, all that arrived and the bias, integers, (N, channels, ...).
        threshold: Broadcastable against it.

    Example:
        >>> settled_count(torch.tensor([-9.0, 1.0, 2.0, 99.0]), torch.tensor(4.0)).tolist()
        [-2.0, 0.0, 1.0, 25.0]
    """
    return torch.floor((charge + threshold // 2) / threshold)


def would_fire(state: BifState, params: BifParams) -> Tensor:
    """Which neurons would fire at the next step if nothing arrived: bool (N, channels, ...)."""
    spike, _ = bif_step(state.v.new_zeros(()), state, params)
    return spike != 0
