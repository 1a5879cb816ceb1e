"""The native engine on every instruction set of this CPU: equal to ``stepwise`` in all it says.

What the other tests of all engines do (``test_engines``, ``test_bounds``...) they do with its
fastest path and usual chunk; here are the other paths, and the chunks that cut frames in pieces.
Not covered: CPUs other than x86-64, which run the portable path that is tested here.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from exercise_model import exercise_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from model_samples import golden_model
from strategies import graphs, random_graph

from crnn_snn_ros.core.engines import ENGINES, make_engine
from crnn_snn_ros.core.engines.base import Carry, Engine, FrameResult, Trace
from crnn_snn_ros.core.engines.native import PATH_VARIABLE, NativeEngine, native_paths
from crnn_snn_ros.core.engines.native_pack import _summable
from crnn_snn_ros.core.engines.native_whole import NativeCollapsedEngine
from crnn_snn_ros.core.engines.stepwise import StepwiseEngine
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.graph import INPUT, Conv, Graph, Head, Identity, Linear, Neurons, SumPool
from crnn_snn_ros.core.verify import random_video

pytestmark = pytest.mark.skipif(
    "native" not in ENGINES, reason="the native library is not built: install with a C++ compiler"
)
paths = pytest.mark.parametrize("path", native_paths())
chunks = st.sampled_from([1, 2, 3, 7, 16, 64])


def frames_of(graph: Graph, count: int, seed: int = 0, streams: int = 1) -> list[torch.Tensor]:
    """Frames of several streams side by side: (streams, C, H, W)."""
    videos = [random_video(graph.input_shape, count, seed + stream) for stream in range(streams)]
    return [torch.from_numpy(np.stack(frames)) for frames in zip(*videos, strict=True)]


def assert_equal(got: FrameResult, want: FrameResult) -> None:
    """Every field, every layer, every element; of the trace as well."""
    for field in ("heads", "counts", "activity"):
        assert_same_tensors(getattr(got, field), getattr(want, field), field)
    assert torch.equal(got.settle_steps, want.settle_steps)
    assert torch.equal(got.settled, want.settled)
    assert (got.trace is None) == (want.trace is None)
    if got.trace is not None and want.trace is not None:
        for field in Trace._fields:
            assert_same_tensors(getattr(got.trace, field), getattr(want.trace, field), field)


def assert_same_tensors(
    got: dict[str, torch.Tensor], want: dict[str, torch.Tensor], field: str
) -> None:
    assert got.keys() == want.keys()
    for layer in want:
        assert got[layer].dtype == want[layer].dtype
        assert torch.equal(got[layer], want[layer]), (field, layer)


def run_beside(
    natives: list[Engine], frames: list[torch.Tensor], cuts: list[int | None], trace: bool = True
) -> None:
    """A stream with state through native engines and ``stepwise``; equal in every frame."""
    engines = [StepwiseEngine(natives[0].graph), *natives]
    carries = [engine.initial_carry(len(frames[0])) for engine in engines]
    for number, frame in enumerate(frames):
        cut = cuts[number % len(cuts)]
        steps = [
            engine.step(frame, carry, num_steps=cut, trace=trace)
            for engine, carry in zip(engines, carries, strict=True)
        ]
        carries = [carry for _, carry in steps]
        for got, carry in steps[1:]:
            assert_equal(got, steps[0][0])
            assert torch.equal(carry.exact, carries[0].exact)
            assert_same_tensors(carry.counts, carries[0].counts, "carry")


@paths
@settings(deadline=None, max_examples=60)
@given(graph=graphs(), seed=st.integers(0, 2**16), chunk=chunks, streams=st.integers(1, 3))
def test_equal_on_any_graph(path: str, graph: Graph, seed: int, chunk: int, streams: int) -> None:
    engine = NativeEngine(graph, path=path, chunk=chunk)
    run_beside([engine], frames_of(graph, 4, seed, streams), [None])


@paths
def test_equal_on_many_seeds(path: str) -> None:
    """Hypothesis prefers small networks; a seeded generator does not."""
    for seed in range(120):
        graph = random_graph(np.random.default_rng(seed))
        engine = NativeEngine(graph, path=path, chunk=1 + seed % 20)
        run_beside([engine], frames_of(graph, 3, seed), [None, seed % 9 + 1], trace=seed % 2 == 0)


@paths
@settings(deadline=None, max_examples=20)
@given(graph=graphs(), seed=st.integers(0, 2**16), chunk=chunks)
def test_equal_wherever_the_frame_is_cut(path: str, graph: Graph, seed: int, chunk: int) -> None:
    engine = NativeEngine(graph, path=path, chunk=chunk)
    frames = frames_of(graph, 2, seed)
    for num_steps in range(1, engine.bounds.settling_steps + 1):
        run_beside([engine], frames, [None, num_steps])


def test_equal_over_a_long_stream() -> None:
    """A thousand frames with state; sometimes one is cut, and the stream goes on from there."""
    graph = exercise_graph()
    cuts = [None] * 96 + [4]
    engines: list[Engine] = [
        NativeEngine(graph, path=path, chunk=chunk) for path in native_paths() for chunk in (16, 5)
    ]
    run_beside(engines, frames_of(graph, 1000, seed=5), cuts, trace=False)


@pytest.mark.parametrize("streams", [1, 2, 5])
def test_equal_on_small_models_at_every_cut(streams: int) -> None:
    for graph in (exercise_graph(), golden_model().graph):
        engines: list[Engine] = [NativeEngine(graph, path=path) for path in native_paths()]
        frames = frames_of(graph, 3, seed=1, streams=streams)
        for num_steps in range(1, engines[0].bounds.settling_steps + 1):
            run_beside(engines, frames, [None, num_steps])


def vector(size: int, value: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    return np.full(size, value, np.int32)


def patterned(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
    """Weights over the whole of int8, its least and largest among them."""
    return (np.arange(np.prod(shape)) * 37 % 256 - 128).astype(np.int8).reshape(shape)


def wide_graph() -> Graph:
    """Many channels, pools too large for u8, an identity of the input, counts of up to 255."""
    eye = Neurons(
        "eye",
        (Conv(INPUT, patterned(37, 5, 3, 3), padding=1), Conv("soft", patterned(37, 5, 1, 1))),
        vector(37, 9),
        vector(37, 2047),
        0,
        255,
    )
    copy = Neurons("copy", (Identity(INPUT, vector(5, 13)),), vector(5, 0), vector(5, 900), -2, 2)
    again = Neurons(
        "again",
        (Conv("eye", patterned(70, 37, 2, 2), stride=2), Conv("copy", patterned(70, 5, 2, 2), 2)),
        vector(70, -4),
        vector(70, 1999),
        -20,
        20,
        vector(70, -3000),
    )
    return Graph(
        (5, 8, 12),
        (
            SumPool("soft", INPUT, (1, 1)),
            eye,
            copy,
            again,
            SumPool("some", "again", (4, 2)),
            SumPool("all", "some", (1, 3)),
            SumPool("sea", INPUT, (8, 12)),
            Neurons(
                "mind",
                (
                    Linear("some", patterned(3, 210)),
                    Linear("all", patterned(3, 70)),
                    Linear("sea", patterned(3, 5)),
                ),
                vector(3, 1),
                vector(3, 2047),
                -9,
                9,
            ),
            Head("steering", (Linear("mind", patterned(18, 3)),), vector(18, 7), 1.0),
            Head("collision", (Linear("all", patterned(1, 70)),), vector(1, 7), 1.0),
        ),
    )


@paths
@pytest.mark.parametrize("chunk", [1, 9, 16, 64])
def test_equal_on_a_wide_graph(path: str, chunk: int) -> None:
    graph = wide_graph()
    run_beside(
        [NativeEngine(graph, path=path, chunk=chunk)], frames_of(graph, 8, streams=2), [None]
    )


def extreme_graph(weight: int) -> Graph:
    """Every input of every row at its end, and as many as a sum in 16 bits holds, and more."""
    kernel = np.full((20, 4, 3, 3), weight, np.int8)
    wide = np.full((33, 20, 4, 4), weight, np.int8)
    loud = Neurons("loud", (Conv(INPUT, kernel, padding=1),), vector(20, 0), vector(20, 2), -7, 7)
    sums = (
        Neurons(name, (Conv("loud", sign * wide),), vector(33, 0), vector(33, 2047), -15, 15)
        for name, sign in (("up", np.int8(1)), ("down", np.int8(-1)))
    )
    heads = (
        Head(name, (Linear(layer, patterned(1, 33 * 15)),), vector(1, 0), 1.0)
        for name, layer in (("steering", "up"), ("collision", "down"))
    )
    return Graph((4, 6, 8), (loud, *sums, *heads))


@paths
@pytest.mark.parametrize("weight", [127, -127, -128])
def test_equal_where_sums_are_at_their_limits(path: str, weight: int) -> None:
    graph = extreme_graph(weight)
    values = np.random.default_rng(0).integers(-128, 128, (1, 4, 6, 8))
    frames = [torch.full((1, 4, 6, 8), end) for end in (127, -128)] + [torch.from_numpy(values)]
    frames = [frame.to(torch.int8) for frame in frames]
    run_beside([NativeEngine(graph, path=path)], frames, [None])
    whole, spiking = NativeCollapsedEngine(graph, path=path), StepwiseEngine(graph)
    for frame in frames:
        got, _ = whole.step(frame, whole.initial_carry())
        want, _ = spiking.step(frame, spiking.initial_carry())
        assert_same_tensors({name: got.counts[name] for name in want.counts}, dict(want.counts), "")


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.integers(1, 127),
    st.sampled_from([3, 40, 127]),
)
def test_sums_of_16_bits_hold_what_is_put_into_them(
    seed: int, fours: int, top: int, largest: int
) -> None:
    random = np.random.default_rng(seed)
    weight = random.integers(-largest - 1, largest + 1, (16, 4 * fours)).astype(np.int8)
    size = _summable(weight, top)
    pairs = weight.astype(np.int64).reshape(16, fours, 2, 2)
    for inputs in (np.where(pairs > 0, top, 0), np.where(pairs < 0, top, 0)):  # the worst there are
        products = (inputs * pairs).sum(axis=3)
        for first in range(0, fours, size):
            sums = products[:, first : first + size].sum(axis=1)
            assert sums.min() >= -(2**15)
            assert sums.max() < 2**15
    assert size == fours or top * np.abs(pairs).sum(axis=(1, 3)).max() >= 2**15


def test_a_carry_may_lie_anywhere_in_memory() -> None:
    graph = exercise_graph()
    engine = NativeEngine(graph)
    frames = frames_of(graph, 2)
    _, carry = engine.step(frames[0], engine.initial_carry())
    want, _ = engine.step(frames[1], carry)
    compact = {name: counts.clone().contiguous() for name, counts in carry.counts.items()}
    turned = {name: c.transpose(0, -1).contiguous().transpose(0, -1) for name, c in compact.items()}
    for counts in (compact, turned, {name: c.to(torch.int32) for name, c in compact.items()}):
        got, _ = engine.step(frames[1], Carry(counts, carry.exact))
        assert_equal(got, want)


def test_a_carry_of_another_shape_is_refused() -> None:
    engine = NativeEngine(exercise_graph())
    carry = engine.initial_carry()
    short = {name: counts[:, :1] for name, counts in carry.counts.items()}
    with pytest.raises(ValueError, match="carry of layer 'eye' has shape"):
        engine.step(frames_of(engine.graph, 1)[0], Carry(short, carry.exact))


def test_results_are_the_callers_own() -> None:
    """A recording of many frames holds what each of them gave, not the last one over and over."""
    graph = exercise_graph()
    engine, carry = NativeEngine(graph), NativeEngine(graph).initial_carry()
    kept, copies = [], []
    for frame in frames_of(graph, 6):
        result, carry = engine.step(frame, carry)
        kept.append(result)
        copies.append({name: counts.clone() for name, counts in result.counts.items()})
    for result, counts in zip(kept, copies, strict=True):
        assert_same_tensors(result.counts, counts, "counts")


def test_paths_by_argument_and_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = exercise_graph()
    fastest, *_, slowest = native_paths()
    assert slowest == "portable"
    assert NativeEngine(graph).path == fastest
    monkeypatch.setenv(PATH_VARIABLE, "portable")
    assert NativeEngine(graph).path == "portable"
    assert NativeEngine(graph, path=fastest).path == fastest
    with pytest.raises(ConfigError, match=r"native path 'sse' is unknown; choose .*portable"):
        NativeEngine(graph, path="sse")
    with pytest.raises(ConfigError, match="runs on the CPU only"):
        NativeEngine(graph, "meta")


def test_auto_is_native_on_a_cpu() -> None:
    assert make_engine("auto", exercise_graph(), "cpu").name == "native"


UNBUILT = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name.endswith("._native") else find(name)
from crnn_snn_ros.core.engines import ENGINES, make_engine
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.io.model_file import load
graph = load("test/data/exercise.snn").graph
assert list(ENGINES) == ["stepwise", "folded"]
assert make_engine("auto", graph, "cpu").name == "folded"
try:
    make_engine("native", graph)
except ConfigError as error:
    print(error)
"""


def test_without_the_library_folded_is_the_fastest() -> None:
    command, root = [sys.executable, "-c", UNBUILT], Path(__file__).parents[1]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "engine 'native' is not built here; install a C++ compiler" in result.stdout
