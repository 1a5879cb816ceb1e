"""Settling bounds that constructed networks meet to the time-step, and the limit of 2^24.

What the constructions do not reach: signed layers on a source that settles before it has had time
for n_min steps down (there the bound is safe, but not shown to be tight), and networks with pools
between the layers, which add nothing to the bound.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import graphs

from crnn_snn_ros.core.bounds import ACCUMULATOR_LIMIT, largest_counts, prove
from crnn_snn_ros.core.engines import ENGINES, make_engine
from crnn_snn_ros.core.errors import ConversionError
from crnn_snn_ros.core.graph import INPUT, Conv, Graph, Head, Linear, MaxPool, Neurons, SumPool
from crnn_snn_ros.core.verify import random_video, verify

LOUD, SILENT = 127, 0
Int8 = NDArray[np.int8]


def vector(*values: int) -> NDArray[np.int32]:
    return np.array(values, np.int32)


def weight(*rows: list[int]) -> Int8:
    return np.array(rows, np.int8)


def late_layer(name: str, source: str, source_top: int, n_min: int, n_max: int) -> Neurons:
    """One neuron that runs down to n_min until its source's last spike sends it up to n_max.

    With R = n_max - n_min, one spike charges R thresholds, and the bias is such that the source's
    n_max spikes give n_max thresholds in all, one less gives n_min.
    """
    threshold = 2
    charge = threshold * (n_max - n_min)
    assert charge <= 127, "int8"
    bias = threshold * n_max - charge * source_top - threshold // 2
    synapse = Linear(source, weight([charge]))
    return Neurons(name, (synapse,), vector(bias), vector(threshold), n_min, n_max)


def network(*layers: Neurons) -> Graph:
    head = Head("steering", (Linear(layers[-1].name, weight([1])),), vector(0), 1.0)
    return Graph((1, 1, 1), (*layers, head))


def first_layer(n_max: int, recurrent: bool = False) -> Neurons:
    """Counts n_max on a loud pixel; if recurrent, then again only at its last recurrent spike.

    On the loud pixel it has charge enough whatever comes back from the frame before. On the silent
    one its bias lacks n_max - 1 recurrent spikes of n_max thresholds each.
    """
    threshold = 2
    if not recurrent:
        bias, u = 0, None
    else:
        bias, u = -(n_max - 1) * threshold * n_max, vector(threshold * n_max)
    synapse = Linear(INPUT, weight([127]))
    return Neurons("layer0", (synapse,), vector(bias), vector(threshold), 0, n_max, u)


def settle_steps(graph: Graph, video: list[int]) -> dict[str, list[int]]:
    """Of each engine, at each frame; the engines being exact meanwhile."""
    frames = [np.full((1, 1, 1), pixel, np.int8) for pixel in video]
    engines = {name: make_engine(name, graph) for name in ENGINES}
    return {name: verified(graph, name, engine, frames) for name, engine in engines.items()}


def verified(graph: Graph, name: str, engine: object, frames: list[Int8]) -> list[int]:
    report = verify(graph, {name: engine}, frames)  # type: ignore[dict-item]
    assert report.first_difference is None, str(report.first_difference)
    return report.settle_steps


@pytest.mark.parametrize("levels", [1, 2, 3, 7, 15, 31, 63])
@pytest.mark.parametrize("depth", [1, 2, 3, 5, 8])
def test_chain_meets_the_bound(depth: int, levels: int) -> None:
    chain = [late_layer(f"layer{i}", f"layer{i - 1}", levels, 0, levels) for i in range(1, depth)]
    graph = network(first_layer(levels), *chain)
    bound = prove(graph).settling_steps
    assert bound == depth * (levels - 1) + 1
    assert settle_steps(graph, [LOUD]) == {name: [bound] for name in ENGINES}


@pytest.mark.parametrize("levels", [1, 2, 3, 7, 15, 31, 63])
@pytest.mark.parametrize("depth", [1, 2, 3, 5, 8])
def test_chain_with_recurrent_first_layer_meets_the_bound(depth: int, levels: int) -> None:
    chain = [late_layer(f"layer{i}", f"layer{i - 1}", levels, 0, levels) for i in range(1, depth)]
    graph = network(first_layer(levels, recurrent=True), *chain)
    bound = prove(graph).settling_steps
    assert bound == (depth + 1) * (levels - 1) + 1
    for steps in settle_steps(graph, [LOUD, SILENT, SILENT]).values():
        assert steps[1:] == [bound, bound]  # the second frame's memory does it again in the third


@pytest.mark.parametrize("levels", [[7, 6], [7, 3, 11], [15, 14, 15, 15], [4, 3, 3, 3, 3, 3]])
def test_chain_of_signed_layers_meets_the_bound(levels: list[int]) -> None:
    """All signed but the first, R = 2 L: all the way down before the last spike, and up again."""
    first, *rest = levels
    chain = [
        late_layer(f"layer{i}", f"layer{i - 1}", top, -size, size)
        for i, (top, size) in enumerate(zip(levels, rest, strict=False), start=1)
    ]
    graph = network(first_layer(first), *chain)
    bound = prove(graph).settling_steps
    assert bound == first + sum(2 * size - 1 for size in rest)
    assert settle_steps(graph, [LOUD]) == {name: [bound] for name in ENGINES}


@pytest.mark.parametrize("levels", [2, 3, 7, 15])
def test_signed_recurrent_first_layer_comes_one_short_of_the_bound(levels: int) -> None:
    """Recurrent spikes end at step L, before which there is time for L - 1 steps down, not L."""
    threshold = 2
    gain = threshold * (2 * levels)
    bias = threshold * levels - gain * levels - threshold // 2
    layer = Neurons(
        "layer0",
        (Linear(INPUT, weight([127])),),
        vector(bias),
        vector(threshold),
        -levels,
        levels,
        vector(gain),
    )
    graph = network(layer)
    bound = prove(graph).settling_steps
    assert bound == 3 * levels - 1
    for steps in settle_steps(graph, [LOUD, SILENT]).values():
        assert steps[1] == bound - 1


@pytest.mark.parametrize("levels", [1, 2, 7, 15])
def test_signed_first_layer_walks_one_way(levels: int) -> None:
    """All its charge is there at time-step 1, so it takes L steps and not 2 L."""
    synapse = Linear(INPUT, weight([127]))
    graph = network(Neurons("a", (synapse,), vector(0), vector(2), -levels, levels))
    assert prove(graph).settling_steps == levels
    for steps in settle_steps(graph, [127, -128]).values():
        assert steps == [levels, levels]


@settings(deadline=None)
@given(graph=graphs(), seed=st.integers(0, 2**16))
def test_no_layer_fires_after_its_own_bound(graph: Graph, seed: int) -> None:
    bounds = prove(graph)
    assert max(bounds.layer_steps.values()) == bounds.settling_steps
    engine = make_engine("stepwise", graph)
    carry = engine.initial_carry()
    for frame in random_video(graph.input_shape, 4, seed):
        result, carry = engine.step(torch.from_numpy(frame[None]), carry, trace=True)
        assert result.trace is not None
        for name, train in result.trace.spikes.items():
            assert not train[bounds.layer_steps[name] :].any()


def network_below_the_limit(missing: int) -> Graph:
    """A layer whose membrane can reach 2^24 - missing, and exactly so on the lowest input."""
    size, level, threshold = 990, 255, 2047
    largest = 128 * 127 * size
    bias = ACCUMULATOR_LIMIT - missing - largest - threshold // 2 - threshold * level
    assert 0 < bias < ACCUMULATOR_LIMIT
    synapse = Linear(INPUT, np.full((1, size), -127, np.int8))
    big = Neurons("big", (synapse,), vector(bias), vector(threshold), 0, level)
    head = Head("steering", (Linear("big", weight([1])),), vector(0), 1.0)
    return Graph((1, 1, size), (big, head))


def test_just_below_two_to_the_24_is_allowed_and_exact() -> None:
    graph = network_below_the_limit(missing=1)
    assert prove(graph).accumulator == ACCUMULATOR_LIMIT - 1
    lowest = np.full(graph.input_shape, -128, np.int8)
    odd = lowest.copy()
    odd[0, 0, ::3] = 127
    for name in ENGINES:
        report = verify(graph, {name: make_engine(name, graph)}, [lowest, odd, lowest])
        assert report.first_difference is None


def test_two_to_the_24_is_refused_by_name() -> None:
    graph = network_below_the_limit(missing=0)
    with pytest.raises(ConversionError, match=r"node 'big': a membrane could reach 16777216"):
        prove(graph)
    for name in ENGINES:
        with pytest.raises(ConversionError, match="'big'"):
            make_engine(name, graph)


def test_head_is_held_to_the_limit_too() -> None:
    head = Head("steering", (Linear("layer0", weight([1])),), vector(ACCUMULATOR_LIMIT - 3), 1.0)
    assert prove(Graph((1, 1, 1), (first_layer(2), head))).accumulator == ACCUMULATOR_LIMIT - 1
    head = Head("steering", (Linear("layer0", weight([1])),), vector(2 - ACCUMULATOR_LIMIT), 1.0)
    with pytest.raises(ConversionError, match=r"node 'steering': a membrane could reach 16777216"):
        prove(Graph((1, 1, 1), (first_layer(2), head)))


@pytest.mark.parametrize("kernel", [(1, 1), (2, 2), (3, 2), (6, 6)])
def test_sum_pool_multiplies_the_count(kernel: tuple[int, int]) -> None:
    identity = np.ones((1, 1, 1, 1), np.int8)
    nodes = (
        SumPool("blur", INPUT, kernel),
        Neurons("a", (Conv("blur", identity),), vector(0), vector(2), -3, 5),
        MaxPool("peak", "a", 1, 1),
    )
    second = SumPool("mean", "peak", (6 // kernel[0], 6 // kernel[1]))
    head = Head("steering", (Linear("mean", weight([127])),), vector(-7), 1.0)
    graph = Graph((1, 6, 6), (*nodes, second, head))
    area = kernel[0] * kernel[1]
    counts = {INPUT: 128, "blur": 128 * area, "a": 5, "peak": 5, "mean": 5 * 36 // area}
    assert largest_counts(graph) == counts
    assert prove(graph).accumulator == max(128 * area + 1 + 2 * 5, 127 * 5 * 36 // area + 7)
