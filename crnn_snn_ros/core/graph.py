"""The integer network: one explicit graph, the only form between training and spikes.

The QANN interpreter (``qann``) and every spiking engine (``engines``) run this same graph. All
numbers that the network computes with are integers; the two kinds of float here, ``Head.scale``
and nothing else, are applied after the network has ended.

Nodes are listed in topological order: a node may name only earlier nodes as its source, so a
cycle cannot be written down. Equations: arXiv 2408.09403 for the neurons; README, "The science".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import ConversionError

INPUT = "input"
INPUT_MIN, INPUT_MAX = -128, 127  # int8: pixel - 128, so that zero padding is exact
MIN_THRESHOLD, MAX_THRESHOLD = 2, 2047
MAX_COUNT = 255
MAX_ELEMENTS = 2**26  # of all activations together: no honest robot network comes near
MAX_NODES = 4096

Int8 = NDArray[np.int8]
Int32 = NDArray[np.int32]
Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Conv:
    """Convolution synapse with zero padding."""

    source: str
    weight: Int8  # (out, in, kernel_h, kernel_w)
    stride: int = 1
    padding: int = 0


@dataclass(frozen=True, eq=False)
class Linear:
    """Dense synapse; a source of shape (C, H, W) is read in C order."""

    source: str
    weight: Int8  # (out, in)


@dataclass(frozen=True, eq=False)
class Identity:
    """Residual shortcut: each source element charges its own neuron, scaled per channel."""

    source: str
    weight: Int32  # (channels,)


Synapse = Conv | Linear | Identity


@dataclass(frozen=True, eq=False)
class Neurons:
    """A layer of BIF neurons, or of RBIF neurons where ``recurrent`` is given.

    Per frame the layer counts ``clip(floor((Q + r) / threshold), n_min, n_max)`` spikes, where Q is
    the charge from all synapses, the bias and ``recurrent`` times the count of the frame before,
    and ``r = threshold // 2``.
    """

    name: str
    synapses: tuple[Synapse, ...]
    bias: Int32  # (channels,)
    threshold: Int32  # (channels,), in [MIN_THRESHOLD, MAX_THRESHOLD]
    n_min: int  # 0 (ReLU) or negative (signed)
    n_max: int
    recurrent: Int32 | None = None  # (channels,)


@dataclass(frozen=True, eq=False)
class SumPool:
    """Sum over non-overlapping windows; 1 / (kernel_h * kernel_w) is folded into what follows."""

    name: str
    source: str
    kernel: tuple[int, int]


@dataclass(frozen=True, eq=False)
class MaxPool:
    """Maximum over windows of the spike counts. Its spikes are the differences of that maximum."""

    name: str
    source: str
    kernel: int
    stride: int
    padding: int = 0


@dataclass(frozen=True, eq=False)
class Head:
    """Output that never fires: it accumulates charge. Its value is ``accumulator * scale``."""

    name: str
    synapses: tuple[Synapse, ...]
    bias: Int32  # (outputs,)
    scale: float  # unit of the head per unit of charge
    kind: str = "regression"  # or "logit"


Node = Neurons | SumPool | MaxPool | Head


@dataclass(frozen=True, eq=False)
class Graph:
    """An integer network. ``validate`` it before anything else.

    Example:
        >>> import numpy as np
        >>> fc = Linear(INPUT, np.ones((2, 4), np.int8))
        >>> layer = Neurons("hidden", (fc,), np.zeros(2, np.int32), np.full(2, 9, np.int32), 0, 3)
        >>> out = Linear("hidden", np.ones((1, 2), np.int8))
        >>> graph = Graph((1, 2, 2), (layer, Head("steering", (out,), np.zeros(1, np.int32), 0.1)))
        >>> validate(graph)["hidden"]
        (2,)
    """

    input_shape: tuple[int, int, int]  # (channels, height, width)
    nodes: tuple[Node, ...]

    def neurons(self) -> Iterator[Neurons]:
        """All spiking layers, in order."""
        return (node for node in self.nodes if isinstance(node, Neurons))

    def recurrent(self) -> Iterator[tuple[Neurons, Int32]]:
        """The recurrent layers with their recurrent weights, in order."""
        return ((n, n.recurrent) for n in self.neurons() if n.recurrent is not None)

    def heads(self) -> Iterator[Head]:
        """The outputs, in order."""
        return (node for node in self.nodes if isinstance(node, Head))


def sources(node: Node) -> tuple[str, ...]:
    """Names of the nodes that a node listens to."""
    if isinstance(node, SumPool | MaxPool):
        return (node.source,)
    return tuple(synapse.source for synapse in node.synapses)


def synapse_shape(synapse: Synapse, source: Shape) -> Shape:
    """Shape of the charge that a synapse delivers from a source of shape ``source``.

    Raises:
        ConversionError: weight and source do not fit.
    """
    shape = synapse.weight.shape
    if isinstance(synapse, Linear):
        _require(len(shape) == 2 and min(shape) > 0, f"linear weight {shape} is not (out, in)")
        size = math.prod(source)
        _require(shape[1] == size, f"linear weight {shape} does not fit a source of {size}")
        return (shape[0],)
    if isinstance(synapse, Identity):
        _require(shape == source[:1], f"identity weight {shape} does not fit a source {source}")
        return source
    _require(len(shape) == 4 and min(shape) > 0, f"conv weight {shape} is not (out, in, kh, kw)")
    _require(len(source) == 3, f"convolution needs a source (C, H, W), got {source}")
    _require(shape[1] == source[0], f"conv weight {shape} does not fit a source {source}")
    _require_int("stride", synapse.stride, 1)
    _require_int("padding", synapse.padding, 0, min(shape[2:]) - 1)
    height, width = (
        (size + 2 * synapse.padding - kernel) // synapse.stride + 1
        for size, kernel in zip(source[1:], shape[2:], strict=True)
    )
    return (shape[0], height, width)


def validate(graph: Graph) -> dict[str, Shape]:
    """Check the structure and the number formats; return the shape of every node's activation.

    Reads shapes and dtypes of the arrays only, never their values (``bounds.prove`` reads those),
    so that a file's header can be judged before its weights are loaded.

    Raises:
        ConversionError: naming the node and what is wrong with it.
    """
    _require(len(graph.input_shape) == 3, f"input shape {graph.input_shape} is not (C, H, W)")
    for size in graph.input_shape:
        _require_int("input size", size, 1)
    _require(0 < len(graph.nodes) <= MAX_NODES, f"graph has {len(graph.nodes)} nodes")
    shapes: dict[str, Shape] = {INPUT: tuple(graph.input_shape)}
    elements = math.prod(graph.input_shape)
    _require(elements <= MAX_ELEMENTS, f"input {graph.input_shape} is too large")
    kinds: dict[str, type] = {INPUT: type(None)}
    for node in graph.nodes:
        try:
            _check_place(node, kinds)
            shape = _node_shape(node, shapes)
            elements += math.prod(shape)
            _require(elements <= MAX_ELEMENTS, f"with {shape} the activations are too large")
        except ConversionError as error:
            raise ConversionError(f"node '{node.name}': {error}") from None
        shapes[node.name], kinds[node.name] = shape, type(node)
    _require(Neurons in kinds.values(), "graph has no neurons, so nothing fires")
    _require(Head in kinds.values(), "graph has no head, so nothing to publish")
    return shapes


def _check_place(node: Node, kinds: dict[str, type]) -> None:
    """Check the names by which a node hangs together with the earlier ones."""
    _require(
        re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", node.name) is not None,
        "the name is not letters, digits and underscores",
    )
    _require(node.name not in kinds, "the name is taken")
    for source in sources(node):
        _require(source in kinds, f"source '{source}' is not an earlier node")
        _require(kinds[source] is not Head, f"source '{source}' is a head, which never fires")
    if isinstance(node, MaxPool):
        _require(
            kinds[node.source] in (Neurons, MaxPool),
            "max-pool follows neurons or another max-pool only",
        )


def _node_shape(node: Node, shapes: dict[str, Shape]) -> Shape:
    if isinstance(node, SumPool):
        return _sum_pool_shape(node, shapes[node.source])
    if isinstance(node, MaxPool):
        return _max_pool_shape(node, shapes[node.source])
    _require(len(node.synapses) > 0, "it has no synapse")
    charged = {synapse_shape(synapse, shapes[synapse.source]) for synapse in node.synapses}
    _require(len(charged) == 1, f"its synapses charge different shapes {sorted(charged)}")
    shape = charged.pop()
    _require(min(shape) > 0, f"its shape {shape} is empty")
    for synapse in node.synapses:
        dtype = np.int32 if isinstance(synapse, Identity) else np.int8
        _require(synapse.weight.dtype == dtype, f"weight is {synapse.weight.dtype}")
    _require_vector("bias", node.bias, shape[0])
    if isinstance(node, Head):
        _require(len(shape) == 1, f"a head has shape (outputs,), got {shape}")
        _require(node.kind in ("regression", "logit"), f"kind '{node.kind}' is unknown")
        _require(
            isinstance(node.scale, float) and 0 < node.scale < math.inf,
            f"scale {node.scale} is not a positive float",
        )
        return shape
    _require_vector("threshold", node.threshold, shape[0])
    if node.recurrent is not None:
        _require_vector("recurrent", node.recurrent, shape[0])
    _require_int("n_min", node.n_min, -MAX_COUNT, 0)
    _require_int("n_max", node.n_max, 1, MAX_COUNT)
    return shape


def _sum_pool_shape(node: SumPool, source: Shape) -> Shape:
    _require(len(source) == 3, f"sum-pool needs a source (C, H, W), got {source}")
    _require(len(node.kernel) == 2, f"kernel {node.kernel} is not (height, width)")
    for kernel in node.kernel:
        _require_int("kernel", kernel, 1)
    sizes = list(zip(source[1:], node.kernel, strict=True))
    _require(
        all(size % kernel == 0 for size, kernel in sizes),
        f"kernel {node.kernel} does not divide the source {source}",
    )
    return (source[0], *(size // kernel for size, kernel in sizes))


def _max_pool_shape(node: MaxPool, source: Shape) -> Shape:
    _require(len(source) == 3, f"max-pool needs a source (C, H, W), got {source}")
    _require_int("kernel", node.kernel, 1)
    _require_int("stride", node.stride, 1)
    _require_int("padding", node.padding, 0, node.kernel // 2)
    height, width = (
        (size + 2 * node.padding - node.kernel) // node.stride + 1 for size in source[1:]
    )
    _require(height > 0 and width > 0, f"kernel {node.kernel} is larger than the source {source}")
    return (source[0], height, width)


def _require_vector(what: str, values: NDArray[np.int32], channels: int) -> None:
    _require(
        values.shape == (channels,) and values.dtype == np.int32,
        f"{what} is {values.dtype} {values.shape}, expected int32 ({channels},)",
    )


def _require_int(what: str, value: object, low: int, high: int = MAX_ELEMENTS) -> None:
    """A bool or a NumPy integer is refused as well: neither would come back from a file."""
    _require(
        type(value) is int and low <= value <= high,
        f"{what} {value} is not a whole number in {low}..{high}",
    )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConversionError(message)
