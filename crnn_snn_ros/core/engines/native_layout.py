"""How the native library stores the values of every node: blocks of lanes, u8 where they fit."""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

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
    sources,
)

LANES = 16
LARGEST = 255  # of u8


class Range(NamedTuple):
    """Values of a node as u8: the one that stands for zero, and the largest."""

    offset: int
    top: int


class Layout:
    """Of spike trains; a subclass says where it differs.

    Incrementally the input is the difference of two frames, which u8 cannot hold.

    Args:
        graph: A proven graph.
        shapes: Of its nodes.
        shorts: Whether the instructions like pixels as int16 better.

    Attributes:
        shorts: Whether they are: where neurons alone read them, and nothing else.
        lanes: Channels as stored: the input's are read by fours, neurons are run in whole blocks.
            Of an input of shorts the bytes of a pixel.
        ranges: Of every node whose values fit into u8.
        pads: Pixels of margin around the images of a node, where there are any.
    """

    incremental: ClassVar[bool] = False

    def __init__(self, graph: Graph, shapes: dict[str, Shape], shorts: bool) -> None:
        self._shapes = {name: (*shape, 1, 1)[:3] for name, shape in shapes.items()}
        self.shorts = shorts and not self.incremental and _by_neurons_alone(graph)
        self.lanes = self._lanes(graph)
        self.ranges = self._ranges(graph)
        self.pads = self._pads(graph)

    def pixels(self, name: str) -> int:
        """Places of a node: height times width."""
        return math.prod(self._shapes[name][1:])

    def _offset(self, name: str) -> int:
        return self.ranges[name].offset if name in self.ranges else 0

    def _lanes(self, graph: Graph) -> dict[str, int]:
        channels = self._shapes[INPUT][0]
        lanes = {INPUT: round_up(channels, self._input_block(graph))}
        if self.shorts:
            lanes[INPUT] = 2 * channels
        for node in graph.nodes:
            if isinstance(node, SumPool):
                lanes[node.name] = lanes[node.source]
            elif isinstance(node, Head):
                lanes[node.name] = len(node.bias)
            else:
                lanes[node.name] = round_up(self._shapes[node.name][0], LANES)
        return lanes

    def _input_block(self, graph: Graph) -> int:  # noqa: ARG002
        return 4

    def _ranges(self, graph: Graph) -> dict[str, Range]:
        ranges = {} if self.incremental else {INPUT: Range(0 if self.shorts else 128, LARGEST)}
        for node in graph.nodes:
            if isinstance(node, Neurons):
                ranges[node.name] = self._sent(node)
            elif isinstance(node, MaxPool) and node.source in ranges:
                ranges[node.name] = ranges[node.source]
            elif isinstance(node, SumPool) and node.source in ranges:
                area = math.prod(node.kernel)
                ranges[node.name] = Range(*(area * value for value in ranges[node.source]))
            if node.name in ranges and ranges[node.name].top > LARGEST:
                del ranges[node.name]
        return ranges

    def _sent(self, node: Neurons) -> Range:  # noqa: ARG002
        """What neurons send: spikes in -1, 0, 1."""
        return Range(1, 2)

    def _pads(self, graph: Graph) -> dict[str, int]:
        """Pixels of margin around images, so that kernels may read across their edges."""
        pads: dict[str, int] = {}
        for node in graph.nodes:
            for synapse in node.synapses if isinstance(node, Neurons | Head) else ():
                source = synapse.source
                if isinstance(synapse, Conv) and self._lies_in_image(graph, source):
                    pads[source] = max(synapse.padding, pads.get(source, 0))
        return pads

    def _width(self, source: str, channels: int) -> int:
        """Bytes that one place of a kernel reads."""
        return self.lanes[INPUT] if source == INPUT else round_up(channels, 4)

    def _lies_in_image(self, graph: Graph, name: str) -> bool:
        """Whether a node's values are one image: the input, but for pools, which read trains."""
        pooled = any(isinstance(n, SumPool | MaxPool) and n.source == INPUT for n in graph.nodes)
        return name == INPUT and name in self.ranges and not pooled


def _by_neurons_alone(graph: Graph) -> bool:
    """Whether what reads the input are neurons that read nothing else, and by kernels."""
    for node in graph.nodes:
        if INPUT not in sources(node):
            continue
        if not isinstance(node, Neurons) or any(
            synapse.source != INPUT or isinstance(synapse, Identity) for synapse in node.synapses
        ):
            return False
    return True


def round_up(size: int, block: int) -> int:
    """The next multiple of ``block``."""
    return -(-size // block) * block
