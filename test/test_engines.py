"""Every engine is the QANN, integer for integer, on random networks and videos with state.

Not covered: networks larger than ``strategies`` draws (8 x 8 pixels, 4 layers), on which a library
may choose another kernel (``load_pipeline`` checks the model at hand on the machine at hand);
counts above 15, but for those that ``test_bounds`` constructs; and CUDA, where there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from exercise_model import exercise_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import graphs, random_graph

from crnn_snn_ros.core import qann
from crnn_snn_ros.core.bounds import prove
from crnn_snn_ros.core.engines import ENGINES, FASTEST_ON_CPU, engines_on, make_engine
from crnn_snn_ros.core.engines.base import Carry, Engine, FrameResult
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.graph import Graph
from crnn_snn_ros.core.verify import random_video, verify

SEEDS = 200
FRAMES = 5

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA here")
devices = pytest.mark.parametrize(
    ("device", "tf32"),
    [
        ("cpu", False),
        pytest.param("cuda", False, marks=needs_cuda),
        pytest.param("cuda", True, marks=needs_cuda),
    ],
)
every = pytest.mark.parametrize("name", list(ENGINES))


@contextmanager
def float32_products(tf32: bool) -> Iterator[None]:
    """TF32 allowed or forbidden in convolutions and matrix products, as before afterwards."""
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = tf32
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before


def video(graph: Graph, frames: int, seed: int = 0) -> list[torch.Tensor]:
    return [torch.from_numpy(f[None]) for f in random_video(graph.input_shape, frames, seed)]


def assert_exact(graph: Graph, device: str, frames: int, seed: int) -> int:
    """Verify all engines; return how many integers were compared."""
    engines = {name: make_engine(name, graph, device) for name in engines_on(device)}
    assert {engine.device.type for engine in engines.values()} == {device}
    report = verify(graph, engines, random_video(graph.input_shape, frames, seed))
    assert report.first_difference is None, str(report.first_difference)
    assert report.max_abs_diff == 0
    assert report.frames == frames
    assert max(report.settle_steps) <= report.bound == prove(graph).settling_steps
    return report.activations * len(engines)


def assert_same(one: FrameResult, other: FrameResult) -> None:
    for field in ("heads", "counts", "activity"):
        mine, theirs = getattr(one, field), getattr(other, field)
        assert mine.keys() == theirs.keys()
        for layer in mine:
            assert torch.equal(mine[layer], theirs[layer]), (field, layer)
    assert torch.equal(one.settle_steps, other.settle_steps)
    assert torch.equal(one.settled, other.settled)


def assert_same_carry(one: Carry, other: Carry) -> None:
    assert torch.equal(one.exact, other.exact)
    assert one.counts.keys() == other.counts.keys()
    for layer in one.counts:
        assert torch.equal(one.counts[layer], other.counts[layer])


@devices
@settings(deadline=None)
@given(graph=graphs(), seed=st.integers(0, 2**16))
def test_engines_are_the_qann(device: str, tf32: bool, graph: Graph, seed: int) -> None:
    with float32_products(tf32):
        assert_exact(graph, device, FRAMES, seed)


@devices
def test_engines_are_the_qann_on_many_seeds(device: str, tf32: bool) -> None:
    """Hypothesis prefers small networks; a seeded generator does not."""
    with float32_products(tf32):
        compared = sum(
            assert_exact(random_graph(np.random.default_rng(seed)), device, FRAMES, seed)
            for seed in range(SEEDS)
        )
    assert compared > 100_000


@devices
def test_engines_are_the_qann_on_a_long_video(device: str, tf32: bool) -> None:
    with float32_products(tf32):
        assert_exact(exercise_graph(), device, 150, seed=3)


@devices
@settings(deadline=None, max_examples=40)
@given(graph=graphs(), streams=st.integers(2, 4), seed=st.integers(0, 2**16))
def test_batch_is_its_streams(
    device: str, tf32: bool, graph: Graph, streams: int, seed: int
) -> None:
    """Streams that settle at different time-steps, one of them cut before, run side by side."""
    singles = [video(graph, 4, seed + stream) for stream in range(streams)]
    with float32_products(tf32):
        for name in engines_on(device):
            engine = make_engine(name, graph, device)
            alone = [
                run_cut_first(engine, frames, cut=index == 1)
                for index, frames in enumerate(singles)
            ]
            batch = run_batch(engine, singles)
            for result, *parts in zip(batch, *alone, strict=True):
                for index, part in enumerate(parts):
                    assert_same(stream_of(result, index), part)


def run_cut_first(engine: Engine, frames: list[torch.Tensor], cut: bool) -> list[FrameResult]:
    """A stream; its first frame is thrown away, but not what it leaves behind."""
    carry = engine.initial_carry()
    _, carry = engine.step(frames[0], carry, num_steps=1 if cut else None)
    results = []
    for frame in frames[1:]:
        result, carry = engine.step(frame, carry)
        results.append(result)
    return results


def run_batch(engine: Engine, streams: list[list[torch.Tensor]]) -> list[FrameResult]:
    starts = [
        engine.step(frames[0], engine.initial_carry(), num_steps=1 if index == 1 else None)[1]
        for index, frames in enumerate(streams)
    ]
    carry = Carry(
        {name: torch.cat([start.counts[name] for start in starts]) for name in starts[0].counts},
        torch.cat([start.exact for start in starts]),
    )
    results = []
    for frames in zip(*(frames[1:] for frames in streams), strict=True):
        result, carry = engine.step(torch.cat(frames), carry)
        results.append(result)
    return results


def stream_of(result: FrameResult, index: int) -> FrameResult:
    one = slice(index, index + 1)
    return FrameResult(
        *({layer: values[one] for layer, values in field.items()} for field in result[:3]),
        result.settle_steps[one],
        result.settled[one],
        None,
    )


@settings(deadline=None, max_examples=60)
@given(graph=graphs(), seed=st.integers(0, 2**16))
def test_engines_agree_wherever_the_frame_is_cut(graph: Graph, seed: int) -> None:
    """At each T from 1 to the bound, from the same carry, and settled exactly if T sufficed."""
    stepwise, *others = (make_engine(name, graph) for name in ENGINES)
    warm_up, frame = video(graph, 2, seed)
    _, carry = stepwise.step(warm_up, stepwise.initial_carry())
    whole, after = stepwise.step(frame, carry)
    for num_steps in range(1, stepwise.bounds.settling_steps + 1):
        one, one_carry = stepwise.step(frame, carry, num_steps=num_steps)
        for engine in others:
            other, other_carry = engine.step(frame, carry, num_steps=num_steps)
            assert_same(one, other)
            assert_same_carry(one_carry, other_carry)
        assert bool(one.settled) == (num_steps >= int(whole.settle_steps))
        if one.settled:
            assert_same(one, whole)
            assert_same_carry(one_carry, after)


@every
def test_cut_taints_all_that_follows_until_a_fresh_carry(name: str) -> None:
    engine = make_engine(name, exercise_graph())
    frames = video(engine.graph, 8)
    clean, carry = engine.step(frames[0], engine.initial_carry())
    assert clean.settled.all()
    cut, carry = engine.step(frames[1], carry, num_steps=2)
    assert not cut.settled.any()
    for frame in frames[2:]:
        result, carry = engine.step(frame, carry)
        assert not result.settled.any()
        assert not carry.exact.any()
    fresh, _ = engine.step(frames[0], engine.initial_carry())
    assert_same(fresh, clean)


@every
def test_cut_where_the_frame_settles_is_no_cut(name: str) -> None:
    graph = exercise_graph()
    engine = make_engine(name, graph)
    carry, reference_carry = engine.initial_carry(), qann.initial_carry(graph)
    for frame in video(graph, 30):
        whole, _ = engine.step(frame, carry)
        result, carry = engine.step(frame, carry, num_steps=int(whole.settle_steps))
        reference, reference_carry = qann.run_frame(graph, frame.numpy(), reference_carry)
        assert result.settled.all()
        for layer, head in reference.heads.items():
            assert np.array_equal(result.heads[layer].numpy(), head)


@every
def test_step_leaves_its_arguments_alone(name: str) -> None:
    engine = make_engine(name, exercise_graph())
    frames = video(engine.graph, 2)
    _, carry = engine.step(frames[0], engine.initial_carry())
    frame, counts = frames[1].clone(), {layer: c.clone() for layer, c in carry.counts.items()}
    first, _ = engine.step(frames[1], carry)
    assert torch.equal(frames[1], frame)
    assert_same_carry(carry, Carry(counts, torch.ones(1, dtype=torch.bool)))
    again, _ = engine.step(frames[1], carry)
    assert_same(first, again)


@every
@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int64, torch.float32])
def test_any_dtype_of_the_frame(name: str, dtype: torch.dtype) -> None:
    engine = make_engine(name, exercise_graph())
    frame = video(engine.graph, 1)[0]
    expected, _ = engine.step(frame, engine.initial_carry())
    result, _ = engine.step(frame.to(dtype), engine.initial_carry())
    assert_same(result, expected)


@every
@pytest.mark.parametrize("shape", [(1, 8, 12), (1, 1, 8, 11), (1, 3, 8, 12), (2, 1, 8, 12), ()])
def test_wrong_shape_is_refused(name: str, shape: tuple[int, ...]) -> None:
    engine = make_engine(name, exercise_graph())
    with pytest.raises(ValueError, match=r"expected \(1, 1, 8, 12\)"):
        engine.step(torch.zeros(shape), engine.initial_carry())


@every
@pytest.mark.parametrize("num_steps", [0, -1])
def test_no_time_step_is_refused(name: str, num_steps: int) -> None:
    engine = make_engine(name, exercise_graph())
    frame = video(engine.graph, 1)[0]
    with pytest.raises(ValueError, match="at least 1"):
        engine.step(frame, engine.initial_carry(), num_steps=num_steps)


def test_make_engine_says_what_there_is() -> None:
    graph = exercise_graph()
    assert isinstance(make_engine("auto", graph), ENGINES[FASTEST_ON_CPU])
    assert all(make_engine(name, graph).name == name for name in ENGINES)
    with pytest.raises(ConfigError, match="choose auto, stepwise, folded"):
        make_engine("warp", graph)
    with pytest.raises(ConfigError, match="device 'abacus' is unknown"):
        make_engine("folded", graph, "abacus")
    if not torch.cuda.is_available():
        assert make_engine("folded", graph, "auto").device.type == "cpu"
        with pytest.raises(ConfigError, match="torch finds no CUDA"):
            make_engine("folded", graph, "cuda")
