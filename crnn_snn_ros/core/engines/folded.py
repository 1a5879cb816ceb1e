"""Layer by layer, with the time-steps of a spike train folded into the batch.

A layer sees the whole spike train of its sources at once: its synapses run once over (T * N, ...),
and only its neurons are scanned over time. Trains end with their last spike, so that a quiet layer
costs its neighbours nothing. Spikes cross layers within the same time-step, which makes the order
layer-then-time equal to time-then-layer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from crnn_snn_ros.core.engines.base import (
    Carry,
    FrameResult,
    Memory,
    TorchEngine,
    Trace,
    per_stream,
    sum_pool,
)
from crnn_snn_ros.core.graph import INPUT, Head, MaxPool, Neurons, SumPool
from crnn_snn_ros.core.neuron import (
    BifState,
    bif_step,
    canonical_spike,
    rbif_step,
    would_fire,
)


class FoldedEngine(TorchEngine):
    """Runs on any torch device."""

    name = "folded"

    def step(
        self, frame: Tensor, carry: Carry, *, num_steps: int | None = None, trace: bool = False
    ) -> tuple[FrameResult, Carry]:
        """See ``Engine.step``."""
        pixels, arriving = self._arrivals(frame, carry)
        memory = self._memory(carry)
        limit = self._limit(num_steps)
        trains = {INPUT: pixels.unsqueeze(0)}  # s-analog: a train of one time-step
        heads: dict[str, Tensor] = {}
        states: dict[str, BifState] = {}
        settle_steps = torch.zeros(len(pixels), dtype=torch.int64, device=self.device)
        busy = torch.zeros_like(carry.exact)
        for node in self.graph.nodes:
            if isinstance(node, SumPool):
                pool = partial(sum_pool, kernel=node.kernel)
                trains[node.name] = each_step(trains[node.source], pool)
            elif isinstance(node, MaxPool):
                trains[node.name] = _max_pool(trains[node.source], node, memory)
            elif isinstance(node, Head):
                heads[node.name] = self._accumulate(node, trains, memory)
            else:
                before = arriving.counts.get(node.name)
                train, state = self._scan(node, trains, before, limit, memory)
                trains[node.name], states[node.name] = train, state
                settle_steps = torch.maximum(settle_steps, _last_activity(train, before, limit))
                busy = busy | per_stream(would_fire(state, self._params[node.name]))
                if before is not None:
                    busy = busy | per_stream(before.abs() > limit)
        settled = carry.exact & ~busy
        firing = {node.name for node in self.graph.nodes if isinstance(node, Neurons | MaxPool)}
        fired = {name: train for name, train in trains.items() if name in firing}
        counts = {name: _count(name, train, memory) for name, train in fired.items()}
        result = FrameResult(
            heads,
            counts,
            {name: train.abs().sum(dim=0) for name, train in fired.items()},
            settle_steps,
            settled,
            make_trace(fired, states, arriving, limit) if trace else None,
        )
        pooled = {name: counts[name] for name in fired if name not in states}
        kept = self._remember(frame, carry, limit, states, pooled, heads)
        counts = {name: states[name].spike_count for name in self._recurrent}
        return result, Carry(counts, settled, kept)

    def _accumulate(self, node: Head, trains: dict[str, Tensor], memory: Memory | None) -> Tensor:
        """A head only sums, so it may sum the spikes before the weights: exact in integers."""
        charges = [charge(trains[source].sum(dim=0)) for source, charge in self._charges[node.name]]
        start = memory.heads[node.name] if memory else self._biases[node.name]
        return torch.stack(charges).sum(dim=0) + start

    def _charge_train(self, node: Neurons, trains: dict[str, Tensor]) -> Tensor:
        """Charge at every time-step until the last source is silent: (T, N, *shape)."""
        synapses = self._charges[node.name]
        length = max(len(trains[source]) for source, _ in synapses)
        batch = trains[INPUT].shape[1]
        total = torch.zeros(
            length, batch, *self.shapes[node.name], dtype=torch.float32, device=self.device
        )
        for source, charge in synapses:
            train = trains[source]
            total[: len(train)] += each_step(train, charge)
        return total

    def _scan(
        self,
        node: Neurons,
        trains: dict[str, Tensor],
        before: Tensor | None,
        limit: int,
        memory: Memory | None,
    ) -> tuple[Tensor, BifState]:
        """Fire a layer's whole train: (T, N, *shape) with T its last spike (at least 1)."""
        charges = self._charge_train(node, trains)
        params, silence = self._params[node.name], torch.zeros_like(charges[0])
        state = self._resume(node, silence, memory)
        last_arrival = max(len(charges), 0 if before is None else int(before.abs().max()))
        train = []
        for t in range(1, limit + 1):
            charge = charges[t - 1] if t <= len(charges) else silence
            if before is None:
                spike, state = bif_step(charge, state, params)
            else:
                recurrent_charge = self._recurrent[node.name] * canonical_spike(before, t)
                spike, state = rbif_step(charge, recurrent_charge, state, params)
            train.append(spike)
            if t >= last_arrival and not spike.any():
                break
        return _trim(torch.stack(train)), state


def _trim(train: Tensor) -> Tensor:
    """Cut the silence after the last spike of any stream."""
    steps = train.flatten(1).any(dim=1).nonzero()
    return train[: int(steps[-1]) + 1 if len(steps) else 1]


def each_step(train: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a function of (N, ...) to every time-step of (T, N, ...) in one call."""
    out = function(train.flatten(0, 1))
    return out.reshape(*train.shape[:2], *out.shape[1:])


def _max_pool(train: Tensor, node: MaxPool, memory: Memory | None) -> Tensor:
    """Pool the tracers and send the difference: in {-1, 0, +1}, exact, without delay."""

    def pool(tracers: Tensor) -> Tensor:
        return functional.max_pool2d(tracers, node.kernel, node.stride, node.padding)

    tracers = train.cumsum(dim=0)
    if memory is not None:
        tracers = tracers + _kept(node.source, memory)
    pooled = each_step(tracers, pool)
    start = memory.pooled[node.name] if memory else torch.zeros_like(pooled[0])
    return pooled.diff(dim=0, prepend=start.unsqueeze(0))


def _kept(name: str, memory: Memory) -> Tensor:
    """Count of a layer or a max-pool at the end of the frame before."""
    return memory.neurons[name].spike_count if name in memory.neurons else memory.pooled[name]


def _count(name: str, train: Tensor, memory: Memory | None) -> Tensor:
    """Count of a layer or a max-pool at the end of its train."""
    fired = train.sum(dim=0)
    return fired if memory is None else fired + _kept(name, memory)


def _last_activity(train: Tensor, before: Tensor | None, limit: int) -> Tensor:
    """Last time-step with a spike fired or a recurrent one delivered, per stream: int64 (N,)."""
    fired = train.flatten(2).any(dim=2)  # (T, N)
    steps = torch.arange(1, len(train) + 1, device=train.device).unsqueeze(1)
    last = (fired * steps).amax(dim=0)
    if before is None:
        return last
    pending = before.flatten(1).abs().amax(dim=1).clamp(max=limit).to(torch.int64)
    return torch.maximum(last, pending)


def make_trace(
    fired: dict[str, Tensor], states: dict[str, BifState], carry: Carry, limit: int
) -> Trace:
    """Spike trains of equal length, and the recurrent spikes as they were injected."""
    length = max(len(train) for train in fired.values())
    padded = {
        name: torch.cat([train, train.new_zeros(length - len(train), *train.shape[1:])])
        for name, train in fired.items()
    }
    recurrent = {}
    for name, count in carry.counts.items():
        steps = range(1, min(limit, max(1, int(count.abs().max()))) + 1)
        recurrent[name] = torch.stack([canonical_spike(count, t) for t in steps])
    return Trace(padded, recurrent, {name: state.v for name, state in states.items()})
