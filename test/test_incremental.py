"""The incremental mode: the QANN integer for integer, with nothing reset between frames.

Not covered: CUDA, where there is none; and engines that know no such mode, which say so.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from exercise_model import exercise_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import graphs, random_graph
from test_native import assert_equal, assert_same_tensors, frames_of, vector

from crnn_snn_ros.core import qann
from crnn_snn_ros.core.bounds import prove
from crnn_snn_ros.core.engines import BY_NAME_ONLY, ENGINES, INCREMENTAL, make_engine
from crnn_snn_ros.core.engines.base import Carry, Engine, FrameResult
from crnn_snn_ros.core.engines.native import NativeEngine, native_paths
from crnn_snn_ros.core.errors import ConfigError, ConversionError
from crnn_snn_ros.core.graph import INPUT, Graph, Head, Linear, Neurons
from crnn_snn_ros.core.verify import random_video, verify
from crnn_snn_ros.io.model_file import load
from crnn_snn_ros.io.resources import resource_path

LONG = 10_000
SEEDS = 100
CHUNKS = [1, 3, 16, 64]  # of time-steps

Int8 = NDArray[np.int8]
every = pytest.mark.parametrize("name", list(ENGINES))


def incremental(graph: Graph) -> dict[str, Engine]:
    return {name: make_engine(name, graph, encoding=INCREMENTAL) for name in ENGINES}


def assert_exact(graph: Graph, frames: int, seed: int) -> None:
    engines = incremental(graph)
    report = verify(graph, engines, random_video(graph.input_shape, frames, seed))
    assert report.first_difference is None, str(report.first_difference)
    assert report.bound == prove(graph, incremental=True).settling_steps


@settings(deadline=None)
@given(graph=graphs(), seed=st.integers(0, 2**16))
def test_engines_are_the_qann(graph: Graph, seed: int) -> None:
    assert_exact(graph, 5, seed)


def test_engines_are_the_qann_on_many_seeds() -> None:
    """Hypothesis prefers small networks; a seeded generator does not."""
    for seed in range(SEEDS):
        assert_exact(random_graph(np.random.default_rng(seed)), 5, seed)


def test_both_encodings_are_verified_side_by_side() -> None:
    graph = exercise_graph()
    engines = {"whole": make_engine("folded", graph), "changes": incremental(graph)["folded"]}
    report = verify(graph, engines, random_video(graph.input_shape, 20))
    assert report.first_difference is None
    assert report.bound == prove(graph, incremental=True).settling_steps


def changing_scene(shape: tuple[int, int, int], frame: int) -> Int8:
    """Noise, a scene that stands still, and one that drifts, in turns; from the number alone."""
    rng = np.random.default_rng(frame // 50 if frame % 100 < 50 else frame)
    scene = rng.integers(-128, 128, shape)
    return np.roll(scene, frame // 3 % 7, axis=2).astype(np.int8)


def memory_graph() -> Graph:
    """Small, for what is slow: two layers with memory, one of them signed."""
    rng = np.random.default_rng(4)
    first = Linear(INPUT, rng.integers(-9, 10, (3, 4)).astype(np.int8))
    second = Linear("short", rng.integers(-9, 10, (3, 3)).astype(np.int8))
    layers = (
        Neurons("short", (first,), vector(3, 900), vector(3, 501), 0, 7, vector(3, 400)),
        Neurons("long", (second,), vector(3, -4), vector(3, 14), -5, 5, vector(3, -20)),
    )
    head = Linear("long", np.ones((1, 3), np.int8))
    return Graph((1, 2, 2), (*layers, Head("steering", (head,), vector(1, 5), 1.0)))


@pytest.mark.timeout(600)  # seconds of work, but many of waiting on a machine with other work
@pytest.mark.parametrize("name", [name for name in ENGINES if name != "stepwise"])
def test_nothing_drifts_in_ten_thousand_frames(name: str) -> None:
    """Every count and head of every frame, and at the end every membrane."""
    graph = memory_graph() if name == "folded" else exercise_graph()
    engine = make_engine(name, graph, encoding=INCREMENTAL)
    carry, reference_carry = engine.initial_carry(), qann.initial_carry(graph)
    with torch.inference_mode():
        for number in range(LONG):
            frame = changing_scene(graph.input_shape, number)[None]
            last = number == LONG - 1
            result, carry = engine.step(torch.from_numpy(frame), carry, trace=last)
            reference, reference_carry = qann.run_frame(graph, frame, reference_carry)
            for layer, head in reference.heads.items():
                assert np.array_equal(result.heads[layer].numpy(), head), (number, layer)
            for layer, counts in result.counts.items():
                assert np.array_equal(counts.numpy(), reference.counts[layer]), (number, layer)
            assert bool(result.settled)
    assert result.trace is not None
    for node in graph.neurons():
        threshold = node.threshold.reshape((-1,) + (1,) * (result.counts[node.name].ndim - 2))
        residue = reference.charges[node.name] - threshold * reference.counts[node.name]
        assert np.array_equal(result.trace.membranes[node.name].numpy(), residue)


@settings(deadline=None, max_examples=40)
@given(graph=graphs(), seed=st.integers(0, 2**16), cut=st.integers(1, 9))
def test_engines_agree_even_after_cuts(graph: Graph, seed: int, cut: int) -> None:
    """Streams side by side, some frames cut short and the next ones going on from there."""
    streams = 2
    stepwise, *others = incremental(graph).values()
    carries = [engine.initial_carry(streams) for engine in (stepwise, *others)]
    for number, frame in enumerate(frames_of(graph, 6, seed, streams)):
        num_steps = cut if number % 3 == 1 else None
        want, carries[0] = stepwise.step(frame, carries[0], num_steps=num_steps, trace=True)
        for index, engine in enumerate(others, start=1):
            got, carry = engine.step(frame, carries[index], num_steps=num_steps, trace=True)
            carries[index] = carry
            assert_all_but_length(got, want)
            assert torch.equal(carry.exact, carries[0].exact)
            assert_same_tensors(carry.counts, carries[0].counts, "carry")


def assert_all_but_length(got: FrameResult, want: FrameResult) -> None:
    """Traces may go on in silence for one more time-step."""
    assert_equal(got._replace(trace=None), want._replace(trace=None))
    assert got.trace is not None
    assert want.trace is not None
    assert_same_tensors(got.trace.membranes, want.trace.membranes, "membranes")
    for layer, train in want.trace.spikes.items():
        other = got.trace.spikes[layer]
        length = min(len(train), len(other))
        assert torch.equal(train[:length], other[:length])
        assert not train[length:].any()
        assert not other[length:].any()


@pytest.mark.skipif("native" not in ENGINES, reason="the native library is not built")
@pytest.mark.parametrize("path", native_paths())
@pytest.mark.parametrize("chunk", CHUNKS)
def test_native_paths_and_chunks(path: str, chunk: int) -> None:
    for graph in many_graphs():
        engine = NativeEngine(graph, incremental=True, path=path, chunk=chunk)
        assert_verified(engine, seed=chunk)


@pytest.mark.parametrize("seed", CHUNKS)
def test_stepwise_on_the_videos_of_native(seed: int) -> None:
    """The slow one, once for all paths."""
    for graph in many_graphs():
        assert_verified(make_engine("stepwise", graph, encoding=INCREMENTAL), seed)


def many_graphs() -> Iterator[Graph]:
    yield exercise_graph()
    yield from (random_graph(np.random.default_rng(seed)) for seed in range(20))


def assert_verified(engine: Engine, seed: int) -> None:
    frames = random_video(engine.graph.input_shape, 6, seed)
    assert verify(engine.graph, {engine.name: engine}, frames).first_difference is None


@every
def test_streams_of_one_engine_do_not_mix(name: str) -> None:
    """Whatever crosses between frames lies in the carry."""
    graph = exercise_graph()
    engine = make_engine(name, graph, encoding=INCREMENTAL)
    first, second = (list(random_video(graph.input_shape, 5, seed)) for seed in (1, 2))
    alone = run(engine, first)
    carry, other, mixed = engine.initial_carry(), engine.initial_carry(), []
    for one, two in zip(first, second, strict=True):
        result, carry = engine.step(torch.from_numpy(one[None]), carry)
        _, other = engine.step(torch.from_numpy(two[None]), other)
        mixed.append(result)
    for got, want in zip(mixed, alone, strict=True):
        assert_equal(got, want)


def run(engine: Engine, frames: list[Int8]) -> list[FrameResult]:
    carry, results = engine.initial_carry(), []
    for frame in frames:
        result, carry = engine.step(torch.from_numpy(frame[None]), carry)
        results.append(result)
    return results


@every
def test_a_fresh_stream_begins_as_s_analog(name: str) -> None:
    graph = exercise_graph()
    frame = torch.from_numpy(next(iter(random_video(graph.input_shape, 1)))[None])
    engines = make_engine(name, graph), make_engine(name, graph, encoding=INCREMENTAL)
    one, other = (engine.step(frame, engine.initial_carry())[0] for engine in engines)
    assert_equal(one, other)


def signed_neuron(levels: int) -> Graph:
    synapse = Linear(INPUT, np.array([[127]], np.int8))
    neuron = Neurons("walker", (synapse,), vector(1, 0), vector(1, 2), -levels, levels)
    head = Head("steering", (Linear("walker", np.array([[1]], np.int8)),), vector(1, 0), 1.0)
    return Graph((1, 1, 1), (neuron, head))


@every
@pytest.mark.parametrize("levels", [1, 3, 15])
def test_the_bound_is_met_from_one_end_to_the_other(name: str, levels: int) -> None:
    """Twice the steps that s-analog needs, which always begins in the middle."""
    graph = signed_neuron(levels)
    engine = make_engine(name, graph, encoding=INCREMENTAL)
    frames = [np.full((1, 1, 1), value, np.int8) for value in (127, -128, 127, 127)]
    steps = [int(result.settle_steps) for result in run(engine, frames)]
    assert steps == [levels, 2 * levels, 2 * levels, 0]
    assert engine.bounds.settling_steps == 2 * levels
    assert prove(graph).settling_steps == levels


def test_what_only_s_analog_can_prove_is_refused() -> None:
    synapse = Linear(INPUT, np.full((1, 1000), 127, np.int8))
    neuron = Neurons("sum", (synapse,), vector(1, 0), vector(1, 2), 0, 1)
    head = Head("steering", (Linear("sum", np.ones((1, 1), np.int8)),), vector(1, 0), 1.0)
    graph = Graph((1000, 1, 1), (neuron, head))
    assert 2**23 < prove(graph).accumulator < 2**24
    with pytest.raises(ConversionError, match="not below 2\\^24"):
        prove(graph, incremental=True)


@pytest.mark.parametrize("name", list(BY_NAME_ONLY))
def test_other_engines_refuse(name: str) -> None:
    with pytest.raises(ConfigError, match=f"engine '{name}' runs no incremental mode"):
        make_engine(name, exercise_graph(), encoding=INCREMENTAL)
    with pytest.raises(ConfigError, match="encoding 'morse' is unknown; choose s-analog"):
        make_engine("folded", exercise_graph(), encoding="morse")


def test_a_static_scene_costs_at_most_a_third() -> None:
    """Of the spikes and time-steps of s-analog, on the shipped sample, from the second frame on."""
    graph = load(resource_path("models", "donkeycar_mit.snn")).graph
    frames = [next(iter(random_video(graph.input_shape, 1)))] * 6
    engines = make_engine("auto", graph), make_engine("auto", graph, encoding=INCREMENTAL)
    whole, changes = (run(engine, frames)[1:] for engine in engines)
    for measure in (spikes, time_steps):
        assert measure(changes) <= measure(whole) / 3


def spikes(results: list[FrameResult]) -> float:
    return sum(float(fired.sum()) for result in results for fired in result.activity.values())


def time_steps(results: list[FrameResult]) -> int:
    return sum(int(result.settle_steps) for result in results)


def test_a_carry_keeps_its_memory_to_itself() -> None:
    """The same carry twice gives the same frame twice."""
    graph = exercise_graph()
    for engine in incremental(graph).values():
        first, second, third = frames_of(graph, 3)
        _, carry = engine.step(first, engine.initial_carry())
        want, _ = engine.step(second, carry)
        engine.step(third, carry)
        got, _ = engine.step(second, carry)
        assert_equal(got, want)
        assert isinstance(carry, Carry)
