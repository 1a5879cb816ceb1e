"""The neurons of one layer over many time-steps as one Triton kernel; imported where that is.

The arithmetic is that of ``neuron.bif_step`` and ``canonical_spike``, on float32 integers below
2^24: additions, one product with a spike, comparisons. Nothing in it can be contracted or reordered
into another result.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from crnn_snn_ros.core.neuron import BifParams, BifState

BLOCK = 256  # neurons of one program


@triton.jit  # type: ignore[untyped-decorator]
def _kernel(  # type: ignore[no-untyped-def]
    charges, v_in, count_in, threshold, before, recurrent, start, until,
    train, counts, v_out, count_out,
    size, inner, n_min, n_max,
    STEPS: tl.constexpr, RECURRENT: tl.constexpr, BLOCK: tl.constexpr,  # noqa: N803
):  # fmt: skip
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    channel = at // inner
    limit = tl.load(threshold + channel, mask=inside, other=2.0)
    v = tl.load(v_in + at, mask=inside, other=0.0)
    count = tl.load(count_in + at, mask=inside, other=0.0)
    first, last = tl.load(start), tl.load(until)
    pending, sign_charge = v * 0.0, v * 0.0
    if RECURRENT:
        held = tl.load(before + at, mask=inside, other=0.0)
        weight = tl.load(recurrent + channel, mask=inside, other=0.0)
        pending = tl.abs(held)
        sign_charge = tl.where(held < 0.0, -weight, weight)
    for step in range(STEPS):
        now = first + step + 1
        charge = tl.load(charges + step * size + at, mask=inside, other=0.0)
        if RECURRENT:
            charge += tl.where(pending >= now, sign_charge, 0.0)
        runs = now <= last
        moved = v + charge
        rises = (moved >= limit) & (count < n_max) & runs
        falls = (moved < 0.0) & (count > n_min) & runs
        spike = tl.where(rises, 1.0, 0.0) - tl.where(falls, 1.0, 0.0)
        v = tl.where(runs, moved - limit * spike, v)
        count += spike
        tl.store(train + step * size + at, spike, mask=inside)
        tl.store(counts + step * size + at, count, mask=inside)
    tl.store(v_out + at, v, mask=inside)
    tl.store(count_out + at, count, mask=inside)


def scan(
    charges: Tensor,
    state: BifState,
    params: BifParams,
    memory: tuple[Tensor, Tensor] | None,
    start: Tensor,
    until: Tensor,
) -> tuple[Tensor, Tensor, BifState]:
    """Fire a layer of one stream for as many time-steps as there are charges.

    Args:
        charges: (T, ...), contiguous, of as many neurons as the state.
        state: Before the first of them, (1, *shape).
        params: With thresholds (channels, 1...).
        memory: Recurrent counts (1, *shape) and weights (channels, 1...), or None.
        start: Time-steps of the frame that are over, int64 ().
        until: Last time-step of the frame, int64 (); nothing happens after it.

    Returns:
        Spikes and spike counts, both as the charges, and the state after them.
    """
    size = state.v.numel()
    train, counts = torch.empty_like(charges), torch.empty_like(charges)
    v, count = torch.empty_like(state.v), torch.empty_like(state.v)
    before, recurrent = memory or (state.v, params.threshold)  # not read where there is none
    _kernel[(triton.cdiv(size, BLOCK),)](
        charges, state.v.contiguous(), state.spike_count.contiguous(), params.threshold,
        before.contiguous(), recurrent, start, until, train, counts, v, count,
        size, size // params.threshold.numel(), params.n_min, params.n_max,
        STEPS=len(charges), RECURRENT=memory is not None, BLOCK=BLOCK,
    )  # fmt: skip
    return train, counts, BifState(v, count)
