"""An exported ONNX file computes the integers of the QANN; one that does not is not written."""

from __future__ import annotations

import json
import re
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from exercise_model import EXERCISE
from hypothesis import HealthCheck, given, settings
from model_samples import GOLDEN, golden_model, model_of
from onnx import numpy_helper
from strategies import graphs

from crnn_snn_ros.cli import main
from crnn_snn_ros.core import qann
from crnn_snn_ros.core.graph import INPUT, Graph, Head, Linear, Neurons
from crnn_snn_ros.core.verify import random_video, verify
from crnn_snn_ros.export.onnx_engine import OnnxEngine
from crnn_snn_ros.export.onnx_graph import build, head_output
from crnn_snn_ros.io.model_file import header, load, save

DOCS = Path(__file__).resolve().parents[1] / "docs"


def differences(graph: Graph, exported: bytes, frames: int, seed: int = 0):
    engine = OnnxEngine(graph, exported)
    video = random_video(graph.input_shape, frames, seed)
    return verify(graph, {engine.name: engine}, video).first_difference


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(graph=graphs())
def test_every_graph_computes_the_reference_s_integers(graph):
    exported = build(model_of(graph), {}).SerializeToString()
    assert differences(graph, exported, 6) is None


@pytest.mark.parametrize("threshold", [2, 3, 7, 1024, 2047])
def test_every_charge_around_a_threshold_is_divided_exactly(threshold):
    """All charges from far below to far above the range, ties and both ends included."""
    charges = np.arange(-300 * threshold, 300 * threshold, max(1, threshold // 7))
    near = (np.arange(-256, 257)[:, None] * threshold + np.arange(-2, 3) - threshold // 2).ravel()
    charges = np.unique(np.concatenate([charges, near])).astype(np.int32)
    count = len(charges)
    silent = np.zeros((count, 1), np.int8)
    layer = Neurons("layer", (Linear(INPUT, silent),), charges,
                    np.full(count, threshold, np.int32), -255, 255)  # fmt: skip
    out = Linear("layer", np.zeros((1, count), np.int8))
    head = Head("steering", (out,), np.zeros(1, np.int32), 1.0)
    graph = Graph((1, 1, 1), (layer, head))
    exported = build(model_of(graph), {}).SerializeToString()
    assert differences(graph, exported, 1) is None
    reference, _ = qann.run_frame(graph, np.zeros((1, 1, 1, 1), np.int8), {})
    assert {-255, 0, 255} <= set(reference.counts["layer"].ravel().tolist())


@pytest.mark.parametrize("constant", ["block1/threshold", "memory/recurrent", "eye/synapse0/bias",
                                      "memory/synapse0/int8", "steering/synapse0/int8",
                                      "eye/recurrent", "eye/n_min"])  # fmt: skip
def test_a_file_that_is_off_by_one_is_caught(constant):
    model = load(EXERCISE)
    proto = build(model, {})
    stored = next(tensor for tensor in proto.graph.initializer if tensor.name == constant)
    values = numpy_helper.to_array(stored)
    stored.CopyFrom(numpy_helper.from_array(values + np.ones((), values.dtype), constant))
    found = differences(model.graph, proto.SerializeToString(), 200)
    assert found is not None
    assert found.layer == constant.split("/")[0]


def test_outputs_are_in_the_units_of_the_heads():
    model = golden_model()
    session = onnxruntime.InferenceSession(build(model, {}).SerializeToString())
    zeros = {value.name: np.zeros(value.shape, np.uint8 if value.name == "image" else np.int32)
             for value in session.get_inputs()}  # fmt: skip
    names = [value.name for value in session.get_outputs()]
    said = dict(zip(names, session.run(None, zeros), strict=True))
    assert names == ["steering.rad", "steering.accumulator", "collision.probability",
                     "collision.accumulator", "next.conv1", "next.memory"]  # fmt: skip
    steering, collision = (int(said[head_output(n)][0, 0]) for n in ("steering", "collision"))
    assert said["steering.rad"][0, 0] == pytest.approx(steering * 0.001, rel=1e-6)
    chance = 1.0 / (1.0 + np.exp(-collision * 2.0**-10))
    assert said["collision.probability"][0, 0] == pytest.approx(chance, rel=1e-6)


def test_the_file_says_what_it_takes_and_where_it_comes_from(tmp_path):
    out = tmp_path / "new" / "model.onnx"
    assert main(["export", str(GOLDEN), str(out), "--frames", "20"]) == 0
    notes = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
    assert notes["sha256"] == header(GOLDEN)["sha256"]
    assert json.loads(notes["input"])["crop_top"] == 0.25
    again = tmp_path / "again.onnx"
    assert main(["export", str(GOLDEN), str(again), "--frames", "5"]) == 0
    assert again.read_bytes() == out.read_bytes()


def test_a_difference_is_told_and_nothing_is_written(tmp_path, capsys, monkeypatch):
    model = load(EXERCISE)
    exported = build(replace(model, graph=shifted(model.graph)), {})
    monkeypatch.setattr("crnn_snn_ros.export.onnx_graph.build", lambda *_: exported)
    out = tmp_path / "model.onnx"
    out.write_bytes(b"before")
    assert main(["export", str(EXERCISE), str(out), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["first_difference"]["layer"] == "memory"
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    assert out.read_bytes() == b"before"


def shifted(graph: Graph) -> Graph:
    """The same with a bias of one layer that is off."""
    nodes = [replace(node, bias=node.bias + np.int32(9)) if node.name == "memory" else node
             for node in graph.nodes]  # fmt: skip
    return Graph(graph.input_shape, tuple(nodes))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("model.pb",), "ends in .onnx"), (("model.onnx", "--frames", "0"), "--frames is 0")],
)
def test_bad_options_are_one_line(tmp_path, capsys, arguments, message):
    name, *rest = arguments
    assert main(["export", str(GOLDEN), str(tmp_path / name), *rest]) == 2
    assert message in capsys.readouterr().err


def test_the_program_in_the_docs_runs(tmp_path, capsys, monkeypatch):
    program = re.search(r"```python\n(.*?)```", (DOCS / "export.md").read_text(), re.DOTALL)
    assert program is not None
    assert len(program[1].strip().splitlines()) <= 15
    model = load(DOCS.parent / "models" / "donkeycar_mit.snn")
    monkeypatch.chdir(tmp_path)
    save(Path("model.snn"), model)
    assert main(["export", "model.snn", "model.onnx", "--frames", "10"]) == 0
    capsys.readouterr()
    Path("use.py").write_text(program[1])
    runpy.run_path("use.py")
    lines = capsys.readouterr().out.splitlines()
    carry = qann.initial_carry(model.graph)
    rng = np.random.default_rng(0)
    for line in lines:
        image = rng.integers(0, 256, (1, 64, 96, 3), np.uint8)
        pixels = (image.astype(np.int16) - 128).astype(np.int8).transpose(0, 3, 1, 2)
        wanted, carry = qann.run_frame(model.graph, pixels, carry)
        assert line.split()[-1] == str(wanted.heads["steering"][0, 0])
    assert len(lines) == 5
