"""Convolution of spikes by int8 products against the same in float64: any shape, any spikes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from exercise_model import exercise_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from test_native import frames_of, run_beside

from crnn_snn_ros.core.engines import compiled, int8_convolution
from crnn_snn_ros.core.engines.base import make_charge
from crnn_snn_ros.core.engines.int8_convolution import LARGEST, largest_spikes, make_int8_charge
from crnn_snn_ros.core.graph import INPUT, Conv, Graph, Head, Linear, MaxPool, Neurons, SumPool

needs_it = pytest.mark.skipif(not int8_convolution.available(), reason="not on this CPU")


@needs_it
@settings(deadline=None, max_examples=60)
@given(
    shape=st.tuples(*(st.integers(1, n) for n in (20, 20, 5, 5, 9, 9))),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    largest=st.integers(1, LARGEST),
    extreme=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_equals_float64(shape, stride, padding, largest, extreme, seed) -> None:
    out, sources, high, wide, more_high, more_wide = shape
    rng = np.random.default_rng(seed)
    ends = [-127, 127] if extreme else list(range(-127, 128))
    weight = rng.choice(ends, (out, sources, high, wide)).astype(np.int8)
    synapse = Conv("layer", weight, stride, padding)
    size = (sources, high + more_high, wide + more_wide)
    ends = [-largest, largest] if extreme else list(range(-largest, largest + 1))
    spikes = torch.from_numpy(rng.choice(ends, (3, *size)).astype(np.float32))
    expected = make_charge(synapse, torch.device("cpu"), torch.float64)(spikes)
    found = make_int8_charge(synapse, largest, size)(spikes)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_what_a_node_can_send_in_one_time_step() -> None:
    one = np.ones(1, np.int32)
    a = Neurons("a", (Conv(INPUT, np.ones((1, 1, 1, 1), np.int8)),), 0 * one, 9 * one, 0, 7)
    nodes = (
        *(SumPool("blurred", INPUT, (2, 2)), a, MaxPool("most", "a", 2, 2)),
        *(SumPool("sum", "a", (2, 3)), SumPool("sums", "sum", (2, 2))),
        Head("steering", (Linear("sums", np.ones((1, 1), np.int8)),), one, 1.0),
    )
    found = largest_spikes(Graph((1, 4, 6), nodes))
    assert {name: found.get(name) for name in ("blurred", "a", "most", "sum", "sums")} == {
        **{"blurred": None, "a": 1, "most": 1},
        **{"sum": 6, "sums": 24},
    }


@pytest.mark.parametrize("there", [True, False])
def test_the_engine_needs_it_not(monkeypatch, there) -> None:
    if there and not int8_convolution.available():
        pytest.skip("not on this CPU")
    monkeypatch.setattr(int8_convolution, "available", lambda: there)
    graph = exercise_graph()
    engine = compiled.CompiledEngine(graph, compiled=False)
    run_beside([engine], frames_of(graph, 4, 0, 2), [None, 3], trace=False)
