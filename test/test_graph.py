"""What ``validate`` accepts can be run; what it refuses, it refuses as a ConversionError."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from model_samples import golden_model
from strategies import graphs

from crnn_snn_ros.core import bounds, qann
from crnn_snn_ros.core.errors import ConversionError
from crnn_snn_ros.core.graph import (
    INPUT,
    MAX_ELEMENTS,
    Conv,
    Graph,
    Head,
    Identity,
    Linear,
    MaxPool,
    Neurons,
    Node,
    SumPool,
    validate,
)


def graph_with(name: str, **changes: Any) -> Graph:
    """The golden graph with one node changed."""
    graph = golden_model().graph
    nodes = tuple(
        dataclasses.replace(node, **changes) if node.name == name else node for node in graph.nodes
    )
    assert any(node.name == name for node in nodes)
    return Graph(graph.input_shape, nodes)


def conv_with(**changes: Any) -> Graph:
    """The golden graph with its first synapse changed."""
    first = golden_model().graph.nodes[0]
    assert isinstance(first, Neurons)
    return graph_with("conv1", synapses=(dataclasses.replace(first.synapses[0], **changes),))


def ones(*shape: int) -> Any:
    return np.ones(shape, np.int32)


def dense(name: str, source: str, size: int) -> Neurons:
    return Neurons(name, (Linear(source, np.ones((1, size), np.int8)),), ones(1), ones(1), 0, 1)


def head(source: str, size: int = 1) -> Head:
    return Head("steering", (Linear(source, np.ones((1, size), np.int8)),), ones(1), 1.0)


@given(graph=graphs())
def test_shapes_are_those_that_the_reference_computes(graph: Graph) -> None:
    shapes = validate(graph)
    frame = np.full((1, *graph.input_shape), -128, np.int8)
    result, _ = qann.run_frame(graph, frame, qann.initial_carry(graph))
    found = {name: array.shape[1:] for name, array in (result.counts | result.heads).items()}
    assert found == shapes


@pytest.mark.parametrize("value", [0, -1, 1.0, True, np.int64(1), None, "1", 10**30, float("nan")])
def test_numbers_of_the_structure_are_python_integers_in_range(value: Any) -> None:
    wrong = [
        conv_with(stride=value),
        graph_with("peak", stride=value),
        graph_with("peak", kernel=value),
        graph_with("mean", kernel=(value, 1)),
        graph_with("conv1", n_max=value),
        Graph((value, 4, 4), golden_model().graph.nodes),
    ]
    for graph in wrong:
        with pytest.raises(ConversionError, match="is not a whole number"):
            validate(graph)


@pytest.mark.parametrize("value", [-1, 3, 1.0, True, np.int64(1), None, "1", 10**30])
def test_padding_is_a_python_integer_below_the_kernel(value: Any) -> None:
    for graph in (conv_with(padding=value), graph_with("peak", padding=value)):
        with pytest.raises(ConversionError, match="padding"):
            validate(graph)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), 1, 10**310, True, None])
def test_scale_is_a_positive_float(value: Any) -> None:
    with pytest.raises(ConversionError, match="scale"):
        validate(graph_with("steering", scale=value))


@pytest.mark.parametrize(
    ("message", "nodes"),
    [
        ("no nodes|0 nodes", ()),
        ("no neurons", (head(INPUT, 16),)),
        ("no head", (dense("a", INPUT, 16),)),
        ("not an earlier node", (dense("a", "a", 1), head("a"))),
        ("not an earlier node", (dense("a", "b", 1), dense("b", INPUT, 16), head("b"))),
        ("is a head", (head(INPUT, 16), dense("a", "steering", 1))),
        ("name is taken", (dense("a", INPUT, 16), dense("a", INPUT, 16), head("a"))),
        ("name is taken", (dense("input", INPUT, 16), head("input"))),
        ("not letters", (dense("a.b", INPUT, 16), head("a.b"))),
        ("not letters", (dense("a\n", INPUT, 16), head("a\n"))),
        ("follows neurons", (MaxPool("m", INPUT, 2, 2), dense("a", "m", 4), head("a"))),
        (
            "follows neurons",
            (SumPool("s", INPUT, (2, 2)), MaxPool("m", "s", 1, 1), dense("a", "m", 4), head("a")),
        ),
        ("does not divide", (SumPool("s", INPUT, (3, 1)), dense("a", "s", 4), head("a"))),
        ("does not fit", (dense("a", INPUT, 15), head("a"))),
        ("no synapse", (Neurons("a", (), ones(1), ones(1), 0, 1), head("a"))),
        (
            "different shapes",
            (
                Neurons(
                    "a",
                    (
                        Identity(INPUT, ones(1)),
                        Linear(INPUT, np.ones((1, 16), np.int8)),
                    ),
                    ones(1),
                    ones(1),
                    0,
                    1,
                ),
                head("a"),
            ),
        ),
        (
            "empty",
            (
                Neurons(
                    "a", (Conv(INPUT, np.ones((1, 1, 5, 5), np.int8)),), ones(1), ones(1), 0, 1
                ),
                head("a"),
            ),
        ),
    ],
)
def test_structures_that_are_no_network_are_refused(message: str, nodes: tuple[Node, ...]) -> None:
    with pytest.raises(ConversionError, match=message):
        validate(Graph((1, 4, 4), nodes))


@pytest.mark.parametrize(
    "changes",
    [
        {"bias": np.zeros(2, np.int64)},
        {"bias": np.zeros(2, np.float32)},
        {"bias": np.zeros((2, 1), np.int32)},
        {"threshold": np.zeros(3, np.int32)},
        {"threshold": np.zeros(2, ">i4")},
        {"recurrent": np.zeros((), np.int32)},
        {"synapses": (Conv(INPUT, np.zeros((2, 1, 3, 3), np.int32), padding=1),)},
        {"synapses": (Conv(INPUT, np.zeros((2, 2, 3, 3), np.int8), padding=1),)},
        {"synapses": (Conv(INPUT, np.zeros((2, 1, 3), np.int8)),)},
        {"synapses": (Identity(INPUT, np.zeros(1, np.int8)),)},
    ],
)
def test_arrays_of_the_wrong_form_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConversionError, match="node 'conv1'"):
        validate(graph_with("conv1", **changes))


def test_activations_are_limited_together() -> None:
    """Many layers that are each allowed must not add up to more memory than a robot has."""
    side = 2**12
    layers = [
        Neurons(
            f"a{i}",
            (Conv(INPUT, np.ones((1, 1, 1, 1), np.int8)),),
            ones(1),
            ones(1),
            0,
            1,
        )
        for i in range(MAX_ELEMENTS // side**2)
    ]
    narrow = dense("out", "small", 1)
    small = SumPool("small", INPUT, (side, side))
    with pytest.raises(ConversionError, match="too large"):
        validate(Graph((1, side, side), (*layers, small, narrow, head("out"))))
    validate(Graph((1, side, side), (*layers[2:], small, narrow, head("out"))))


def test_sum_that_leaves_the_exact_integers_is_refused() -> None:
    pool = SumPool("pool", INPUT, (512, 256))  # 2^17 pixels of up to 2^7
    graph = Graph((1, 512, 256), (pool, dense("a", "pool", 1), head("a")))
    with pytest.raises(ConversionError, match=r"'pool': a sum could reach 16777216"):
        bounds.prove(graph)


def test_bound_does_not_wrap_around() -> None:
    """The charges add up to 2^64: summed blindly in int64 that is zero, and would be accepted."""
    pool = SumPool("pool", INPUT, (256, 256))  # 2^23
    many = (Identity("pool", np.full(1, -(2**31), np.int32)),) * 1024  # 2^31 each: 2^64 together
    layer = Neurons("a", many, np.zeros(1, np.int32), np.full(1, 2, np.int32), 0, 1)
    graph = Graph((1, 256, 256), (pool, layer, head("a")))
    with pytest.raises(ConversionError, match=r"'a': a membrane could reach"):
        bounds.prove(graph)


@given(graph=graphs())
def test_accumulator_bound_is_the_formula(graph: Graph) -> None:
    """In Python's integers, term by term."""
    largest = bounds.largest_counts(graph)
    reach = 0
    for node in graph.nodes:
        if isinstance(node, SumPool | MaxPool):
            continue
        for i, bias in enumerate(node.bias.tolist()):
            total = abs(bias)
            for synapse in node.synapses:
                row = synapse.weight[i].ravel().tolist()
                total += sum(map(abs, row)) * largest[synapse.source]
            if isinstance(node, Neurons):
                threshold, count = int(node.threshold[i]), max(node.n_max, -node.n_min)
                total += threshold // 2 + threshold * count
                if node.recurrent is not None:
                    total += abs(int(node.recurrent[i])) * count
            reach = max(reach, total)
    assert bounds.prove(graph).accumulator == reach


def test_bound_counts_the_lowest_int8_as_128() -> None:
    """Its negative is no int8."""
    lowest = Linear(INPUT, np.full((1, 16), -128, np.int8))
    layer = Neurons("a", (lowest,), np.zeros(1, np.int32), np.full(1, 2, np.int32), 0, 1)
    graph = Graph((1, 4, 4), (layer, head("a")))
    assert bounds.prove(graph).accumulator == 16 * 128 * 128 + 1 + 2
