"""Layer by layer as in ``folded``, a fixed number of time-steps at once: a chunk of a frame.

A chunk is one function of tensors without decisions, which a subclass makes fast; whether another
one is needed is asked between them. Streams run one by one, so that in a chunk the first dimension
is time.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from crnn_snn_ros.core.engines.base import Carry, FrameResult, TorchEngine, sum_pool
from crnn_snn_ros.core.engines.folded import make_trace
from crnn_snn_ros.core.graph import INPUT, Graph, Head, MaxPool, Neurons, SumPool
from crnn_snn_ros.core.neuron import (
    BifState,
    begin_frame,
    bif_step,
    canonical_spike,
    rbif_step,
    would_fire,
)

CHUNK = 16  # time-steps at a time: most frames settle within one chunk


class State(NamedTuple):
    """Of one stream between chunks, by layer, (1, *shape) each."""

    neurons: dict[str, BifState]
    pooled: dict[str, Tensor]  # largest counts so far, of max-pools
    heads: dict[str, Tensor]
    activity: dict[str, Tensor]


class Chunk(NamedTuple):
    """What one chunk leads to."""

    state: State
    trains: dict[str, Tensor]  # of neurons and max-pools, (T, *shape)
    last: Tensor  # last time-step, from 1 in this chunk, at which a neuron fired; 0 if none: ()


class _Frame(NamedTuple):
    """Of one stream at the end of a frame."""

    state: State
    trains: list[dict[str, Tensor]]  # of each chunk
    last: int  # last time-step with a spike, or a recurrent one pending, even after the limit
    busy: bool


Example = tuple[Tensor, dict[str, Tensor], State, Tensor, Tensor]
Advance = Callable[[Tensor, dict[str, Tensor], State, Tensor, Tensor], Chunk]


class ChunkedEngine(TorchEngine):
    """What the engines share that run a frame chunk by chunk.

    Args:
        graph: The integer network.
        device: Of all tensors.
        chunk: Time-steps at a time; of no effect on any result.

    Raises:
        ConfigError: it cannot be made here.
        ConversionError: the graph cannot be proven.
    """

    layout: ClassVar[torch.memory_format]
    kept: ClassVar[torch.dtype]  # of spike trains and of counts, integers up to MAX_COUNT

    def __init__(self, graph: Graph, device: str | torch.device, chunk: int) -> None:
        super().__init__(graph, device)
        self._length = min(chunk, self.bounds.settling_steps)
        with plain_tensors():
            self._fresh = self._begin()
            self._advance = self._make_advance()

    @abstractmethod
    def _make_advance(self) -> Advance:
        """``_chunk``, made fast; what it is given it must leave as it is."""

    def _example(self) -> Example:
        """Arguments of ``_chunk``, no tensor twice, which nothing else refers to."""
        now = torch.zeros((), dtype=torch.int64, device=self.device)
        pixels = torch.zeros(1, *self.graph.input_shape, device=self.device)
        return pixels, self.initial_carry().counts, self._begin(), now, now + 2 * self._length

    def step(
        self, frame: Tensor, carry: Carry, *, num_steps: int | None = None, trace: bool = False
    ) -> tuple[FrameResult, Carry]:
        """See ``Engine.step``."""
        self._check(frame, carry)
        limit = self._limit(num_steps)
        with plain_tensors():
            frames = [
                self._run(
                    self._copy(one),
                    {name: self._copy(counts[n : n + 1]) for name, counts in carry.counts.items()},
                    limit,
                )
                for n, one in enumerate(torch.split(frame, 1))
            ]
        settle_steps = torch.tensor([frame.last for frame in frames], device=self.device)
        busy = torch.tensor([frame.busy for frame in frames], device=self.device)
        state = _side_by_side([frame.state for frame in frames])
        settled = carry.exact & ~busy
        counts = {
            node.name: state.neurons[node.name].spike_count
            if isinstance(node, Neurons)
            else state.pooled[node.name]
            for node in self.graph.nodes
            if isinstance(node, Neurons | MaxPool)
        }
        kept = make_trace(_trains(frames), state.neurons, carry, limit) if trace else None
        result = FrameResult(
            state.heads, counts, state.activity, settle_steps.clamp(max=limit), settled, kept
        )
        return result, Carry({name: counts[name] for name in self._recurrent}, settled)

    def _laid(self, values: Tensor) -> Tensor:
        """The same values in the layout of this engine, as compiled code wants them every time."""
        return values.contiguous(
            memory_format=self.layout if values.ndim == 4 else torch.contiguous_format
        )

    def _copy(self, values: Tensor) -> Tensor:
        """Of one kind only, whatever was given: another kind would be compiled for anew."""
        copy = torch.empty(values.shape, dtype=torch.float32, device=self.device)
        return copy.copy_(values)

    def _run(self, pixels: Tensor, before: dict[str, Tensor], limit: int) -> _Frame:
        """One frame of one stream, chunk by chunk until nothing is in flight."""
        last = max((int(count.abs().max()) for count in before.values()), default=0)
        state, trains, end = self._fresh, [], 0
        while end == 0 or (last >= end and end < limit):
            start, until = (torch.tensor(t, device=self.device) for t in (end, limit))
            chunk = self._advance(pixels, before, state, start, until)
            pixels, state = torch.zeros_like(pixels), chunk.state  # s-analog
            trains.append(chunk.trains)
            fired = int(chunk.last)
            last, end = max(last, end + fired if fired else 0), end + self._length
        return _Frame(state, trains, last, last > limit or (last == limit and self._fires(state)))

    def _fires(self, state: State) -> bool:
        """Whether a neuron would, at the next time-step."""
        return any(
            bool(would_fire(layer, self._params[name]).any())
            for name, layer in state.neurons.items()
        )

    def _begin(self) -> State:
        neurons, pooled, heads = {}, {}, {}
        for node in self.graph.nodes:
            zeros = self._zeros(1, node.name)
            if isinstance(node, Neurons):
                bias, params = self._biases[node.name], self._params[node.name]
                fresh = begin_frame(bias, zeros, params)
                neurons[node.name] = BifState(self._laid(fresh.v), self._laid(fresh.spike_count))
            elif isinstance(node, MaxPool):
                pooled[node.name] = self._laid(zeros)
            elif isinstance(node, Head):
                heads[node.name] = zeros + self._biases[node.name]
        # No tensor twice: a function is compiled anew where two of its arguments are the same one
        # and later are not.
        activity = {name: self._laid(self._zeros(1, name)) for name in (*neurons, *pooled)}
        return State(neurons, pooled, heads, activity)

    def _chunk(
        self, pixels: Tensor, before: dict[str, Tensor], state: State, start: Tensor, until: Tensor
    ) -> Chunk:
        """Time-steps start + 1 to start + length, of which those after ``until`` do nothing."""
        trains: dict[str, Tensor] = {INPUT: pixels}
        tracers: dict[str, Tensor] = {}
        neurons, pooled, heads, activity = {}, {}, {}, {}
        last = torch.zeros((), device=self.device)
        for node in self.graph.nodes:
            name = node.name
            if isinstance(node, SumPool):
                trains[name] = sum_pool(trains[node.source].float(), node.kernel)
            elif isinstance(node, Head):
                heads[name] = state.heads[name] + self._sum(node, trains)
            elif isinstance(node, MaxPool):
                tracers[name] = _largest(tracers[node.source], node)
                trains[name] = tracers[name].diff(dim=0, prepend=state.pooled[name].to(self.kept))
                pooled[name] = self._laid(tracers[name][-1:].float())
            else:
                trains[name], tracers[name], neurons[name] = self._scan(
                    node, trains, before.get(name), state.neurons[name], start, until
                )
        for name in state.activity:
            fired = trains[name].float().abs()
            activity[name] = self._laid(state.activity[name] + fired.sum(dim=0, keepdim=True))
            last = torch.maximum(last, (fired * self._numbers(fired)).amax(dim=0).amax())
        found = {name: trains[name] for name in activity}
        return Chunk(State(neurons, pooled, heads, activity), found, last)

    def _numbers(self, train: Tensor) -> Tensor:
        """Of its time-steps from 1, to be broadcast against it."""
        steps = torch.arange(1, len(train) + 1, device=self.device)
        return steps.reshape(-1, *(1,) * (train.ndim - 1))

    def _sum(self, node: Head, trains: dict[str, Tensor]) -> Tensor:
        charges = [
            charge(trains[source].float().sum(dim=0, keepdim=True))
            for source, charge in self._charges[node.name]
        ]
        return torch.stack(charges).sum(dim=0)

    def _charge_trains(self, node: Neurons, trains: dict[str, Tensor]) -> list[Tensor]:
        """Charge by each synapse: (T, *shape), or only the first time-step of the input's."""
        return [charge(trains[source].float()) for source, charge in self._charges[node.name]]

    def _scan(
        self,
        node: Neurons,
        trains: dict[str, Tensor],
        before: Tensor | None,
        state: BifState,
        start: Tensor,
        until: Tensor,
    ) -> tuple[Tensor, Tensor, BifState]:
        """Spikes and counts of a chunk, (T, *shape) both, and the state after it."""
        params = self._params[node.name]
        charged = self._charge_trains(node, trains)
        train, tracers = [], []
        for step in range(self._length):
            charge = torch.zeros_like(state.v)
            for part in charged:
                if step < len(part):  # the input is a train of one time-step
                    charge = charge + part[step : step + 1]
            now = start + step + 1
            if before is None:
                spike, after = bif_step(charge, state, params)
            else:
                recurrent_charge = self._recurrent[node.name] * canonical_spike(before, now)
                spike, after = rbif_step(charge, recurrent_charge, state, params)
            runs = now <= until
            state = BifState(
                torch.where(runs, after.v, state.v),
                torch.where(runs, after.spike_count, state.spike_count),
            )
            train.append(torch.where(runs, spike, 0.0).to(self.kept))
            tracers.append(state.spike_count.to(self.kept))
        state = BifState(self._laid(state.v), self._laid(state.spike_count))
        return torch.cat(train), torch.cat(tracers), state


@contextmanager
def plain_tensors() -> Iterator[None]:
    """Tensors made here are of the same kind whether the caller is in inference mode or not."""
    with torch.inference_mode(False), torch.no_grad():
        yield


def _largest(tracers: Tensor, node: MaxPool) -> Tensor:
    return functional.max_pool2d(tracers, node.kernel, node.stride, node.padding)


def _side_by_side(states: list[State]) -> State:
    """One state of several streams."""
    if len(states) == 1:
        return states[0]
    neurons = {
        name: BifState(
            torch.cat([state.neurons[name].v for state in states]),
            torch.cat([state.neurons[name].spike_count for state in states]),
        )
        for name in states[0].neurons
    }
    pooled, heads, activity = (
        {name: torch.cat([layers[name] for layers in of_all]) for name in of_all[0]}
        for of_all in (
            [state.pooled for state in states],
            [state.heads for state in states],
            [state.activity for state in states],
        )
    )
    return State(neurons, pooled, heads, activity)


def _trains(frames: list[_Frame]) -> dict[str, Tensor]:
    """Spike trains of several streams side by side, as long as the longest: (T, N, *shape)."""
    chunks = max(len(frame.trains) for frame in frames)
    found = {}
    for name, first in frames[0].trains[0].items():
        streams = []
        for frame in frames:
            parts = [trains[name] for trains in frame.trains]
            streams.append(torch.cat(parts + [torch.zeros_like(first)] * (chunks - len(parts))))
        found[name] = torch.stack(streams, dim=1).float()
    return found
