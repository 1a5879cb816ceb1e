"""Exact on machines that multiply coarsely or convolve otherwise, as far as a CPU can play them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from exercise_model import exercise_graph
from strategies import random_graph

from crnn_snn_ros.core.engines import ENGINES, base, make_engine
from crnn_snn_ros.core.graph import INPUT, Graph, Head, Linear, Neurons, SumPool
from crnn_snn_ros.core.verify import random_video, verify


def assert_exact(graph: Graph, frames: int, seed: int) -> None:
    engines = {name: make_engine(name, graph) for name in ENGINES}
    report = verify(graph, engines, random_video(graph.input_shape, frames, seed))
    assert report.first_difference is None, str(report.first_difference)


def bfloat16(values: torch.Tensor) -> torch.Tensor:
    return values.bfloat16().float() if values.dtype == torch.float32 else values


class CoarseProducts:
    """``torch.nn.functional`` on a machine that shortens float32 operands, as bfloat16 does."""

    def __getattr__(self, name: str) -> object:
        return getattr(torch.nn.functional, name)

    def linear(self, source: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(bfloat16(source), bfloat16(weight))

    def conv2d(self, source: torch.Tensor, weight: torch.Tensor, **how: int) -> torch.Tensor:
        return torch.nn.functional.conv2d(bfloat16(source), bfloat16(weight), **how)


def pooled_graph() -> Graph:
    """Counts of up to 255 * 24 and 127 * 24 come out of its pools: more than 11 bits hold."""
    blur = SumPool("blur", INPUT, (4, 6))
    seen = Linear("blur", np.array([[127, -3, 55, 1], [-90, 7, 2, 126]], np.int8))
    wide = Linear(INPUT, (np.arange(96 * 96) % 255 - 127).astype(np.int8).reshape(96, 96))
    loud = Neurons("loud", (wide,), vector(96, 0), vector(96, 11), 0, 255)
    small = Neurons("small", (seen,), vector(2, 0), vector(2, 2047), -15, 15, vector(2, 6141))
    heads = (
        Head(
            "steering",
            (Linear("loud", wide.weight[:1]), Linear("small", seen.weight[:1, :2])),
            vector(1, 5),
            1.0,
        ),
    )
    return Graph((1, 8, 12), (blur, small, loud, *heads))


def vector(size: int, value: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    return np.full(size, value, np.int32)


def test_exact_where_products_are_coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """What TF32 on CUDA would do, and more, on any machine: settings are global in PyTorch."""
    graph_list = [pooled_graph(), *(random_graph(np.random.default_rng(s)) for s in range(60))]
    monkeypatch.setattr(base, "functional", CoarseProducts())
    for graph in graph_list:
        assert_exact(graph, 3, seed=1)
    monkeypatch.setattr(base, "EXACT_OPERAND", 2**24)
    with pytest.raises(AssertionError):  # the precaution is what does it
        assert_exact(pooled_graph(), 3, seed=1)


def test_exact_whatever_the_default_dtype() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        assert_exact(exercise_graph(), 3, seed=0)
    finally:
        torch.set_default_dtype(torch.float32)


class MatrixConvolutions(CoarseProducts):
    """The convolution of devices other than the CPU, in coarse arithmetic."""

    def conv2d(self, source: torch.Tensor, weight: torch.Tensor, **how: int) -> torch.Tensor:
        return base.matrix_convolution(bfloat16(source), bfloat16(weight), **how)


def test_exact_with_the_convolution_of_other_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "functional", MatrixConvolutions())
    assert_exact(exercise_graph(), 5, seed=0)
    for seed in range(60):
        assert_exact(random_graph(np.random.default_rng(seed)), 3, seed)
