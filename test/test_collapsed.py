"""The engine that runs the QANN once: its integers are the settled ones of ``stepwise``.

Not covered: networks larger than ``strategies`` draws; ``load_pipeline`` checks the model at hand.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from exercise_model import EXERCISE, exercise_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import graphs, random_graph
from torch import Tensor

from crnn_snn_ros.cli import main
from crnn_snn_ros.core.bounds import ACCUMULATOR_LIMIT
from crnn_snn_ros.core.engines import ENGINES, engines_on, make_engine
from crnn_snn_ros.core.engines.base import Carry, Engine, FrameResult
from crnn_snn_ros.core.engines.collapsed import CollapsedEngine
from crnn_snn_ros.core.engines.native import native_paths
from crnn_snn_ros.core.engines.native_whole import NativeCollapsedEngine
from crnn_snn_ros.core.graph import (
    INPUT,
    MAX_THRESHOLD,
    MIN_THRESHOLD,
    Conv,
    Graph,
    Head,
    Identity,
    Linear,
    MaxPool,
    Neurons,
    SumPool,
)
from crnn_snn_ros.core.types import Frame
from crnn_snn_ros.core.verify import NETWORK, random_video, verify
from crnn_snn_ros.io.model_file import load
from crnn_snn_ros.pipeline import load_pipeline

SAMPLE = Path(__file__).parents[1] / "models" / "donkeycar_mit.snn"
# What ``prove`` leaves to Q + r next to the largest count and threshold, rounded down
LARGEST_CHARGE = ACCUMULATOR_LIMIT - 2 * 256 * MAX_THRESHOLD
GOLDEN = Path(__file__).parent / "data" / "golden.snn"


def run_beside(engine: Engine, videos: list[list[Tensor]], cut: int | None = None) -> None:
    """Streams side by side, with state: heads, counts and carry as ``stepwise`` has them."""
    stepwise = make_engine("stepwise", engine.graph)
    carry, other_carry = stepwise.initial_carry(len(videos)), engine.initial_carry(len(videos))
    for frames in zip(*videos, strict=True):
        frame = torch.cat(frames)
        want, carry = stepwise.step(frame, carry)
        got, other_carry = engine.step(frame, other_carry, num_steps=cut)
        for field in ("heads", "counts"):
            mine, theirs = getattr(got, field), getattr(want, field)
            assert mine.keys() == theirs.keys()
            for layer in mine:
                assert torch.equal(mine[layer], theirs[layer]), (field, layer)
        assert got.settled.tolist() == other_carry.exact.tolist() == [True] * len(videos)
        assert other_carry.counts.keys() == carry.counts.keys()
        for layer, counts in carry.counts.items():
            assert torch.equal(other_carry.counts[layer], counts)
        assert (got.activity, got.trace) == ({}, None)
        assert got.settle_steps.tolist() == [0] * len(videos)


def videos_of(graph: Graph, frames: int, seed: int, streams: int = 1) -> list[list[Tensor]]:
    return [
        [torch.from_numpy(f[None]) for f in random_video(graph.input_shape, frames, seed + stream)]
        for stream in range(streams)
    ]


def build(way: str, graph: Graph) -> Engine:
    return CollapsedEngine(graph) if way == "torch" else NativeCollapsedEngine(graph, path=way)


ways = pytest.mark.parametrize("way", ["torch", *native_paths()])


@ways
@settings(deadline=None, max_examples=30)
@given(graph=graphs(), seed=st.integers(0, 2**16), streams=st.integers(1, 3))
def test_counts_are_the_settled_ones(way: str, graph: Graph, seed: int, streams: int) -> None:
    run_beside(build(way, graph), videos_of(graph, 4, seed, streams))


@ways
def test_counts_are_the_settled_ones_on_many_seeds(way: str) -> None:
    """Hypothesis prefers small networks; a seeded generator does not."""
    for seed in range(50):
        graph = random_graph(np.random.default_rng(seed))
        run_beside(build(way, graph), videos_of(graph, 3, seed), cut=1 + seed % 3)


@ways
def test_counts_of_a_sample_network(way: str) -> None:
    graph = load(SAMPLE).graph
    run_beside(build(way, graph), videos_of(graph, 6, seed=1))


def ramp(*shape: int) -> NDArray[np.int8]:
    """Weights over the whole of int8, its least and largest among them."""
    return (np.arange(np.prod(shape)) * 37 % 256 - 128).astype(np.int8).reshape(shape)


def vector(size: int, value: int) -> NDArray[np.int32]:
    return np.full(size, value, np.int32)


def loud_graph() -> Graph:
    """Counts that need all of u8, or more of it than there is, through every kind of node."""
    nodes = (
        SumPool("near", INPUT, (1, 1)),
        SumPool("far", INPUT, (2, 3)),
        Neurons("red", (Conv(INPUT, ramp(5, 5, 3, 3), padding=2),), *two(5, 900), 0, 255),
        Neurons("eye", (Conv("near", ramp(37, 5, 3, 3), 2, 1),), *two(37, 300), -255, 255),
        Neurons(
            "ear", (Conv("far", ramp(7, 5, 2, 2), 1, 1),), *two(7, 511), -100, 27, vector(7, 9)
        ),
        MaxPool("top", "eye", 3, 1, 1),
        MaxPool("tip", "red", 2, 2, 1),
        SumPool("all", "eye", (2, 2)),
        Neurons(
            "same",
            (
                Identity("top", ramp32(37)),
                Conv("eye", ramp(37, 37, 1, 1)),
            ),
            *two(37, 2000),
            -128,
            127,
            ramp32(37),
        ),
        Neurons(
            "again",
            (Identity("near", ramp32(5)), Identity(INPUT, ramp32(5))),
            *two(5, 1500),
            -127,
            128,
        ),
        Neurons(
            "deep",
            (Linear("all", ramp(20, 222) // 2), Linear("tip", ramp(20, 5 * 6 * 8))),
            *two(20, 2047),
            -255,
            255,
            vector(20, -2047),
        ),
    )
    heads = (
        Head(
            "steering",
            (Linear("deep", ramp(2, 20)), Linear("all", ramp(2, 222))),
            vector(2, 3),
            1.0,
        ),
        Head(
            "collision",
            (Linear("far", ramp(1, 5 * 4 * 4)), Linear("near", ramp(1, 480))),
            vector(1, 0),
            1.0,
        ),
    )
    return Graph((5, 8, 12), (*nodes, *heads))


def two(size: int, threshold: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Biases and thresholds."""
    return ramp32(size), vector(size, threshold) - np.arange(size, dtype=np.int32)


def ramp32(size: int) -> NDArray[np.int32]:
    return ramp(size).astype(np.int32)


@ways
def test_counts_beyond_the_range_of_bytes(way: str) -> None:
    graph = loud_graph()
    run_beside(build(way, graph), videos_of(graph, 6, seed=2, streams=2))
    counts, _ = build(way, graph).step(*first_frame(graph))
    assert max(int(count.abs().max()) for count in counts.counts.values()) == 255


@ways
def test_rows_longer_than_what_is_multiplied_at_once(way: str) -> None:
    layer = Neurons("wide", (Conv(INPUT, ramp(3, 1, 3, 3), padding=1),), *two(3, 700), -9, 9)
    out = (Linear("wide", ramp(1, 3 * 2 * 131)),)
    graph = Graph((1, 2, 131), (layer, Head("steering", out, vector(1, 0), 1.0)))
    run_beside(build(way, graph), videos_of(graph, 3, seed=0))


def first_frame(graph: Graph) -> tuple[Tensor, Carry]:
    return videos_of(graph, 1, seed=2)[0][0], CollapsedEngine(graph).initial_carry()


def assert_divides(
    way: str, charges: NDArray[np.int64], thresholds: NDArray[np.int64], low: int, high: int
) -> None:
    """A layer whose every charge Q + r is given: all of it is bias."""
    size = len(charges)
    bias, threshold = ((charges - thresholds // 2).astype(np.int32), thresholds.astype(np.int32))
    nothing = (Linear(INPUT, np.zeros((size, 1), np.int8)),)
    out = (Linear("q", np.zeros((1, size), np.int8)),)
    nodes = (
        Neurons("q", nothing, bias, threshold, low, high),
        Head("h", out, vector(1, 0), 1.0),
    )
    engine = build(way, Graph((1, 1, 1), nodes))
    result, _ = engine.step(torch.zeros(1, 1, 1, 1), engine.initial_carry())
    want = np.clip(charges // thresholds, low, high)
    assert np.array_equal(result.counts["q"][0].numpy(), want)


@ways
def test_division_at_every_step_of_every_threshold(way: str) -> None:
    """The charges on both sides of each multiple of each threshold that a count can reach."""
    multiples = np.arange(-256, 257)
    for low, high in ((-255, 255), (0, 255), (-128, 127)):
        for thresholds in np.array_split(np.arange(MIN_THRESHOLD, MAX_THRESHOLD + 1), 10):
            steps = np.outer(thresholds, multiples)
            charges = np.concatenate([steps - 1, steps, steps + 1], axis=1)
            repeated = np.repeat(thresholds, charges.shape[1])
            assert_divides(way, charges.ravel(), repeated, low, high)


@ways
@settings(deadline=None, max_examples=40)
@given(
    charges=st.lists(st.integers(-LARGEST_CHARGE, LARGEST_CHARGE), min_size=1, max_size=40),
    theta=st.integers(MIN_THRESHOLD, MAX_THRESHOLD),
    low=st.integers(-255, 0),
    high=st.integers(1, 255),
)
def test_division_of_any_charge_within_the_bound(
    way: str, charges: list[int], theta: int, low: int, high: int
) -> None:
    all_charges = np.array([*charges, -LARGEST_CHARGE, LARGEST_CHARGE])
    assert_divides(way, all_charges, np.full(len(all_charges), theta), low, high)


def test_verify_compares_it() -> None:
    """Alone, and beside engines that spike."""
    graph = exercise_graph()
    for names in (["collapsed"], ["stepwise", "collapsed"], ["collapsed", "folded"]):
        engines = {name: make_engine(name, graph) for name in names}
        report = verify(graph, engines, random_video(graph.input_shape, 40))
        assert report.first_difference is None
        assert (max(report.settle_steps) > 0) == (len(names) > 1)


class Wrong(CollapsedEngine):
    """One number of the third frame is off by one, or something is claimed that cannot be."""

    def __init__(self, graph: Graph, fault: str, layer: str = "") -> None:
        super().__init__(graph)
        self.fault, self.layer, self.number = fault, layer, -1

    def step(
        self, frame: Tensor, carry: Carry, *, num_steps: int | None = None, trace: bool = False
    ) -> tuple[FrameResult, Carry]:
        result, after = super().step(frame, carry, num_steps=num_steps, trace=trace)
        self.number += num_steps is None
        if self.number < 2 or num_steps is not None:
            return result, after
        if self.fault == "carry":
            return result, Carry({n: c + 1 for n, c in after.counts.items()}, after.exact)
        if self.fault == "settle_steps":
            return result._replace(settle_steps=result.settle_steps + 1), after
        if self.fault == "activity":
            return result._replace(activity={"block1": result.counts["block1"]}), after
        if self.fault == "settled":
            return result._replace(settled=~result.settled), after
        getattr(result, self.fault)[self.layer].view(-1)[-1] += 1
        return result, after


@pytest.mark.parametrize(
    ("fault", "layer", "what", "place"),
    [
        ("counts", "block1", "spike count", "block1"),
        ("counts", "peak", "spike count", "peak"),
        ("heads", "steering", "accumulator", "steering"),
        ("carry", "", "carry", "eye"),
        ("settle_steps", "", "last active time-step", NETWORK),
        ("activity", "", "number of active layers", NETWORK),
        ("settled", "", "settled flag", NETWORK),
    ],
)
def test_verify_fails_on_a_fault(fault: str, layer: str, what: str, place: str) -> None:
    graph = exercise_graph()
    wrong = Wrong(graph, fault, layer)
    found = verify(graph, {"wrong": wrong}, random_video(graph.input_shape, 5)).first_difference
    assert found is not None
    assert (found.what, found.layer, found.frame) == (what, place, 2)


def test_a_frame_that_another_engine_cut_still_taints() -> None:
    graph = exercise_graph()
    engine, spiking = make_engine("collapsed", graph), make_engine("folded", graph)
    frames = videos_of(graph, 3, seed=0)[0]
    _, carry = spiking.step(frames[0], spiking.initial_carry(), num_steps=1)
    for frame in frames[1:]:
        result, carry = engine.step(frame, carry)
        assert not result.settled.any()
        assert not carry.exact.any()


def test_its_carry_goes_on_in_engines_that_spike() -> None:
    graph = exercise_graph()
    engines = [make_engine("stepwise", graph), make_engine("collapsed", graph)]
    carries = [engine.initial_carry() for engine in engines]
    for number, frame in enumerate(videos_of(graph, 12, seed=4)[0]):
        pair = (engines[0], engines[number % 2])
        outcomes = [e.step(frame, carry) for e, carry in zip(pair, carries, strict=True)]
        carries = [carry for _, carry in outcomes]
        for layer, head in outcomes[0][0].heads.items():
            assert torch.equal(outcomes[1][0].heads[layer], head)


def test_only_its_name_chooses_it() -> None:
    graph = exercise_graph()
    assert "collapsed" not in ENGINES
    assert "collapsed" not in engines_on("cpu")
    assert make_engine("auto", graph).spikes
    engine = make_engine("collapsed", graph)
    assert (engine.name, engine.spikes) == ("collapsed", False)


def test_what_a_pipeline_says_with_it() -> None:
    """The same steering and collision; no spike, no step, and every frame settled."""
    pipelines = [load_pipeline(GOLDEN, engine, "cpu") for engine in ("collapsed", "stepwise")]
    rng = np.random.default_rng(0)
    states = [pipeline.initial_state() for pipeline in pipelines]
    for number in range(5):
        image = rng.integers(0, 256, (48, 64, 3)).astype(np.uint8)
        frame = Frame(10**18 + number * 50_000_000, image)
        outcomes = [p.step(frame, state) for p, state in zip(pipelines, states, strict=True)]
        states = [state for _, state in outcomes]
        got, want = (answer.prediction for answer, _ in outcomes)
        assert (got.settled, got.settle_steps, got.spikes) == (True, 0, 0)
        assert got[:2] == want[:2]
        assert math.isfinite(got.steering_rad)
        assert outcomes[0][0].command == outcomes[1][0].command
        assert want.spikes > 0


def test_verify_command_takes_it(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["verify", str(EXERCISE), "--engines", "collapsed", "--frames", "5", "--json"]
    assert main(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["engines"] == ["collapsed"]
    assert result["max_abs_diff"] == 0
