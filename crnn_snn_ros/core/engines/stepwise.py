"""The specification: every time-step of every layer, one after another.

Reads like the equations in ``neuron``; slow and meant to be. All other engines equal it.
"""

from __future__ import annotations

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


class StepwiseEngine(TorchEngine):
    """Time-step by time-step; spikes cross all layers within the same time-step."""

    name = "stepwise"

    def step(
        self, frame: Tensor, carry: Carry, *, num_steps: int | None = None, trace: bool = False
    ) -> tuple[FrameResult, Carry]:
        """See ``Engine.step``."""
        pixels, arriving = self._arrivals(frame, carry)
        limit = self._limit(num_steps)
        sim = _FrameState(self, len(pixels), self._memory(carry), trace)
        settle_steps = torch.zeros(len(pixels), dtype=torch.int64, device=self.device)
        for t in range(1, limit + 1):
            active = sim.time_step(t, pixels, arriving)
            settle_steps[active] = t
            if not active.any():
                break
        settled = carry.exact & sim.quiescent(limit, arriving)
        counts = {name: sim.states[name].spike_count for name in self._recurrent}
        memory = self._remember(frame, carry, limit, sim.states, sim.pooled, sim.heads)
        return sim.result(settle_steps, settled), Carry(counts, settled, memory)


class _FrameState:
    """Everything that lives for one frame."""

    def __init__(
        self, engine: StepwiseEngine, batch: int, memory: Memory | None, trace: bool
    ) -> None:
        self._engine = engine
        self.states: dict[str, BifState] = {}
        self.pooled: dict[str, Tensor] = {}
        self.heads: dict[str, Tensor] = {}
        self._activity: dict[str, Tensor] = {}
        self._trains: dict[str, list[Tensor]] | None = {} if trace else None
        self._recurrent_trains: dict[str, list[Tensor]] = {}
        for node in engine.graph.nodes:
            zeros = engine._zeros(batch, node.name)
            if isinstance(node, Neurons):
                self.states[node.name] = engine._resume(node, zeros, memory)
                self._activity[node.name] = zeros
            elif isinstance(node, MaxPool):
                self.pooled[node.name] = memory.pooled[node.name] if memory else zeros
                self._activity[node.name] = zeros
            elif isinstance(node, Head):
                bias = engine._biases[node.name]
                self.heads[node.name] = memory.heads[node.name] if memory else zeros + bias

    def time_step(self, t: int, pixels: Tensor, carry: Carry) -> Tensor:
        """Advance all layers by one time-step; return which streams were active, bool (N,)."""
        spikes = {INPUT: pixels if t == 1 else torch.zeros_like(pixels)}  # s-analog
        active = torch.zeros(len(pixels), dtype=torch.bool, device=pixels.device)
        for node in self._engine.graph.nodes:
            if isinstance(node, SumPool):
                spikes[node.name] = sum_pool(spikes[node.source], node.kernel)
            elif isinstance(node, MaxPool):
                spikes[node.name] = self._max_pool(node)
                self._record(node.name, spikes[node.name])
            elif isinstance(node, Head):
                self.heads[node.name] = self.heads[node.name] + self._charge(node, spikes)
            else:
                spikes[node.name], pending = self._fire(node, t, self._charge(node, spikes), carry)
                self._record(node.name, spikes[node.name])
                active = active | per_stream(spikes[node.name] != 0) | pending
        return active

    def _fire(self, node: Neurons, t: int, charge: Tensor, carry: Carry) -> tuple[Tensor, Tensor]:
        state, params = self.states[node.name], self._engine._params[node.name]
        if node.recurrent is None:
            spike, self.states[node.name] = bif_step(charge, state, params)
            return spike, per_stream(torch.zeros_like(spike, dtype=torch.bool))
        recurrent_spike = canonical_spike(carry.counts[node.name], t)
        recurrent_charge = self._engine._recurrent[node.name] * recurrent_spike
        spike, self.states[node.name] = rbif_step(charge, recurrent_charge, state, params)
        if self._trains is not None:
            self._recurrent_trains.setdefault(node.name, []).append(recurrent_spike)
        return spike, per_stream(recurrent_spike != 0)

    def _charge(self, node: Neurons | Head, spikes: dict[str, Tensor]) -> Tensor:
        charges = [charge(spikes[source]) for source, charge in self._engine._charges[node.name]]
        return torch.stack(charges).sum(dim=0)

    def _max_pool(self, node: MaxPool) -> Tensor:
        """Pool the tracers and send the difference: in {-1, 0, +1}, exact, without delay."""
        before = self.pooled[node.name]
        source = self.states.get(node.source)
        tracer = source.spike_count if source else self.pooled[node.source]
        now = functional.max_pool2d(tracer, node.kernel, node.stride, node.padding)
        self.pooled[node.name] = now
        return now - before

    def _record(self, name: str, spike: Tensor) -> None:
        self._activity[name] = self._activity[name] + spike.abs()
        if self._trains is not None:
            self._trains.setdefault(name, []).append(spike)

    def quiescent(self, t: int, carry: Carry) -> Tensor:
        """Which streams have no spike to come after time-step t: bool (N,)."""
        busy = torch.zeros_like(carry.exact)
        for name, state in self.states.items():
            busy = busy | per_stream(would_fire(state, self._engine._params[name]))
            if name in carry.counts:
                busy = busy | per_stream(carry.counts[name].abs() > t)
        return ~busy

    def result(self, settle_steps: Tensor, settled: Tensor) -> FrameResult:
        """Gather what the frame led to."""
        counts = {name: state.spike_count for name, state in self.states.items()} | self.pooled
        trace = None
        if self._trains is not None:
            trace = Trace(
                {name: torch.stack(train) for name, train in self._trains.items()},
                {name: torch.stack(train) for name, train in self._recurrent_trains.items()},
                {name: state.v for name, state in self.states.items()},
            )
        return FrameResult(self.heads, counts, self._activity, settle_steps, settled, trace)
