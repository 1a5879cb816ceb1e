"""The engine for CUDA: what does not depend on the device is tested on the CPU.

Not covered where there is no CUDA: the recording of a graph, and the kernel as compiled (it is
run by Triton's interpreter where Triton is installed). Where there is one, with TF32 allowed and
forbidden, and with cuDNN choosing by measurement.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exercise_model import exercise_graph
from strategies import random_graph
from test_engines import float32_products, needs_cuda
from test_native import run_beside

from crnn_snn_ros.core import engines
from crnn_snn_ros.core.engines import make_engine
from crnn_snn_ros.core.engines.cuda import CudaEngine, _copy
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.graph import Graph
from crnn_snn_ros.core.verify import random_video, verify

ROOT = Path(__file__).resolve().parents[1]


def repeated(run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    """As a CUDA graph does: the same buffers in, the same buffers out, whatever happens outside."""
    outcome = run()
    return lambda: _copy(run(), outcome), outcome


def on_cpu(graph: Graph, chunk: int = 16) -> CudaEngine:
    return CudaEngine(graph, "cpu", chunk, record=repeated)


def frames_of(graph: Graph, count: int, seed: int) -> list[torch.Tensor]:
    return [torch.from_numpy(f[None]) for f in random_video(graph.input_shape, count, seed)]


@pytest.mark.parametrize("chunk", [1, 3, 16])
def test_static_buffers_are_exact(chunk: int) -> None:
    """With state, cut and whole, several streams side by side, all of every result."""
    for seed in range(15):
        graph = random_graph(np.random.default_rng(seed))
        pairs = zip(frames_of(graph, 4, seed), frames_of(graph, 4, seed + 99), strict=True)
        frames = [torch.cat(pair) for pair in pairs]
        run_beside([on_cpu(graph, chunk)], frames, [None, seed % 7 + 1], trace=False)


def test_verified_on_a_video() -> None:
    graph = exercise_graph()
    report = verify(graph, {"cuda": on_cpu(graph)}, random_video(graph.input_shape, 20))
    assert report.first_difference is None, str(report.first_difference)


def test_results_are_the_callers_own() -> None:
    graph = exercise_graph()
    engine = on_cpu(graph)
    carry, kept, copies = engine.initial_carry(), [], []
    for frame in frames_of(graph, 5, 0):
        result, carry = engine.step(frame, carry)
        kept.append(result.counts["block2"])
        copies.append(result.counts["block2"].clone())
    for counts, copy in zip(kept, copies, strict=True):
        assert torch.equal(counts, copy)


def test_another_device_is_refused() -> None:
    for engine in (lambda: CudaEngine(exercise_graph(), "cpu"), lambda: on("cuda", "cpu")):
        with pytest.raises(ConfigError, match="engine 'cuda' runs on CUDA only, got device 'cpu'"):
            engine()


class Inexact(CudaEngine):
    """As a device may be."""

    def step(self, *arguments: Any, **options: Any) -> Any:
        result, carry = super().step(*arguments, **options)
        result.heads["collision"].add_(1)
        return result, carry


def broken(graph: Graph, _: torch.device) -> CudaEngine:
    """As a driver may be."""
    raise RuntimeError(f"CUDA error: no kernel image for {len(graph.nodes)} nodes")


@pytest.mark.parametrize(
    ("build", "chosen"),
    [
        (lambda graph, _: on_cpu(graph), "cuda"),
        (lambda graph, _: Inexact(graph, "cpu", record=repeated), "folded"),
        (broken, "folded"),
    ],
)
def test_auto_takes_it_only_where_it_is_exact(
    build: Any, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "CudaEngine", build)
    assert engines._fastest_on_cuda(exercise_graph(), torch.device("cpu")).name == chosen


def on(name: str, device: str) -> Any:
    return make_engine(name, exercise_graph(), device)


INTERPRETED = """
import torch
from crnn_snn_ros.core.engines.fused_scan import scan
from crnn_snn_ros.core.neuron import BifParams, BifState, canonical_spike, rbif_step

torch.manual_seed(0)

def integers(low, high, *shape):
    return torch.randint(low, high + 1, shape).float()

for shape, steps, recurrent, end in (
    ((5, 3, 4), 7, False, 99), ((5, 3, 4), 7, True, 99), ((300,), 3, True, 99), ((7,), 9, True, 12)
):
    one = (shape[0],) + (1,) * (len(shape) - 1)
    params = BifParams(integers(2, 40, *one), -3, 7)
    state = BifState(integers(-90, 90, 1, *shape), integers(-3, 7, 1, *shape))
    charges = integers(-50, 50, steps, 1, *shape)
    before, weight = integers(-15, 15, 1, *shape), integers(-60, 60, *one)
    start, until = torch.tensor(5), torch.tensor(end)
    memory = (before, weight) if recurrent else None
    train, counts, after = scan(charges, state, params, memory, start, until)
    for step in range(steps):
        now = 5 + step + 1
        again = weight * canonical_spike(before, now) if recurrent else torch.zeros(())
        spike, moved = rbif_step(charges[step], again, state, params)
        if now > end:
            spike, moved = torch.zeros_like(spike), state
        state = moved
        assert torch.equal(train[step], spike), (shape, step)
        assert torch.equal(counts[step], state.spike_count), (shape, step)
    assert torch.equal(after.v, state.v) and torch.equal(after.spike_count, state.spike_count)
    assert train.abs().sum() > 0
print("exact")
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_the_kernel_is_exact_when_it_is_interpreted() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    result = subprocess.run(
        [sys.executable, "-c", INTERPRETED],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.endswith("exact\n"), result.stderr


@needs_cuda
@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("measured", [False, True])
def test_exact_on_a_device(tf32: bool, measured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", measured)
    with float32_products(tf32):
        for graph in (
            exercise_graph(),
            *(random_graph(np.random.default_rng(s)) for s in range(8)),
        ):
            engine = make_engine("cuda", graph, "cuda")
            report = verify(graph, {"cuda": engine}, random_video(graph.input_shape, 5))
            assert report.first_difference is None, str(report.first_difference)
