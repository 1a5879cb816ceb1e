"""Random valid graphs for property tests: every kind of layer, small, within the 2^24 bound.

One builder asks for small integers; hypothesis draws them (so that failures shrink, toward fewer
and simpler layers) or a seeded generator does. Weights come from one drawn seed.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from crnn_snn_ros.core.graph import (
    INPUT,
    INPUT_MIN,
    MAX_THRESHOLD,
    MIN_THRESHOLD,
    Conv,
    Graph,
    Head,
    Identity,
    Linear,
    MaxPool,
    Neurons,
    Node,
    Shape,
    SumPool,
    Synapse,
    synapse_shape,
    validate,
)

MAX_LAYERS = 4  # and one or two heads
MAX_GAIN = 3  # of recurrent weights: |u| / threshold

Pick = Callable[[int, int], int]  # (low, high), both included -> an integer
Values = NDArray[np.int64]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """A valid graph; hypothesis chooses the structure."""
    return _Builder(lambda low, high: draw(st.integers(low, high))).graph()


def random_graph(rng: np.random.Generator) -> Graph:
    """The same from a seeded generator."""
    return _Builder(lambda low, high: int(rng.integers(low, high + 1))).graph()


class _Builder:
    """Grows a graph node by node; ``limits`` holds the largest |count| that a node delivers."""

    def __init__(self, pick: Pick) -> None:
        self.pick = pick
        self.rng = np.random.default_rng(pick(0, 2**16))
        shape = ((1, 3)[pick(0, 1)], pick(1, 8), pick(1, 8))  # grey or RGB
        self.input_shape = shape
        self.nodes: list[Node] = []
        self.shapes: dict[str, Shape] = {INPUT: shape}
        self.limits = {INPUT: -INPUT_MIN}
        self.last = INPUT

    def graph(self) -> Graph:
        layers = self.pick(1, MAX_LAYERS)
        for index in range(layers):
            fires = any(isinstance(node, Neurons) for node in self.nodes)
            self.add(self.layer(f"layer{index}", pools=fires or index < layers - 1))
        for name, kind in (("steering", "regression"), ("collision", "logit"))[: self.pick(1, 2)]:
            self.add(self.head(name, kind))
        return Graph(self.input_shape, tuple(self.nodes))

    def add(self, node: Node) -> None:
        self.nodes.append(node)
        self.shapes |= _shapes(self.input_shape, self.nodes)
        if isinstance(node, Neurons):
            self.limits[node.name] = max(node.n_max, -node.n_min)
        elif isinstance(node, SumPool):
            self.limits[node.name] = self.limits[node.source] * prod(node.kernel)
        elif isinstance(node, MaxPool):
            self.limits[node.name] = self.limits[node.source]
        if not isinstance(node, Head):
            self.last = node.name

    def layer(self, name: str, pools: bool) -> Node:
        shape = self.shapes[self.last]
        kind = self.pick(0, 5 if pools else 3)
        if kind == 4 and len(shape) == 3:
            kernels = [k for k in (1, 2, 3, 4) if shape[1] % k == 0], [1, 2]
            height = kernels[0][self.pick(0, len(kernels[0]) - 1)]
            width = kernels[1][self.pick(0, shape[2] % 2 == 0)]
            return SumPool(name, self.last, (height, width))
        if kind == 5 and len(shape) == 3 and self.fires(self.last):
            kernel = self.pick(1, min(3, *shape[1:]))
            return MaxPool(name, self.last, kernel, self.pick(1, 3), self.pick(0, kernel // 2))
        return self.neurons(name, convolve=kind > 0 and len(shape) == 3)

    def fires(self, name: str) -> bool:
        return any(n.name == name and isinstance(n, Neurons | MaxPool) for n in self.nodes)

    def neurons(self, name: str, convolve: bool) -> Neurons:
        first = self.conv(self.last) if convolve else self.linear(self.last)
        shape = synapse_shape(first, self.shapes[self.last])
        synapses = [first, *self.shortcut(shape)]
        levels = self.pick(1, 15)
        n_min = -levels * self.pick(0, 1)
        charge = self.largest_charge(synapses)
        threshold = self.thresholds(charge, levels)
        spread = self.pick(0, 2)  # 2: biases alone saturate many neurons
        bias = self.rng.integers(-spread * levels * threshold, spread * levels * threshold + 1)
        recurrent = self.recurrent(threshold) if self.pick(0, 1) else None
        return Neurons(
            name,
            tuple(synapses),
            bias.astype(np.int32),
            threshold.astype(np.int32),
            n_min,
            levels,
            recurrent,
        )

    def head(self, name: str, kind: str) -> Head:
        outputs = self.pick(1, 2)
        synapses: list[Synapse] = [self.linear(self.last, outputs)]
        if self.shapes[self.last] == (outputs,):
            synapses.append(self.identity(self.last, outputs))
        bias = self.rng.integers(-(2**16), 2**16, outputs).astype(np.int32)
        return Head(name, tuple(synapses), bias, float(self.rng.uniform(1e-6, 1.0)), kind)

    def conv(self, source: str) -> Conv:
        channels, *size = self.shapes[source]
        height, width = (self.pick(1, min(3, side)) for side in size)
        stride, padding = self.pick(1, 2), self.pick(0, min(height, width) - 1)
        weight = self.weights((self.pick(1, 4), channels, height, width))
        return Conv(source, weight, stride, padding)

    def linear(self, source: str, outputs: int | None = None) -> Linear:
        return Linear(source, self.weights((outputs or self.pick(1, 6), prod(self.shapes[source]))))

    def identity(self, source: str, channels: int) -> Identity:
        largest = min(2 * MAX_THRESHOLD, 2**20 // self.limits[source])
        return Identity(source, self.rng.integers(-largest, largest + 1, channels).astype(np.int32))

    def shortcut(self, shape: Shape) -> list[Synapse]:
        """A residual from an earlier node: the identity, or a convolution with the right result."""
        found: list[Synapse] = []
        for source, size in self.shapes.items():
            if self.pick(0, 2) == 0:
                continue
            if size == shape:
                found.append(self.identity(source, shape[0]))
            elif len(size) == len(shape) == 3:
                fitting = [s for s in (1, 2) if shape[1:] == tuple(-(-n // s) for n in size[1:])]
                if fitting:
                    weight = self.weights((shape[0], size[0], 1, 1))
                    found.append(Conv(source, weight, fitting[0]))
        return found[:2]

    def weights(self, shape: Shape) -> NDArray[np.int8]:
        largest = (1, 7, 127)[self.pick(0, 2)]
        return self.rng.integers(-largest, largest + 1, shape).astype(np.int8)

    def largest_charge(self, synapses: list[Synapse]) -> Values:
        """Of each channel, plus 1."""
        total = np.ones(len(synapses[0].weight), np.int64)
        for synapse in synapses:
            weight = np.abs(synapse.weight.astype(np.int64)).reshape(len(total), -1)
            total += weight.sum(axis=1) * self.limits[synapse.source]
        return total

    def thresholds(self, charge: Values, levels: int) -> Values:
        """Mostly such that neurons use all their counts; also the smallest and the largest."""
        style = self.pick(0, 3)
        if style == 2:
            return self.rng.integers(MIN_THRESHOLD, MIN_THRESHOLD + 3, charge.shape)
        if style == 3:
            return self.rng.integers(MAX_THRESHOLD - 2, MAX_THRESHOLD + 1, charge.shape)
        fitted = charge / (levels * self.rng.uniform(1.0, 8.0, charge.shape))
        return np.clip(fitted, MIN_THRESHOLD, MAX_THRESHOLD).astype(np.int64)

    def recurrent(self, threshold: Values) -> NDArray[np.int32]:
        """Gains within +-MAX_GAIN; every other time exactly at that end."""
        largest = MAX_GAIN * threshold
        inside = self.rng.integers(-largest, largest + 1)
        sign = self.rng.choice((-1, 1), threshold.shape)
        return (sign * largest if self.pick(0, 1) else inside).astype(np.int32)


def _shapes(input_shape: tuple[int, int, int], nodes: list[Node]) -> dict[str, Shape]:
    """Shapes of a graph that may still lack neurons and a head."""
    one = np.ones(1, np.int32)
    stub = (Linear(INPUT, np.zeros((1, prod(input_shape)), np.int8)),)
    ends = Neurons("stub_neurons", stub, one, one, 0, 1), Head("stub_head", stub, one, 1.0)
    shapes = validate(Graph(input_shape, (*nodes, *ends)))
    return {name: shape for name, shape in shapes.items() if not name.startswith("stub")}
