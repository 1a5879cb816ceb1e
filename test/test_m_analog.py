"""m-analog comes closer to the QANN with more time-steps and never arrives; s-analog is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from exercise_model import exercise_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import graphs

from crnn_snn_ros.core import m_analog, qann
from crnn_snn_ros.core.engines import ENGINES, make_engine
from crnn_snn_ros.core.graph import INPUT, Graph, Head, Linear, Neurons
from crnn_snn_ros.core.verify import random_video

FRAMES = 8


def outputs(graph: Graph, heads: Mapping[str, Any]) -> NDArray[np.float64]:
    """Accumulators of all heads in their units."""
    return np.concatenate([np.array(heads[h.name][0].tolist()) * h.scale for h in graph.heads()])


def quantized(graph: Graph) -> NDArray[np.float64]:
    """Of the exercise video, in the heads' units: (frames, outputs of all heads)."""
    carry = qann.initial_carry(graph)
    rows = []
    for frame in random_video(graph.input_shape, FRAMES):
        result, carry = qann.run_frame(graph, frame[None], carry)
        rows.append(outputs(graph, result.heads))
    return np.array(rows)


def rate_coded(graph: Graph, num_steps: int) -> NDArray[np.float64]:
    carry: m_analog.Trains = {}
    rows = []
    for frame in random_video(graph.input_shape, FRAMES):
        heads, carry = m_analog.run_frame(graph, frame, carry, num_steps)
        rows.append(np.concatenate([heads[h.name] for h in graph.heads()]))
    return np.array(rows)


def test_error_shrinks_with_time_steps_but_stays() -> None:
    graph = exercise_graph()
    exact = quantized(graph)
    errors = {
        num_steps: np.abs(rate_coded(graph, num_steps) - exact).mean(axis=0)
        for num_steps in (1, 4, 16, 256)
    }
    assert (errors[1] > errors[4]).all()
    assert (errors[4] > errors[16]).all()
    assert (errors[16] > errors[256]).all()
    assert (errors[256] > 0.01 * exact.std(axis=0)).all()


@pytest.mark.parametrize("name", list(ENGINES))
def test_s_analog_has_no_error_at_its_bound(name: str) -> None:
    graph = exercise_graph()
    engine = make_engine(name, graph)
    carry = engine.initial_carry()
    exact = quantized(graph)
    for frame, row in zip(random_video(graph.input_shape, FRAMES), exact, strict=True):
        result, carry = engine.step(
            torch.from_numpy(frame[None]), carry, num_steps=engine.bounds.settling_steps
        )
        assert outputs(graph, result.heads).tolist() == row.tolist()


@settings(deadline=None)
@given(
    pixel=st.integers(-128, 127),
    bias=st.integers(-300, 300),
    threshold=st.integers(2, 300),
    n_min=st.integers(-15, 0),
    n_max=st.integers(1, 15),
    num_steps=st.integers(1, 64),
)
def test_one_neuron_fires_at_the_rate_of_its_unrounded_activation(
    pixel: int, bias: int, threshold: int, n_min: int, n_max: int, num_steps: int
) -> None:
    """Within one spike: which is why a rate cannot equal the rounded activation of the QANN."""
    layer = Neurons(
        "a",
        (Linear(INPUT, np.array([[3]], np.int8)),),
        np.array([bias], np.int32),
        np.array([threshold], np.int32),
        n_min,
        n_max,
    )
    head = Head("steering", (Linear("a", np.array([[2]], np.int8)),), np.array([5], np.int32), 0.5)
    graph = Graph((1, 1, 1), (layer, head))
    frame = np.full((1, 1, 1), pixel, np.int8)
    heads, _ = m_analog.run_frame(graph, frame, {}, num_steps)
    activation = min(max((3 * pixel + bias) / threshold, n_min), n_max)
    one_spike = max(n_max, -n_min) / num_steps
    assert (heads["steering"][0] / 0.5 - 5) / 2 == pytest.approx(activation, abs=1.001 * one_spike)


@settings(deadline=None)
@given(graph=graphs(), num_steps=st.integers(1, 9))
def test_every_network_runs(graph: Graph, num_steps: int) -> None:
    carry: m_analog.Trains = {}
    for frame in random_video(graph.input_shape, 2):
        heads, carry = m_analog.run_frame(graph, frame, carry, num_steps)
        assert heads.keys() == {head.name for head in graph.heads()}
        assert all(np.isfinite(values).all() for values in heads.values())
    assert carry.keys() == {node.name for node, _ in graph.recurrent()}
    assert all(len(train) == num_steps for train in carry.values())
