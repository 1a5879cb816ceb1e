"""A graph packed for the native library: all the memory that it works in."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.bounds import Bounds
from crnn_snn_ros.core.engines.native_layout import LANES, Layout
from crnn_snn_ros.core.engines.native_structs import (
    NodeStruct,
    PartStruct,
    ProgramStruct,
    SynapseStruct,
)
from crnn_snn_ros.core.graph import (
    INPUT,
    Conv,
    Graph,
    Head,
    Identity,
    MaxPool,
    Neurons,
    Shape,
    SumPool,
    Synapse,
    sources,
)

SHORT = 2  # bytes
MAX_CHUNK = 64  # time-steps that one word can say of whether there was a spike
SPIKE_BYTES = 2**26  # of all spike trains: longer chunks than fit here are not kept
ROWS = 48  # pixels of an image that are multiplied at once: whole tiles, and their charges in cache
SUM_BITS = 15  # of a sum that the AVX2 instructions keep, beside its sign
QUIET = 127  # largest value of rows that are read as they are
MAX_CENTRED = 127  # largest weight of which two products with 128 fit into them
KIND_INPUT, KIND_NEURONS, KIND_SUM_POOL, KIND_MAX_POOL, KIND_HEAD = range(5)
NARROW, WIDE, IDENTITY = range(3)


class Packed(Layout):
    """A graph in the library's form.

    A layer's results lie as (pixel, lane) with channels padded to whole blocks of lanes.

    Args:
        graph: A proven graph.
        bounds: Of that graph.
        shapes: Of its nodes.
        chunk: Time-steps at a time, at most ``MAX_CHUNK``; fewer are used if memory is short.
        shorts: As for ``Layout``.
    """

    whole: ClassVar[bool] = False  # counts in one step

    def __init__(
        self, graph: Graph, bounds: Bounds, shapes: dict[str, Shape], chunk: int, *, shorts: bool
    ) -> None:
        super().__init__(graph, shapes, shorts)
        self._steps = bounds.layer_steps
        self._arrays: list[Any] = []  # what the structures point at
        self.index = {INPUT: 0} | {node.name: i for i, node in enumerate(graph.nodes, start=1)}
        self._traced = {node.source for node in graph.nodes if isinstance(node, MaxPool)}
        elements = sum(self.pixels(name) * self.lanes[name] for name in self.index)
        self.chunk = max(1, min(chunk, MAX_CHUNK, SPIKE_BYTES // elements))
        self.result_size = self.trace_size = 0
        self.places: dict[str, tuple[int, int]] = {}  # counts and activity within the results
        self.trace_places: dict[str, int] = {}
        carries = {node.name: number for number, (node, _) in enumerate(graph.recurrent())}
        self.nodes = (NodeStruct * len(self.index))()
        self._activations(self.nodes[0], INPUT, KIND_INPUT)
        for node in graph.nodes:
            struct = self.nodes[self.index[node.name]]
            if isinstance(node, SumPool | MaxPool):
                self._pool(struct, node)
            elif isinstance(node, Head):
                self._head(struct, node)
            else:
                self._neurons(struct, node, carries.get(node.name, 0))
        self.program = self._program(graph)

    def _activations(self, struct: NodeStruct, name: str, kind: int) -> None:
        channels, height, width = self._shapes[name]
        lanes, pixels = self.lanes[name], height * width
        steps = min(self.chunk, self._steps[name])
        struct.kind, struct.height, struct.width, struct.channels = kind, height, width, channels
        struct.lanes, struct.steps, struct.blocks = lanes, steps, lanes // LANES
        struct.offset, struct.wide = self._offset(name), name not in self.ranges
        struct.pad = pad = self.pads.get(name, 0)
        struct.shorts = self.shorts and name == INPUT
        train = (height + 2 * pad) * (width + 2 * pad) * steps * lanes + struct.shorts * SHORT
        if struct.wide:
            struct.wide_spikes = self._zeros(train, np.int32)
            struct.silence = self._zeros(lanes, np.int32)
        else:
            struct.spikes = self._keep(np.full(train, struct.offset, np.uint8))
            struct.silence = self._keep(np.full(lanes, struct.offset, np.uint8))
        struct.mask = self._zeros(pixels, np.uint64)
        if name in self._traced:
            struct.tracer = self._zeros(train, np.int16)

    def _results(self, struct: NodeStruct, name: str) -> None:
        size = self.pixels(name) * self.lanes[name]
        self.places[name] = (self.result_size, self.result_size + size)
        struct.counts_at, struct.activity_at = self.places[name]
        self.trace_places[name] = struct.trace_at = self.trace_size
        self.result_size += 2 * size
        self.trace_size += size

    def _pool(self, struct: NodeStruct, node: SumPool | MaxPool) -> None:
        struct.source = self.index[node.source]
        if isinstance(node, SumPool):
            self._activations(struct, node.name, KIND_SUM_POOL)
            struct.kernel_h, struct.kernel_w = node.kernel
            return
        self._activations(struct, node.name, KIND_MAX_POOL)
        self._results(struct, node.name)
        struct.kernel_h = struct.kernel_w = node.kernel
        struct.stride, struct.padding = node.stride, node.padding

    def _neurons(self, struct: NodeStruct, node: Neurons, carry: int) -> None:
        name = node.name
        self._activations(struct, name, KIND_NEURONS)
        self._synapses(struct, node)
        lanes = self.lanes[name]
        struct.n_min, struct.n_max = node.n_min, node.n_max
        struct.threshold = self._vector(node.threshold, lanes, fill=2)  # a lane too many is silent
        inverse = np.ones(lanes, np.float32)
        inverse[: len(node.threshold)] /= node.threshold.astype(np.float32)
        struct.inverse = self._keep(inverse)
        struct.start = self._vector(node.bias + node.threshold // 2, lanes)
        struct.v = self._zeros(self.pixels(name) * lanes, np.int32)
        if node.recurrent is not None:
            struct.recurrent = self._vector(node.recurrent, lanes)
            struct.before = self._zeros(self.pixels(name) * lanes, np.int32)
            struct.carry = carry
        self._results(struct, name)

    def _head(self, struct: NodeStruct, node: Head) -> None:
        struct.kind, struct.height, struct.width = KIND_HEAD, 1, 1
        struct.channels = struct.lanes = len(node.bias)
        self.places[node.name] = (self.result_size, 0)
        struct.counts_at = self.result_size
        self.result_size += len(node.bias)
        self._synapses(struct, node)
        struct.start = self._keep(node.bias.astype(np.int32))

    def _synapses(self, struct: NodeStruct, node: Neurons | Head) -> None:
        """Weights of all synapses side by side, in the order in which a row is gathered."""
        lanes = self.lanes[node.name]
        narrow: list[NDArray[np.int8]] = []
        silent: list[NDArray[np.int64]] = []  # (out, places)
        wide: list[NDArray[np.int8]] = []
        correction = np.zeros(lanes, np.int64)
        array = (SynapseStruct * len(node.synapses))()
        for synapse, out in zip(node.synapses, array, strict=True):
            out.source, out.stride = self.index[synapse.source], 1
            out.kernel_h = out.kernel_w = 1
            if isinstance(synapse, Identity):
                out.form, out.scale = IDENTITY, self._vector(synapse.weight, lanes)
                struct.taps += 1
                continue
            weight = self._kernel(synapse)
            out.kernel_h, out.kernel_w = weight.shape[2:]
            if isinstance(synapse, Conv):
                out.stride, out.padding = synapse.stride, synapse.padding
            struct.taps += out.kernel_h * out.kernel_w
            rows = weight.transpose(0, 2, 3, 1)  # (out, kernel_h, kernel_w, in)
            if isinstance(node, Head):
                out.weight = self._keep(np.ascontiguousarray(rows))
                continue
            out.width = channels = weight.shape[1]
            if synapse.source not in self.ranges:
                out.form = WIDE
                wide.append(rows.reshape(len(rows), -1))
                continue
            offset, top = self.ranges[synapse.source]
            out.width = self._width(synapse.source, channels)
            if self.shorts and synapse.source == INPUT:
                struct.shorts = True
                narrow.append(_as_shorts(rows))
            else:
                unread = ((0, 0), (0, 0), (0, 0), (0, out.width - channels))
                narrow.append(np.pad(rows, unread).reshape(len(rows), -1))
            struct.top = max(struct.top, top)
            silent.append(offset * rows.sum(axis=3, dtype=np.int64).reshape(len(rows), -1))
            correction[: len(rows)] -= silent[-1].sum(axis=1)
        self._arrays.append(array)
        struct.synapses, struct.synapse = len(array), ctypes.addressof(array)
        if isinstance(node, Neurons):
            self._weights(struct, narrow, wide, correction.astype(np.int32))
            if silent and struct.top <= QUIET:  # others are read as something else
                places = np.concatenate(silent, axis=1).T.astype(np.int32)
                places = np.pad(places, ((0, 0), (0, lanes - places.shape[1])))
                struct.silent = self._keep(np.ascontiguousarray(places))

    def _weights(
        self,
        struct: NodeStruct,
        narrow: list[NDArray[np.int8]],
        wide: list[NDArray[np.int8]],
        correction: NDArray[np.int32],
    ) -> None:
        weight = _side_by_side(narrow, struct.lanes)
        largest = int(np.abs(weight.astype(np.int32)).max(initial=0))
        struct.fours = _summable(weight, struct.top)
        struct.row_bytes = weight.shape[1]
        struct.group = max(self.chunk, ROWS)
        blocks = weight.reshape(struct.blocks, LANES, struct.row_bytes // 4, 4)
        struct.weight = self._keep(np.ascontiguousarray(blocks.transpose(0, 2, 1, 3)))
        struct.correction = self._keep(correction)
        if largest <= MAX_CENTRED:
            struct.centred = self._keep(correction + 128 * weight.sum(axis=1, dtype=np.int32))
        weight = _side_by_side(wide, struct.lanes)
        struct.row_words = weight.shape[1]
        struct.wide_weight = self._keep(np.ascontiguousarray(weight.T.astype(np.float32)))

    def _kernel(self, synapse: Synapse) -> NDArray[np.int8]:
        """Weights as of a convolution; a dense synapse is one that covers its source."""
        weight = synapse.weight.astype(np.int8)
        if isinstance(synapse, Conv):
            return weight
        return weight.reshape(len(weight), *self._shapes[synapse.source])

    def _program(self, graph: Graph) -> ProgramStruct:
        layers = [struct for struct in self.nodes if struct.kind == KIND_NEURONS]
        group = max(struct.group for struct in layers)
        lanes = max(struct.lanes for struct in layers)
        program = ProgramStruct()
        program.nodes, program.node_count = ctypes.addressof(self.nodes), len(self.nodes)
        program.whole, program.incremental = self.whole, self.incremental
        program.chunk = self.chunk
        program.wide_rows = self._zeros(max(s.group * s.row_words for s in layers), np.int32)
        program.charge = self._zeros(group * lanes, np.int32)
        program.correction = self._zeros(lanes, np.int32)
        parts = max(struct.taps for struct in layers)
        program.parts = self._zeros(parts * ctypes.sizeof(PartStruct) // 8, np.int64)
        program.vector = self._zeros(self._vector_size(graph), np.int32)
        return program

    def _vector_size(self, graph: Graph) -> int:
        """Counts of a head's source and, behind them, of the chain of pools that it ends."""
        chain = {name: math.prod(shape) for name, shape in self._shapes.items()}
        for node in graph.nodes:
            if isinstance(node, SumPool):
                chain[node.name] += chain[node.source]
        return max(chain[name] for head in graph.heads() for name in sources(head))

    def _vector(self, values: NDArray[np.int32], lanes: int, fill: int = 0) -> int:
        padded = np.full(lanes, fill, np.int32)
        padded[: len(values)] = values
        return self._keep(padded)

    def _zeros(self, size: int, dtype: type[np.generic]) -> int:
        return self._keep(np.zeros(size, dtype))

    def _keep(self, array: NDArray[Any]) -> int:
        self._arrays.append(array)
        return int(array.ctypes.data)


class IncrementalPacked(Packed):
    """The same for a network that is charged with what has changed since the frame before."""

    incremental = True


def _summable(weight: NDArray[np.int8], top: int) -> int:
    """How many fours of inputs, from 0 to ``top``, the sums of 16 bits hold, whatever the inputs.

    Args:
        weight: (lanes, inputs). A sum is of every other pair of inputs, and of one lane.
        top: At most 127.

    Returns:
        The row divided as evenly as may be: one sum after another begins after so many fours.
    """
    pairs = np.abs(weight.astype(np.int64)).reshape(len(weight), -1, 2, 2).sum(axis=3)
    count = int(pairs.shape[1])
    if count == 0:
        return 1
    parts = 1 + (int(top * pairs.sum(axis=1).max()) >> SUM_BITS)  # at least
    while (size := -(-count // parts)) > 1:
        sums = np.add.reduceat(pairs, np.arange(0, count, size), axis=1)
        if top * sums.max() < 2**SUM_BITS:
            break
        parts = -(-count // (size - 1))  # the fewest of the next smaller size
    return size


def _as_shorts(rows: NDArray[np.int8]) -> NDArray[np.int8]:
    """Weights (out, kernel_h, kernel_w, in) as int16, in bytes: lines filled up to whole fours."""
    out, height, width, inputs = rows.shape
    lines = rows.reshape(out, height, width * inputs).astype(np.int16)
    lines = np.pad(lines, ((0, 0), (0, 0), (0, width * inputs % 2)))
    return np.ascontiguousarray(lines).view(np.int8).reshape(out, -1)


def _side_by_side(rows: Sequence[NDArray[np.int8]], lanes: int) -> NDArray[np.int8]:
    """Weights (out, in) of several synapses as one (lanes, all inputs)."""
    if not rows:
        return np.zeros((lanes, 0), np.int8)
    weight = np.concatenate(rows, axis=1)
    return np.pad(weight, ((0, lanes - len(weight)), (0, 0)))
