"""The interface of all spiking engines, and the synapses that they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from crnn_snn_ros.core.bounds import largest_counts, prove
from crnn_snn_ros.core.graph import Conv, Graph, Head, Identity, Neurons, Synapse, validate
from crnn_snn_ros.core.neuron import BifParams, BifState, begin_frame

Charge = Callable[[Tensor], Tensor]

# TF32 keeps 11 bits of an operand and bfloat16 8, and PyTorch may use either in place of float32
# where its global settings allow it. Integers up to here survive both; int8 weights always do.
EXACT_OPERAND = 2**8


class Carry(NamedTuple):
    """All that crosses from one frame to the next."""

    counts: dict[str, Tensor]  # spike counts of each recurrent layer, (N, channels, ...)
    exact: Tensor  # bool (N,): False once a frame was cut, until the stream is reset
    memory: Any = None  # in incremental mode, from the first frame on: the engine's own


class Memory(NamedTuple):
    """What s-analog resets between frames and the incremental mode keeps, each (N, *shape)."""

    frame: Tensor  # the input that the membranes are charged with
    delivered: dict[str, Tensor]  # recurrent counts that they are charged with
    neurons: dict[str, BifState]
    pooled: dict[str, Tensor]  # counts of max-pools
    heads: dict[str, Tensor]


class Trace(NamedTuple):
    """Everything that happened inside one frame, for verification and pictures."""

    spikes: dict[str, Tensor]  # of neurons and max-pools: (T, N, *shape)
    recurrent_spikes: dict[str, Tensor]  # injected into recurrent layers: (T, N, *shape)
    membranes: dict[str, Tensor]  # potential at the end of the frame: (N, *shape)


class FrameResult(NamedTuple):
    """Outcome of one frame for each of the N streams of a batch."""

    heads: dict[str, Tensor]  # accumulators, integers: (N, outputs)
    counts: Mapping[str, Tensor]  # spike count S of neurons and max-pools: (N, *shape)
    # Spikes fired, of either sign, of the same nodes: (N, *shape); nothing where none is ever fired
    activity: dict[str, Tensor]
    settle_steps: Tensor  # int64 (N,): last time-step with a spike or a pending recurrent one
    settled: Tensor  # bool (N,): at quiescence, and so was every frame since the last reset
    trace: Trace | None  # None if it was not asked for, or nothing spikes


class Engine(ABC):
    """A way to run a graph as a spiking network. All engines give identical integers.

    Args:
        graph: The integer network.
        device: Where it runs.
        incremental: Reset nothing between frames and charge only what has changed: the same counts
            and heads, but other spikes and time-steps (README, "Incremental").

    Raises:
        ConversionError: the graph is not valid or its bounds cannot be proven.
    """

    name: ClassVar[str]  # as ``make_engine`` takes it
    spikes: ClassVar[bool] = True  # False: says the same of a frame, but has no time-steps

    def __init__(
        self, graph: Graph, device: str | torch.device = "cpu", incremental: bool = False
    ) -> None:
        self.graph = graph
        self.device = torch.device(device)
        self.incremental = incremental
        self.bounds = prove(graph, incremental=incremental)
        self.shapes = validate(graph)

    def initial_carry(self, batch: int = 1) -> Carry:
        """State of ``batch`` fresh streams: nothing remembered, nothing cut."""
        counts = {node.name: self._zeros(batch, node.name) for node, _ in self.graph.recurrent()}
        return Carry(counts, torch.ones(batch, dtype=torch.bool, device=self.device))

    @abstractmethod
    def step(
        self, frame: Tensor, carry: Carry, *, num_steps: int | None = None, trace: bool = False
    ) -> tuple[FrameResult, Carry]:
        """Run one frame of every stream to quiescence, or to ``num_steps`` if that comes first.

        Args:
            frame: Input, integers in [-128, 127] of any dtype, (N, C, H, W).
            carry: From ``initial_carry`` or from the frame before.
            num_steps: Cut here. A stream that was cut is not settled, nor is any later frame of
                it, until it starts again from ``initial_carry``.
            trace: Keep every spike.

        Returns:
            The outcome, and the carry for the next frame.

        Raises:
            ValueError: the frame has another shape than the graph's input, or another number of
                streams than the carry; or there is no time-step to run.
        """

    def _limit(self, num_steps: int | None) -> int:
        bound = self.bounds.settling_steps
        if num_steps is not None and num_steps < 1:
            raise ValueError(f"num_steps is {num_steps}, expected at least 1")
        return bound if num_steps is None else min(num_steps, bound)

    def _check(self, frame: Tensor, carry: Carry) -> None:
        expected = (len(carry.exact), *self.graph.input_shape)
        if tuple(frame.shape) != expected:
            raise ValueError(
                f"frame has shape {tuple(frame.shape)}, expected {expected}: (N, C, H, W) with the "
                "N of the carry"
            )

    def _zeros(self, batch: int, name: str) -> Tensor:
        return torch.zeros(batch, *self.shapes[name], dtype=torch.float32, device=self.device)


class TorchEngine(Engine):
    """What the engines made of torch operations share: synapses, and constants as tensors."""

    def __init__(
        self, graph: Graph, device: str | torch.device = "cpu", incremental: bool = False
    ) -> None:
        super().__init__(graph, device, incremental)
        dtypes = {
            name: torch.float32 if count <= EXACT_OPERAND else torch.float64
            for name, count in largest_counts(graph, differences=incremental).items()
        }
        self._charges: dict[str, list[tuple[str, Charge]]] = {}
        self._biases: dict[str, Tensor] = {}
        self._params: dict[str, BifParams] = {}
        self._recurrent: dict[str, Tensor] = {}
        for node in graph.nodes:
            if not isinstance(node, Neurons | Head):
                continue
            self._charges[node.name] = [
                (synapse.source, self._make_charge(synapse, dtypes[synapse.source]))
                for synapse in node.synapses
            ]
            ndim = len(self.shapes[node.name])
            self._biases[node.name] = self._per_channel(node.bias, ndim)
            if isinstance(node, Neurons):
                threshold = self._per_channel(node.threshold, ndim)
                self._params[node.name] = BifParams(threshold, node.n_min, node.n_max)
                if node.recurrent is not None:
                    self._recurrent[node.name] = self._per_channel(node.recurrent, ndim)

    def _make_charge(self, synapse: Synapse, dtype: torch.dtype) -> Charge:
        return make_charge(synapse, self.device, dtype)

    def _input(self, frame: Tensor, carry: Carry) -> Tensor:
        self._check(frame, carry)
        return frame.to(self.device, torch.float32)

    def _arrivals(self, frame: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        """Pixels and recurrent counts that this frame charges: all, or the change of them."""
        pixels, memory = self._input(frame, carry), self._memory(carry)
        if memory is None:
            return pixels, carry
        counts = changes(carry.counts, memory.delivered)
        return pixels - memory.frame, Carry(counts, carry.exact)

    def _resume(self, node: Neurons, zeros: Tensor, memory: Memory | None) -> BifState:
        """State of a layer before time-step 1; ``zeros`` are of its shape (N, channels, ...)."""
        if memory is not None:
            return memory.neurons[node.name]
        return begin_frame(self._biases[node.name], zeros, self._params[node.name])

    def _memory(self, carry: Carry) -> Memory | None:
        return carry.memory if self.incremental else None

    def _remember(
        self,
        frame: Tensor,
        before: Carry,
        limit: int,
        neurons: dict[str, BifState],
        pooled: dict[str, Tensor],
        heads: dict[str, Tensor],
    ) -> Memory | None:
        """What to keep of a frame that ran from ``before`` for at most ``limit`` time-steps."""
        if not self.incremental:
            return None
        _, arriving = self._arrivals(frame, before)
        delivered = deliver(before.counts, arriving.counts, limit)
        return Memory(self._input(frame, before), delivered, neurons, pooled, heads)

    def _per_channel(self, values: NDArray[np.int32], ndim: int) -> Tensor:
        shape = (-1,) + (1,) * (ndim - 1)
        return torch.from_numpy(values.astype(np.float32)).reshape(shape).to(self.device)


def changes(counts: dict[str, Tensor], delivered: dict[str, Tensor]) -> dict[str, Tensor]:
    """Recurrent counts that are still to be charged, by layer."""
    return {name: count - delivered[name] for name, count in counts.items()}


def deliver(
    counts: dict[str, Tensor], arriving: dict[str, Tensor], limit: int
) -> dict[str, Tensor]:
    """Recurrent counts that have been charged after ``limit`` time-steps, one spike at each."""
    return {
        name: counts[name] - count + count.clamp(-limit, limit) for name, count in arriving.items()
    }


def make_charge(
    synapse: Synapse, device: torch.device, dtype: torch.dtype = torch.float32
) -> Charge:
    """The linear map of one synapse: spikes (N, *source) -> charge (N, *target), computed in dtype.

    The charge has the dtype of the spikes.
    """
    weight = torch.from_numpy(np.array(synapse.weight)).to(device, dtype)

    def charge(spikes: Tensor) -> Tensor:
        operand = spikes.to(dtype)
        if isinstance(synapse, Conv):
            convolve = functional.conv2d if device.type == "cpu" else matrix_convolution
            out = convolve(operand, weight, stride=synapse.stride, padding=synapse.padding)
        elif isinstance(synapse, Identity):
            out = operand * weight.reshape((-1,) + (1,) * (spikes.ndim - 2))
        else:
            out = functional.linear(operand.flatten(1), weight)
        return out.to(spikes.dtype)

    return charge


def matrix_convolution(source: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """``conv2d`` as one matrix product, for devices whose libraries may choose another way.

    cuDNN is free to convolve by Winograd or FFT, which multiply fractions: not exact.
    """
    batch, _, *size = source.shape
    kernel = weight.shape[2:]
    columns = functional.unfold(source, tuple(kernel), padding=padding, stride=stride)
    height, width = ((s + 2 * padding - k) // stride + 1 for s, k in zip(size, kernel, strict=True))
    return (weight.flatten(1) @ columns).reshape(batch, len(weight), height, width)


def sum_pool(spikes: Tensor, kernel: tuple[int, int]) -> Tensor:
    """Sum over non-overlapping windows: (N, C, H, W) -> (N, C, H / kernel_h, W / kernel_w)."""
    total: Tensor = functional.avg_pool2d(spikes, kernel, divisor_override=1)
    return total


def per_stream(events: Tensor) -> Tensor:
    """Whether anything happened in each stream: bool (N, ...) -> bool (N,)."""
    return events.flatten(1).any(dim=1)
