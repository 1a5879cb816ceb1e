from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from strategies import graphs

from crnn_snn_ros.core.engines import make_engine
from crnn_snn_ros.core.graph import (
    INPUT,
    Conv,
    Graph,
    Head,
    Identity,
    Linear,
    MaxPool,
    Neurons,
    SumPool,
    Synapse,
    validate,
)
from crnn_snn_ros.core.verify import random_video
from crnn_snn_ros.evaluation.synops import OperationCounter


def reached(synapse: Synapse, source: tuple[int, ...], place: tuple[int, ...]) -> int:
    """How many membranes one spike is added to, by looking at every output of the synapse."""
    if isinstance(synapse, Linear):
        return synapse.weight.shape[0]
    if isinstance(synapse, Identity):
        return 1
    outputs, _, kernel_h, kernel_w = synapse.weight.shape
    height, width = (
        (size + 2 * synapse.padding - kernel) // synapse.stride + 1
        for size, kernel in zip(source[1:], (kernel_h, kernel_w), strict=True)
    )
    count = 0
    for out_y, out_x, at_y, at_x in product(
        range(height), range(width), range(kernel_h), range(kernel_w)
    ):
        y = out_y * synapse.stride - synapse.padding + at_y
        x = out_x * synapse.stride - synapse.padding + at_x
        count += outputs * ((y, x) == place[1:])
    return count


def brute_force(graph: Graph, activity: dict, before: dict) -> tuple[int, int, int]:
    """Multiplications, additions by spikes, and the dense count, spike by spike."""
    shapes = validate(graph)
    fired = {name: spikes[0].numpy() for name, spikes in activity.items()}
    multiplications = additions = dense = 0
    for node in graph.nodes:
        if isinstance(node, SumPool) and node.source in fired:
            total = np.zeros(shapes[node.name])
            for place in product(*map(range, shapes[node.source])):
                y, x = place[1] // node.kernel[0], place[2] // node.kernel[1]
                total[place[0], y, x] += fired[node.source][place]
            fired[node.name] = total
        if not isinstance(node, Neurons | Head):
            continue
        for synapse in node.synapses:
            source = shapes[synapse.source]
            for place in product(*map(range, source)):
                fan_out = reached(synapse, source, place)
                dense += fan_out
                if synapse.source == INPUT:
                    multiplications += fan_out
                elif synapse.source in fired:
                    additions += int(fired[synapse.source][place]) * fan_out
    additions += sum(int(count.abs().sum()) for count in before.values())
    return multiplications, additions, dense


def tiny_graph() -> Graph:
    rng = np.random.default_rng(1)

    def weights(*shape: int) -> np.ndarray:
        return rng.integers(-9, 10, shape).astype(np.int8)

    def vector(low: int, high: int, size: int) -> np.ndarray:
        return rng.integers(low, high, size).astype(np.int32)

    nodes = (
        Neurons(
            "conv", (Conv(INPUT, weights(2, 1, 3, 3), 1, 1),), vector(-99, 99, 2),
            vector(100, 400, 2), 0, 3,
        ),
        MaxPool("peak", "conv", 2, 2),
        Neurons(
            "block",
            (Conv("peak", weights(2, 2, 3, 3), 1, 1), Identity("peak", vector(1, 9, 2))),
            vector(0, 9, 2), vector(9, 30, 2), 0, 3,
        ),
        SumPool("mean", "block", (2, 2)),
        Neurons(
            "memory", (Linear("mean", weights(3, 2)),), vector(-9, 9, 3), vector(9, 40, 3), -3, 3,
            vector(-60, 60, 3),
        ),
        Head("steering", (Linear("memory", weights(1, 3)),), vector(0, 9, 1), 0.1),
    )  # fmt: skip
    return Graph((1, 4, 4), nodes)


def test_fan_outs_by_hand():
    """3x3 on 4x4 with padding: corners reach 4 outputs, edges 6, the middle 9, of 2 channels."""
    operations = OperationCounter(tiny_graph()).count({}, {})
    assert operations.multiplications == 2 * (4 * 4 + 8 * 6 + 4 * 9)
    assert operations.additions == 0
    spike = torch.zeros(1, 2, 2, 2)
    spike[0, 0, 1, 1] = 3
    # a max-pool spike: all 4 places of 2 channels, and its own identity
    assert OperationCounter(tiny_graph()).count({"peak": spike}, {}).additions == 3 * (8 + 1)
    recurrent = {"memory": torch.tensor([[-2.0, 0.0, 3.0]])}
    assert OperationCounter(tiny_graph()).count({}, recurrent)[1:] == (5, {"memory": 5})


def test_against_brute_force_on_real_activity():
    graph = tiny_graph()
    counter, engine = OperationCounter(graph), make_engine("stepwise", graph)
    carry = engine.initial_carry()
    additions = []
    for pixels in random_video(graph.input_shape, 12):
        entered = carry.counts
        result, carry = engine.step(torch.from_numpy(pixels[None]), carry)
        operations = counter.count(result.activity, entered)
        want = brute_force(graph, result.activity, entered)
        assert (*operations[:2], counter.dense()) == want
        assert sum(operations.by_layer.values()) == operations.additions
        additions.append(operations.additions)
    assert len(set(additions)) > 3  # it depends on the picture


@settings(deadline=None, max_examples=20)
@given(graphs())
def test_against_brute_force_on_random_graphs(graph):
    counter, engine = OperationCounter(graph), make_engine("folded", graph)
    carry = engine.initial_carry()
    for pixels in random_video(graph.input_shape, 2):
        entered = carry.counts
        result, carry = engine.step(torch.from_numpy(pixels[None]), carry)
        operations = counter.count(result.activity, entered)
        assert (*operations[:2], counter.dense()) == brute_force(graph, result.activity, entered)


@pytest.mark.parametrize("engine", ["stepwise", "folded"])
def test_engines_count_the_same(engine):
    graph = tiny_graph()
    frame = torch.from_numpy(next(random_video(graph.input_shape, 1))[None])
    counts = []
    for name in ("stepwise", engine):
        built = make_engine(name, graph)
        result, _ = built.step(frame, built.initial_carry())
        counts.append(OperationCounter(graph).count(result.activity, {}))
    assert counts[0] == counts[1]
