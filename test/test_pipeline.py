from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from model_samples import GOLDEN, golden_model, model_of, vector, weights

from crnn_snn_ros.core import engines, qann
from crnn_snn_ros.core.command import ControlConfig
from crnn_snn_ros.core.engines import ENGINES, FoldedEngine, make_engine
from crnn_snn_ros.core.errors import ConfigError, ConversionError, DataError, ModelFileError
from crnn_snn_ros.core.graph import INPUT, Graph, Head, Linear, Neurons
from crnn_snn_ros.core.types import Frame
from crnn_snn_ros.core.ways import SCALES, WAYS, choose
from crnn_snn_ros.io.model_file import HeadInfo, Model, save
from crnn_snn_ros.io.preprocess import InputContract, preprocess, see_all
from crnn_snn_ros.pipeline import Pipeline, load_pipeline, sigmoid

START_NS = 10**18
GO = ControlConfig(go_frames=1, stop_threshold=1.0, go_threshold=0.99)


@pytest.fixture
def pipeline() -> Pipeline:
    model = golden_model()
    return Pipeline(model, make_engine("stepwise", model.graph), GO)


def frame(number: int, stamp_ns: int | None = None) -> Frame:
    """Checks whose size and brightness change, by arithmetic that is the same everywhere."""
    y, x, _ = np.indices((16, 24, 3))
    size = 2 + number % 5
    image = (y // size + x // size) % 2 * (40 + 37 * number % 200) + 9 * number % 50
    image = image.astype(np.uint8)
    return Frame(START_NS + 50_000_000 * number if stamp_ns is None else stamp_ns, image)


def run(pipeline: Pipeline, *frames: Frame):
    state, answers = pipeline.initial_state(), []
    for one in frames:
        answer, state = pipeline.step(one, state)
        answers.append(answer)
    return answers, state


def same(one, other) -> bool:
    """Equal in all that is published."""
    return one[:3] == other[:3]


def test_predictions_are_those_of_the_int64_reference(pipeline):
    graph = pipeline.model.graph
    carry = qann.initial_carry(graph)
    scales = {head.name: head.scale for head in graph.heads()}
    for number, answer in enumerate(run(pipeline, *map(frame, range(12)))[0]):
        pixels = preprocess(frame(number).image, pipeline.model.contract)
        reference, carry = qann.run_frame(graph, pixels[None], carry)
        value = {name: reference.heads[name].item() * scale for name, scale in scales.items()}
        assert answer.prediction.steering_rad == value["steering"]
        probability = 1 / (1 + math.exp(-value["collision"]))
        assert answer.prediction.collision_probability == pytest.approx(probability, rel=1e-14)
        assert answer.prediction.settled
        fired = sum(int(spikes.sum()) for spikes in answer.network.activity.values())
        assert answer.prediction.spikes == fired > 0


@pytest.mark.parametrize(
    ("step_ns", "reset"),
    [
        (50_000_000, False),
        (1, False),
        (1_000_000_000, False),  # reset_gap_s exactly
        (1_000_000_001, True),
        (10**12, True),
        (0, True),  # the same stamp again
        (-1, True),
        (-(10**12), True),
    ],
)
def test_when_a_stream_starts_anew(pipeline, step_ns, reset):
    before = [frame(number) for number in range(4)]
    last = frame(4, before[-1].stamp_ns + step_ns)
    answers, state = run(pipeline, *before, last)
    assert [answer.was_reset for answer in answers] == [True, False, False, False, reset]
    alone, fresh = run(pipeline, last)
    assert same(answers[-1], alone[0]) is reset
    assert (state.control == fresh.control) is reset
    counts = zip(state.carry.counts.values(), fresh.carry.counts.values(), strict=True)
    assert all(torch.equal(*pair) for pair in counts) is reset
    assert state.stamp_ns == last.stamp_ns


def test_motion_is_seen_within_a_stream_only():
    nodes = (
        Neurons("memory", (Linear(INPUT, weights(3, 48)),), vector(1, 2, 3), vector(90, 77, 500),
                -3, 3, vector(6, -231, 0)),
        Head("steering", (Linear("memory", weights(1, 3)),), vector(-8), 0.001),
        Head("collision", (Linear("memory", weights(1, 3)),), vector(9), 2.0**-10, "logit"),
    )  # fmt: skip
    contract = InputContract(6, 4, "grey", motion=2)
    model = replace(golden_model(), graph=Graph((2, 4, 6), nodes), contract=contract)
    moving = Pipeline(model, make_engine("stepwise", model.graph), GO)
    first, second = [frame(n) for n in range(5)], [frame(n) for n in range(100, 104)]
    answers, _ = run(moving, *first, *second)
    assert [answer.was_reset for answer in answers] == [n in (0, 5) for n in range(9)]
    for stream, said in ((first, answers[:5]), (second, answers[5:])):
        seen = list(see_all((one.image for one in stream), contract))
        assert not seen[0][-1].any()
        assert seen[1][-1].any()
        assert all(
            np.array_equal(*pair) for pair in zip(seen, (a.pixels for a in said), strict=True)
        )
    assert same(answers[5], run(moving, second[0])[0][0])


def test_reset_gap_is_an_option(pipeline):
    short = Pipeline(pipeline.model, pipeline.engine, GO, reset_gap_s=0.04)
    answers, _ = run(short, frame(0), frame(1))
    assert answers[1].was_reset


def test_state_is_explicit(pipeline):
    """An old state gives its answer again, whatever was stepped in between."""
    _, old = run(pipeline, frame(0), frame(1), frame(2))
    first, after = pipeline.step(frame(3), old)
    run(pipeline, *map(frame, range(10)))
    pipeline.step(frame(9), after)
    again, _ = pipeline.step(frame(3), old)
    assert same(first, again)
    assert all(torch.equal(first.network.heads[n], again.network.heads[n]) for n in again[3].heads)
    other, _ = pipeline.step(frame(3), pipeline.initial_state())
    assert not same(first, other)


def test_every_engine_gives_the_same_commands():
    model = golden_model()
    told = []
    for name in ENGINES:
        built = Pipeline(model, make_engine(name, model.graph), GO)
        told.append([answer[:3] for answer in run(built, *map(frame, range(15)))[0]])
    assert all(answers == told[0] for answers in told)


def test_images_that_do_not_fit(pipeline):
    with pytest.raises(DataError):
        pipeline.step(Frame(START_NS, np.zeros((8, 8), np.uint8)), pipeline.initial_state())
    with pytest.raises(DataError):
        pipeline.step(Frame(START_NS, np.zeros((8, 8, 3), float)), pipeline.initial_state())


@pytest.mark.parametrize("kept", ["steering", "collision"])
def test_a_model_without_both_heads_cannot_drive(kept):
    graph = golden_model().graph
    other = {"steering": "collision", "collision": "steering"}[kept]
    nodes = tuple(node for node in graph.nodes if node.name != other)
    model = model_of(Graph(graph.input_shape, nodes))
    with pytest.raises(ConfigError, match=f"no head '{other}'"):
        Pipeline(model, make_engine("auto", model.graph), GO)


def ways_model(outputs: int, unit: str = "aversion-2"):
    """The golden model with a steering head of so many outputs in some unit."""
    graph = golden_model().graph
    rng = np.random.default_rng(5)
    nodes = []
    for node in graph.nodes:
        if node.name == "steering":
            (synapse,) = node.synapses
            shape = (outputs, synapse.weight.shape[1])
            weight = rng.integers(-127, 128, shape).astype(np.int8)
            bias = rng.integers(0, 90, outputs).astype(np.int32)
            node = replace(node, synapses=(replace(synapse, weight=weight),), bias=bias, scale=0.01)
        nodes.append(node)
    model = model_of(Graph(graph.input_shape, tuple(nodes)))
    return replace(model, heads=model.heads | {"steering": HeadInfo(unit, trained=True)})


@pytest.mark.parametrize("unit", SCALES)
def test_a_head_of_all_ways_is_answered_by_the_choice_among_them(unit):
    model = ways_model(WAYS, unit)
    pipeline = Pipeline(model, make_engine("auto", model.graph), GO)
    head = next(head for head in model.graph.heads() if head.name == "steering")
    chosen = set()
    for answer in run(pipeline, *map(frame, range(12)))[0]:
        said = answer.network.heads["steering"][0].double().numpy() * head.scale
        assert answer.prediction.steering_rad == choose(said, SCALES[unit])
        chosen.add(round(answer.prediction.steering_rad, 3))
    assert len(chosen) > 1


def test_a_driver_has_one_angle_or_all_ways():
    model = ways_model(5)
    with pytest.raises(ConfigError, match="'steering' has 5 outputs, a driver has 1 or 27 there"):
        Pipeline(model, make_engine("auto", model.graph), GO)


def test_a_driver_tells_of_ways_by_a_known_scale():
    model = ways_model(WAYS, "rad")
    with pytest.raises(ConfigError, match="'steering' tells of ways by 'rad', not by"):
        Pipeline(model, make_engine("auto", model.graph), GO)


@pytest.mark.parametrize("logit", [0.0, -1.0, 30.0, 1e4, -1e4, 1e308])
def test_sigmoid_does_not_overflow(logit):
    assert 0.0 <= sigmoid(logit) <= 1.0
    assert sigmoid(logit) + sigmoid(-logit) == pytest.approx(1.0)
    assert sigmoid(-1.0) == pytest.approx(0.2689414213699951)


@pytest.mark.parametrize("engine", ["auto", *ENGINES])
def test_load_pipeline(engine):
    loaded = load_pipeline(GOLDEN, engine, "cpu")
    assert loaded.config == ControlConfig()
    model = golden_model()
    want, _ = run(Pipeline(model, make_engine("stepwise", model.graph), ControlConfig()), frame(0))
    assert same(run(loaded, frame(0))[0][0], want[0])


class Inexact(FoldedEngine):
    """As a GPU may be: one count in a whole frame is off by one."""

    def step(self, frame, carry, **options):
        result, after = super().step(frame, carry, **options)
        result.counts["block1"].view(-1)[0] += 1
        return result, after


class WrongHead(FoldedEngine):
    def step(self, frame, carry, **options):
        result, after = super().step(frame, carry, **options)
        result.heads["collision"].sub_(1)
        return result, after


@pytest.mark.parametrize(
    ("faulty", "layer"), [(Inexact, "layer block1"), (WrongHead, "layer collision")]
)
def test_load_pipeline_refuses_an_engine_that_is_not_exact(monkeypatch, faulty, layer):
    monkeypatch.setitem(ENGINES, "faulty", faulty)
    with pytest.raises(ConversionError, match=f"engine 'faulty' on cpu is not exact.*{layer}"):
        load_pipeline(GOLDEN, "faulty", "cpu")
    monkeypatch.setitem(ENGINES, engines.FASTEST_ON_CPU, faulty)
    with pytest.raises(ConversionError, match="engine 'auto' on cpu is not exact"):
        load_pipeline(GOLDEN, "auto", "cpu")


def test_load_pipeline_refusals(tmp_path):
    with pytest.raises(ModelFileError):
        load_pipeline(tmp_path / "none.snn")
    with pytest.raises(ConfigError, match="engine 'fast' is unknown"):
        load_pipeline(GOLDEN, "fast")
    with pytest.raises(ConfigError, match="device 'tpu' is unknown"):
        load_pipeline(GOLDEN, "auto", "tpu")
    model = golden_model()
    nodes = tuple(node for node in model.graph.nodes if node.name != "collision")
    save(tmp_path / "half.snn", model_of(Graph(model.graph.input_shape, nodes)))
    with pytest.raises(ConfigError, match="no head 'collision'"):
        load_pipeline(tmp_path / "half.snn")


def lively_model() -> Model:
    """Signed memory that seldom saturates, so that every frame leads to another command."""
    memory = Neurons(
        "memory",
        (Linear("input", weights(4, 16)),),
        vector(0, 700, -700, 99),
        vector(1500, 1600, 1700, 2047),
        -7,
        7,
        vector(700, -800, 1500, 0),
    )
    heads = (
        Head("steering", (Linear("memory", weights(1, 4)),), vector(5), 0.001),
        Head("collision", (Linear("memory", weights(1, 4)),), vector(-300), 2.0**-8, "logit"),
    )
    return model_of(Graph((1, 4, 4), (memory, *heads)))


GOLDEN_ACCUMULATORS = [
    [-1031, -1336],
    [-581, -886],
    [-85, -390],
    [-1128, -1433],
    [-1031, -1336],
    [-761, -1066],
    [-851, -1156],
    [-53, -358],
]
GOLDEN_COMMANDS = [
    (0.025, -0.30000000000000004),
    (0.05, -0.5576946267475119),
    (0.07500000000000001, -0.38842623076599847),
    (0.1, -0.5897148242548225),
    (0.125, -0.7118025276562271),
    (0.025, -0.30000000000000004),
    (0.05, -0.5689085029457018),
    (0.07500000000000001, -0.3763412621606288),
]


def test_golden_commands(tmp_path):
    """Fixed frames through a fixed model: what a robot would have done before must not change.

    Frame 5 comes after a gap, so it starts anew as frame 0 did.
    """
    save(tmp_path / "lively.snn", lively_model())
    pipeline = load_pipeline(tmp_path / "lively.snn", "auto", "cpu", GO)
    frames = [frame(n, START_NS + 50_000_000 * n + 2_000_000_000 * (n > 4)) for n in range(8)]
    answers, _ = run(pipeline, *frames)
    heads = [[int(v) for v in answer.network.heads.values()] for answer in answers]
    assert heads == GOLDEN_ACCUMULATORS
    for answer, command in zip(answers, GOLDEN_COMMANDS, strict=True):
        assert answer.command == pytest.approx(command, abs=1e-12)
