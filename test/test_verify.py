"""The judge itself: it names the place, stops there, and cannot be satisfied with nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exercise_model import EXERCISE, exercise_graph
from torch import Tensor

from crnn_snn_ros.cli import main
from crnn_snn_ros.core.engines import ENGINES, FoldedEngine, make_engine
from crnn_snn_ros.core.engines.base import Carry, FrameResult
from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.core.graph import Graph, SumPool
from crnn_snn_ros.core.verify import NETWORK, Difference, Report, random_video, verify

GRAPH = exercise_graph()
Change = Callable[[FrameResult, Carry], tuple[FrameResult, Carry]]


class Liar(FoldedEngine):
    """Runs well and reports wrongly, from its n-th whole frame on."""

    def __init__(self, graph: Graph, change: Change, frame: int = 2, cut: bool = False) -> None:
        super().__init__(graph)
        self.change, self.frame, self.cut = change, frame, cut
        self.number = -1

    def step(
        self, frame: Tensor, carry: Carry, *, num_steps: int | None = None, trace: bool = False
    ) -> tuple[FrameResult, Carry]:
        outcome = super().step(frame, carry, num_steps=num_steps, trace=trace)
        self.number += num_steps is None
        lies = self.number >= self.frame and (num_steps is not None) == self.cut
        return self.change(*outcome) if lies else outcome


def judge(change: Change, cut: bool = False, frames: int = 5) -> Report:
    liar = Liar(GRAPH, change, cut=cut)
    return verify(GRAPH, {"liar": liar}, random_video(GRAPH.input_shape, frames))


def altered(values: dict[str, Tensor], layer: str, index: tuple[int, ...], by: float) -> Any:
    tensor = values[layer].clone()
    tensor[(..., *index) if tensor.ndim == len(index) + 2 else (0, *index)] += by
    return values | {layer: tensor}


def counts_off(result: FrameResult, carry: Carry) -> tuple[FrameResult, Carry]:
    return result._replace(counts=altered(result.counts, "block2", (4, 1, 2), -3)), carry


def test_exact_report() -> None:
    engines = {name: make_engine(name, GRAPH) for name in ENGINES}
    done: list[int] = []
    report = verify(GRAPH, engines, random_video(GRAPH.input_shape, 6), done.append)
    assert report.first_difference is None
    assert report.engines == tuple(ENGINES)
    assert report.frames == len(report.settle_steps) == 6
    assert done == [1, 2, 3, 4, 5, 6]
    assert max(report.settle_steps) <= report.bound
    firing = [node.name for node in GRAPH.nodes if not isinstance(node, SumPool)]
    assert list(report.layer_max_abs_diff) == [
        *(name for name in firing if name not in ("steering", "collision")),
        "steering",
        "collision",
    ]
    assert set(report.layer_max_abs_diff.values()) == {0}
    carry = 1 * 8 * 12 + 4 * 8 * 12 + 4 * 4 * 6 * 2 + 6 * 2 * 3 + 6 * 1 * 3 + 6 + 3 + 5
    assert report.activations == 6 * (carry + 2)


def test_first_fault_is_named_and_ends_it() -> None:
    report = judge(counts_off)
    fault = report.first_difference
    assert fault is not None
    assert (fault.engine, fault.what, fault.layer) == ("liar", "spike count", "block2")
    assert (fault.frame, fault.index, fault.snn - fault.qann) == (2, (4, 1, 2), -3)
    assert report.frames == 3
    assert report.max_abs_diff == report.layer_max_abs_diff["block2"] == 3
    assert sum(report.layer_max_abs_diff.values()) == 3
    assert str(fault) == (
        f"engine liar, frame 2, layer block2, neuron [4, 1, 2]: spike count is {fault.snn}, "
        f"expected {fault.qann}"
    )


def test_one_engine_of_two_is_to_blame() -> None:
    engines = {"folded": make_engine("folded", GRAPH), "liar": Liar(GRAPH, counts_off)}
    fault = verify(GRAPH, engines, random_video(GRAPH.input_shape, 5)).first_difference
    assert fault is not None
    assert fault.engine == "liar"


def in_trace(field: str, layer: str, index: tuple[int, ...], by: float) -> Change:
    def change(result: FrameResult, carry: Carry) -> tuple[FrameResult, Carry]:
        trace = result.trace
        assert trace is not None
        values = altered(getattr(trace, field), layer, index, by)
        return result._replace(trace=trace._replace(**{field: values})), carry

    return change


def in_result(field: str, layer: str, index: tuple[int, ...], by: float) -> Change:
    def change(result: FrameResult, carry: Carry) -> tuple[FrameResult, Carry]:
        return result._replace(**{field: altered(getattr(result, field), layer, index, by)}), carry

    return change


def reshaped(result: FrameResult, carry: Carry) -> tuple[FrameResult, Carry]:
    heads = result.heads | {"steering": result.heads["steering"][0]}
    return result._replace(heads=heads), carry


def carried(result: FrameResult, carry: Carry) -> tuple[FrameResult, Carry]:
    return result, carry._replace(counts=altered(carry.counts, "memory", (5,), 1))


@pytest.mark.parametrize(
    ("change", "what", "layer", "index"),
    [
        (in_trace("spikes", "peak", (1, 2, 3), 1), "largest |spike|", "peak", (1, 2, 3)),
        (in_trace("membranes", "echo", (2,), 1), "membrane", "echo", (2,)),
        (in_trace("membranes", "mind", (0,), 0.5), "membrane", "mind", (0,)),
        (in_trace("membranes", "mind", (0,), float("nan")), "membrane", "mind", (0,)),
        (in_trace("membranes", "mind", (0,), float("inf")), "membrane", "mind", (0,)),
        (in_trace("recurrent_spikes", "eye", (0, 7, 11), 1), "recurrent", "eye", (0, 7, 11)),
        (in_result("activity", "block1", (3, 3, 5), 2), "number of spikes", "block1", (3, 3, 5)),
        (in_result("heads", "collision", (0,), -1), "accumulator", "collision", (0,)),
        (carried, "carry", "memory", (5,)),
        (reshaped, "size of the accumulator", "steering", (1,)),
        (lambda r, c: (r._replace(settle_steps=r.settle_steps + 1), c), "last active", NETWORK, ()),
        (lambda r, c: (r._replace(settled=~r.settled), c), "settled flag", NETWORK, ()),
        (lambda r, c: (r, c._replace(exact=~c.exact)), "settled flag of the carry", NETWORK, ()),
    ],
)
def test_every_part_of_an_answer_is_judged(
    change: Change, what: str, layer: str, index: tuple[int, ...]
) -> None:
    fault = judge(change).first_difference
    assert fault is not None
    assert what in fault.what
    assert (fault.layer, fault.frame, fault.index) == (layer, 2, index)


@pytest.mark.parametrize(
    "change",
    [
        lambda r, c: (r._replace(settled=torch.ones_like(r.settled)), c),
        lambda r, c: (r._replace(settled=torch.zeros_like(r.settled)), c),
        lambda r, c: (r, c._replace(exact=torch.ones_like(c.exact))),
        lambda r, c: (r, c._replace(exact=torch.zeros_like(c.exact))),
        in_result("heads", "steering", (0,), 1),
        carried,
    ],
)
def test_cut_frames_are_judged(change: Change) -> None:
    """What an engine says of a cut frame; a lie about one that settled needs one that did."""
    fault = judge(change, cut=True, frames=60).first_difference
    assert fault is not None
    assert "cut at" in fault.what


def test_nothing_is_no_proof() -> None:
    with pytest.raises(DataError, match="no frame"):
        verify(GRAPH, {"folded": make_engine("folded", GRAPH)}, [])
    with pytest.raises(ConfigError, match="at least one engine"):
        verify(GRAPH, {}, random_video(GRAPH.input_shape, 1))


def test_random_video_is_the_same_for_all() -> None:
    """Of NumPy's generator stream: a change of it is worth knowing, for figures may differ."""
    video = b"".join(frame.tobytes() for frame in random_video((3, 4, 5), 16, seed=7))
    assert hashlib.sha256(video).hexdigest().startswith("762e7ba20f632a1b")
    other = b"".join(frame.tobytes() for frame in random_video((3, 4, 5), 16, seed=8))
    assert video != other


def test_random_video_exercises_a_network() -> None:
    frames = list(random_video((1, 8, 12), 64))
    assert {(frame.shape, frame.dtype) for frame in frames} == {((1, 8, 12), np.dtype(np.int8))}
    assert any(set(np.unique(frame)) == {-128, 127} for frame in frames)
    assert any(len(np.unique(frame)) == 1 for frame in frames)
    steps = [
        np.abs(a.astype(int) - np.roll(b.astype(int), -1, 2)).max()
        for b, a in zip(frames[1:], frames, strict=False)
    ]
    assert sum(step <= 9 for step in steps) > 20  # slow drifts, as of a moving camera


def test_command_prints_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["verify", str(EXERCISE), "--frames", "9", "--device", "cpu", "--json"]
    assert main(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["max_abs_diff"] == 0
    assert result["frames"] == 9
    assert result["engines"] == list(ENGINES)
    assert result["activations"] > 0
    assert result["first_difference"] is None
    steps = result["settle_steps"]
    assert 0 < steps["mean"] <= steps["p99"] <= steps["max"] <= steps["bound"]


def test_command_fails_and_names_the_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(ENGINES, "folded", lambda graph, *_: Liar(graph, counts_off))
    assert main(["verify", str(EXERCISE), "--frames", "9", "--device", "cpu", "--json"]) == 1
    fault = json.loads(capsys.readouterr().out)["first_difference"]
    assert fault.keys() == {"engine", "what", "layer", "frame", "index", "qann", "snn"}
    assert (fault["engine"], fault["layer"], fault["frame"]) == ("folded", "block2", 2)
    assert fault["index"] == [4, 1, 2]
    assert main(["verify", str(EXERCISE), "--frames", "9", "--device", "cpu"]) == 1
    assert (
        "FAULT: engine folded, frame 2, layer block2, neuron [4, 1, 2]" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frames", "0"], "allowed is 1 to"),
        (["--engines"], "--engines names none"),
        (["--engines", "warp"], "'warp' is unknown"),
        (["--device", "abacus"], "'abacus' is unknown"),
    ],
)
def test_command_refuses_what_would_prove_nothing(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(EXERCISE), *options]) == 2
    assert message in capsys.readouterr().err


def test_missing_model_is_bad_input(tmp_path: Path) -> None:
    assert main(["verify", str(tmp_path / "none.snn")]) == 2


def test_difference_reads_as_a_sentence() -> None:
    fault = Difference("folded", "carry", "memory", 17, (3,), 2, -1)
    assert str(fault) == (
        "engine folded, frame 17, layer memory, neuron [3]: carry is -1, expected 2"
    )
