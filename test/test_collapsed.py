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
from strategies import graphs, random_graph
from torch import Tensor

from crnn_snn_ros.cli import main
from crnn_snn_ros.core.engines import BY_NAME_ONLY, ENGINES, engines_on, make_engine
from crnn_snn_ros.core.engines.base import Carry, Engine, FrameResult
from crnn_snn_ros.core.engines.collapsed import CollapsedEngine
from crnn_snn_ros.core.graph import Graph
from crnn_snn_ros.core.types import Frame
from crnn_snn_ros.core.verify import NETWORK, random_video, verify
from crnn_snn_ros.pipeline import load_pipeline

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


@settings(deadline=None)
@given(graph=graphs(), seed=st.integers(0, 2**16), streams=st.integers(1, 3))
def test_counts_are_the_settled_ones(graph: Graph, seed: int, streams: int) -> None:
    run_beside(CollapsedEngine(graph), videos_of(graph, 4, seed, streams))


def test_counts_are_the_settled_ones_on_many_seeds() -> None:
    """Hypothesis prefers small networks; a seeded generator does not."""
    for seed in range(100):
        graph = random_graph(np.random.default_rng(seed))
        run_beside(CollapsedEngine(graph), videos_of(graph, 3, seed), cut=1 + seed % 3)


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
    assert not make_engine("collapsed", graph).spikes
    assert all(make_engine(name, graph).name == name for name in BY_NAME_ONLY)


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
