"""Layer by layer as in ``folded``, a fixed number of time-steps at once, compiled by inductor.

A chunk of time-steps is one function of tensors without decisions, so that the neurons' scan over
them becomes one loop; whether another chunk is needed is asked between them. Where a CPU has int8
products, they convolve the spikes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FunctionType, MethodType
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from crnn_snn_ros.core.engines import int8_convolution
from crnn_snn_ros.core.engines.base import Carry, FrameResult, TorchEngine, sum_pool
from crnn_snn_ros.core.engines.folded import each_step, make_trace
from crnn_snn_ros.core.errors import ConfigError
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


class _State(NamedTuple):
    """Of one stream between chunks, by layer."""

    neurons: dict[str, BifState]
    pooled: dict[str, Tensor]  # largest counts so far, of max-pools
    heads: dict[str, Tensor]
    activity: dict[str, Tensor]


class _Frame(NamedTuple):
    """Of one stream at the end of a frame."""

    state: _State
    trains: list[dict[str, Tensor]]  # of each chunk
    last: int  # last time-step with a spike, or a recurrent one pending, even after the limit
    busy: bool


class _Chunk(NamedTuple):
    """What one chunk leads to."""

    state: _State
    trains: dict[str, Tensor]  # of neurons and max-pools, (T, 1, *shape)
    last: Tensor  # last time-step of the frame at which a neuron fired, 0 if none in this chunk
    busy: Tensor  # bool: a neuron would fire again


Advance = Callable[[Tensor, dict[str, Tensor], _State, Tensor, Tensor], _Chunk]


class CompiledEngine(TorchEngine):
    """See the module. Compiles when it is made, which may take minutes; streams run one by one.

    Args:
        graph: The integer network.
        device: Of all tensors.
        compiled: False runs the same function without a compiler: exact too, slow, for tests.
        chunk: Time-steps at a time; of no effect on any result.

    Raises:
        ConfigError: inductor cannot compile here.
        ConversionError: the graph cannot be proven.
    """

    name = "compiled"
    # The channels of a pixel side by side, as convolutions on a CPU want them.
    layout: ClassVar[torch.memory_format] = torch.channels_last

    def __init__(
        self,
        graph: Graph,
        device: str | torch.device = "cpu",
        compiled: bool = True,
        chunk: int = CHUNK,
    ) -> None:
        super().__init__(graph, device)
        if self.device.type == "cpu" and int8_convolution.available():
            for (name, place), charge in int8_convolution.int8_charges(graph, self.shapes).items():
                source, _ = self._charges[name][place]
                self._charges[name][place] = source, charge
        self._length = min(chunk, self.bounds.settling_steps)
        self._advance: Advance = self._compile() if compiled else self._chunk

    def _compile(self) -> Advance:
        """Compile, and run until there is nothing left to compile."""
        # What is compiled is kept by code object, and only a few of each: this engine has its own.
        own = FunctionType(type(self)._chunk.__code__.replace(), globals())
        advance: Advance = torch.compile(MethodType(own, self), fullgraph=True, dynamic=False)
        pixels = torch.zeros(1, *self.graph.input_shape, device=self.device)
        before, state = self.initial_carry().counts, self._begin()
        until = torch.tensor(2 * self._length, device=self.device)
        try:
            with plain_tensors(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what the compiler is made of; none is ours
                for end in (0, self._length):
                    start = torch.tensor(end, device=self.device)
                    state = advance(pixels, before, state, start, until).state
        except (RuntimeError, OSError) as error:
            raise ConfigError(
                f"engine 'compiled' cannot be compiled here: {_reason(error)}; install a C++ "
                "compiler (apt-get install g++), or choose native or folded"
            ) from error
        return advance

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
        state, trains, end = self._begin(), [], 0
        while end == 0 or (last >= end and end < limit):
            start, until = (torch.tensor(t, device=self.device) for t in (end, limit))
            chunk = self._advance(pixels, before, state, start, until)
            pixels, state = torch.zeros_like(pixels), chunk.state  # s-analog
            trains.append(chunk.trains)
            last, end = max(last, int(chunk.last)), end + self._length
        return _Frame(state, trains, last, last > limit or (last == limit and bool(chunk.busy)))

    def _begin(self) -> _State:
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
        return _State(neurons, pooled, heads, activity)

    def _chunk(
        self, pixels: Tensor, before: dict[str, Tensor], state: _State, start: Tensor, until: Tensor
    ) -> _Chunk:
        """Time-steps start + 1 to start + length, of which those after ``until`` do nothing."""
        trains = {INPUT: pixels.unsqueeze(0)}
        tracers: dict[str, Tensor] = {}
        neurons, pooled, heads = {}, {}, {}
        last, busy = torch.zeros_like(start), torch.zeros_like(start, dtype=torch.bool)
        for node in self.graph.nodes:
            name = node.name
            if isinstance(node, SumPool):
                trains[name] = each_step(trains[node.source], partial(sum_pool, kernel=node.kernel))
            elif isinstance(node, MaxPool):
                tracers[name] = each_step(tracers[node.source], partial(_largest, node=node))
                trains[name] = tracers[name].diff(dim=0, prepend=state.pooled[name].unsqueeze(0))
                pooled[name] = self._laid(tracers[name][-1])
            elif isinstance(node, Head):
                heads[name] = state.heads[name] + self._sum(node, trains)
            else:
                trains[name], tracers[name], neurons[name] = self._scan(
                    node, trains, before.get(name), state.neurons[name], start, until
                )
                steps = start + torch.arange(1, self._length + 1, device=self.device)
                fired = trains[name].flatten(1).any(dim=1)
                last = torch.maximum(last, (fired * steps).amax())
                busy = busy | would_fire(neurons[name], self._params[name]).any()
        fired_trains = {name: trains[name] for name in (*neurons, *pooled)}
        activity = {
            name: self._laid(state.activity[name] + train.abs().sum(dim=0))
            for name, train in fired_trains.items()
        }
        return _Chunk(_State(neurons, pooled, heads, activity), fired_trains, last, busy)

    def _sum(self, node: Head, trains: dict[str, Tensor]) -> Tensor:
        charges = [charge(trains[source].sum(dim=0)) for source, charge in self._charges[node.name]]
        return torch.stack(charges).sum(dim=0)

    def _charge_trains(self, node: Neurons, trains: dict[str, Tensor]) -> list[Tensor]:
        """Charge by each synapse: (T, 1, *shape), or only the first time-step of the input's."""
        return [each_step(trains[source], charge) for source, charge in self._charges[node.name]]

    def _scan(
        self,
        node: Neurons,
        trains: dict[str, Tensor],
        before: Tensor | None,
        state: BifState,
        start: Tensor,
        until: Tensor,
    ) -> tuple[Tensor, Tensor, BifState]:
        """Spikes and counts of a chunk, (T, 1, *shape) both, and the state after it."""
        params = self._params[node.name]
        charged = self._charge_trains(node, trains)
        train, counts = [], []
        for step in range(self._length):
            charge = torch.zeros_like(state.v)
            for part in charged:
                if step < len(part):  # the input is a train of one time-step
                    charge = charge + part[step]
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
            train.append(torch.where(runs, spike, 0.0))
            counts.append(state.spike_count)
        state = BifState(self._laid(state.v), self._laid(state.spike_count))
        return torch.cat(train).unsqueeze(1), torch.cat(counts).unsqueeze(1), state


@contextmanager
def plain_tensors() -> Iterator[None]:
    """Tensors made here are of the same kind whether the caller is in inference mode or not."""
    with torch.inference_mode(False), torch.no_grad():
        yield


def _largest(tracer: Tensor, node: MaxPool) -> Tensor:
    return functional.max_pool2d(tracer, node.kernel, node.stride, node.padding)


def _side_by_side(states: list[_State]) -> _State:
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
    return _State(neurons, pooled, heads, activity)


def _trains(frames: list[_Frame]) -> dict[str, Tensor]:
    """Spike trains of several streams side by side, as long as the longest: (T, N, *shape)."""
    chunks = max(len(frame.trains) for frame in frames)
    found = {}
    for name, first in frames[0].trains[0].items():
        streams = []
        for frame in frames:
            parts = [trains[name] for trains in frame.trains]
            streams.append(torch.cat(parts + [torch.zeros_like(first)] * (chunks - len(parts))))
        found[name] = torch.cat(streams, dim=1)
    return found


def _reason(error: Exception) -> str:
    """The line of a compiler's report that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [
        "no reason given"
    ]
    return next((line for line in lines if not line.endswith("raised:")), lines[0])
