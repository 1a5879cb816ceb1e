"""Timing of engines beside the float network: what is compared is what it says to be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from exercise_model import exercise_graph
from model_samples import golden_model
from test_cuda import repeated
from training_samples import bar_bag, small_config

from crnn_snn_ros.cli import main
from crnn_snn_ros.core.engines import ENGINES, FoldedEngine, make_engine
from crnn_snn_ros.core.engines.native import native_paths
from crnn_snn_ros.core.verify import random_video
from crnn_snn_ros.evaluation.bench import bench, recorded
from crnn_snn_ros.evaluation.encodings import GIVEN, NOISE, STATIC, compare
from crnn_snn_ros.evaluation.float_network import FloatNetwork
from crnn_snn_ros.evaluation.synops import OperationCounter
from crnn_snn_ros.io.model_file import save
from crnn_snn_ros.io.resources import resource_path
from crnn_snn_ros.training.convert import convert, to_graph
from crnn_snn_ros.training.network import Crnn
from crnn_snn_ros.training.random_network import LARGE, quantized, untrained

EXERCISE = Path(__file__).parent / "data" / "exercise.snn"
KEYS = {
    *("ms_min", "ms_median", "ms_p99"),
    *("ratio_to_float_eager", "ratio_to_float_compiled", "ratio_to_float_graph", "exact"),
}


def test_float_network_is_the_quantized_one_but_for_rounding() -> None:
    """On a video it follows the integers, and not exactly."""
    graph = exercise_graph()
    pairs = []
    network, engine = FloatNetwork(graph), make_engine("collapsed", graph)
    for frame in random_video(graph.input_shape, 200):
        pixels = torch.from_numpy(frame[None])
        heads, state = network(pixels, {})
        result, _ = engine.step(pixels, engine.initial_carry())
        pairs.append((float(heads["collision"]), float(result.heads["collision"])))
        assert set(state) == {node.name for node, _ in graph.recurrent()}
    assert all(one != other for one, other in pairs)
    assert np.corrcoef(np.transpose(pairs))[0, 1] > 0.5


def test_recorded_network_is_the_network() -> None:
    """The state stays in the buffers of the graph, and begins anew where it is asked to."""
    graph = exercise_graph()
    network = FloatNetwork(graph)
    step = recorded(network, graph.input_shape, repeated)
    for _ in range(2):
        state, kept = {}, None
        for frame in random_video(graph.input_shape, 5):
            pixels = torch.from_numpy(frame[None])
            want, state = network(pixels, state)
            heads, kept = step(pixels, kept)
            assert all(torch.equal(heads[name], value) for name, value in want.items())


class Inexact(FoldedEngine):
    """One head is off by one."""

    def step(self, frame, carry, **options):  # type: ignore[no-untyped-def]
        result, after = super().step(frame, carry, **options)
        result.heads["collision"].sub_(1)
        return result, after


def test_bench_tells_exact_from_inexact_and_cut() -> None:
    graph = exercise_graph()
    engines = {"folded": make_engine("folded", graph), "wrong": Inexact(graph)}
    engines["collapsed"] = make_engine("collapsed", graph)
    frames = list(random_video(graph.input_shape, 6))
    done: list[int] = []
    bound = engines["folded"].bounds.settling_steps
    result = bench(graph, engines, frames, repeats=2, steps=(2, bound), progress=done.append)
    exact = {name: entry["exact"] for name, entry in result["engines"].items()}
    assert exact == {
        **{"folded": True, "folded T=2": False, f"folded T={bound}": True},
        **{"wrong": False, "wrong T=2": False, f"wrong T={bound}": False},
        **{"collapsed": True, "float_eager": None},
    }
    assert done == list(range(1, 13))
    short, full = result["sweep"]
    assert (short["steps"], full["steps"]) == (2, bound)
    assert short["settled_fraction"] < full["settled_fraction"] == 1.0
    assert short["mean_error"]["steering"] > full["mean_error"]["steering"] == 0.0
    assert 2 < result["settle_steps"]["max"] <= result["settle_steps"]["bound"] == bound


@pytest.mark.parametrize(
    "more", [[], ["--engines", "folded", "--steps", "3", "--threads", "2", "1"]]
)
def test_command(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", str(EXERCISE), "--frames", "3", "--repeats", "2", *more]
    assert main([*arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {"machine", "threads", "model", "engines", "settle_steps"} <= result.keys()
    assert result["machine"]["native"] == next(iter(native_paths()), None)
    cut = ["folded T=3"] if more else []
    names = [*(["folded", *cut] if more else [*ENGINES, "collapsed"]), "float_eager"]
    assert list(result["engines"]) == names
    for entry in result["engines"].values():
        assert entry.keys() == KEYS
        assert 0.0 < entry["ms_min"] <= entry["ms_median"] <= entry["ms_p99"]
    assert result["threads"] == (2 if more else 1)
    others = result["more_threads"]
    assert {number: list(engines) for number, engines in others.items()} == (
        {"1": names} if more else {}
    )
    assert [cut["steps"] for cut in result["sweep"]] == ([3] if more else [])
    assert result["replay"] is result["node"] is None
    assert result["encodings"]["engine"] == ("folded" if more else list(ENGINES)[-1])
    assert result["engines"]["float_eager"]["ratio_to_float_eager"] == 1.0
    assert main(arguments) == 0
    assert "float_eager" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frames", "0"], "--frames has 0"),
        (["--steps", "0"], "--steps has 0"),
        (["--threads", "1", "0"], "--threads has 0"),
        (["--node", "-1"], "--node has -1"),
        (["--network", "large"], "and not both"),
        (["--engines", "warp"], "engine 'warp' is unknown"),
    ],
)
def test_command_refuses(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(EXERCISE), *options]) == 2
    assert message in capsys.readouterr().err


def test_no_network_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench"]) == 2
    assert "name a model file, or --network large" in capsys.readouterr().err


def test_replay_is_timed_on_a_bag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, bag, table = tmp_path / "bar.snn", bar_bag(tmp_path / "bar", 12), tmp_path / "t" / "b.md"
    save(model, golden_model())
    arguments = ["bench", str(model), str(bag), "--repeats", "1", "--engines", "collapsed"]
    assert main([*arguments, "--out", str(table), "--steps", "2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["frames"], result["replay"]["frames"]) == (12, 12)
    assert result["replay"]["fps"] > 0.0
    assert result["settle_steps"]["max"] == 0  # nothing spiked
    text = table.read_text()
    assert f"A replay runs {result['replay']['fps']:.0f} frames per second" in text
    for name, entry in result["engines"].items():
        assert f"| {name} | {entry['ms_min']:.3f} | " in text


def test_encodings_are_compared_on_what_the_camera_sees() -> None:
    """A scene that stands still is nearly free where only changes are charged, and noise is not."""
    graph = exercise_graph()
    still = [next(iter(random_video(graph.input_shape, 1)))] * 8
    scenes = compare(graph, "folded", still, repeats=2)["scenes"]
    assert list(scenes) == [GIVEN, STATIC, NOISE]
    for scene, costs in scenes.items():
        whole, changes = costs["s-analog"], costs["incremental"]
        assert whole.keys() == changes.keys() == {"settle_steps", "spikes", "ms"}
        if scene == NOISE:
            assert changes["spikes"] > whole["spikes"] / 3
            continue
        # What a recurrent layer still changes, while the picture does not, costs something.
        assert changes["spikes"] < whole["spikes"]
        assert scenes[GIVEN]["incremental"]["spikes"] == scenes[STATIC]["incremental"]["spikes"]
    slow = compare(graph, "folded", still[:2], repeats=1)
    assert slow["faster"] in ("s-analog", "incremental")


def test_node_is_timed_over_dds() -> None:
    """In a process of its own: what ROS imports late warns of its own old ways."""
    pytest.importorskip("rclpy")
    model = resource_path("models", "donkeycar_mit.snn")
    arguments = ["bench", str(model), "--engines", "collapsed", "--repeats", "1", "--frames", "2"]
    command = [sys.executable, "-m", "crnn_snn_ros.cli", *arguments, "--node", "20", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["encodings"] is None  # collapsed has but one
    node = result["node"]
    assert (node["frames"], node["size"], node["rate_hz"]) == (20, [640, 480], 30.0)
    for name in ("node", "control"):
        assert 0.0 < node[name]["answered"] <= 1.0
        assert 0.0 < node[name]["ms_min"] <= node[name]["ms_median"] <= node[name]["ms_p99"]
    assert node["network"]["ms_min"] > 0.0


def test_no_node_for_a_network_without_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--frames", "2", "--repeats", "1", "--engines", "collapsed", "--node", "3"]
    assert main(["bench", "--network", "large", *arguments]) == 2
    assert "is no model that a node could load" in capsys.readouterr().err


def test_large_network_is_as_large_as_it_says() -> None:
    network = Crnn(LARGE)
    quantized_graph = to_graph(quantized(network.eval()))
    assert OperationCounter(quantized_graph).dense() == pytest.approx(41e6, rel=0.02)


def test_untrained_network_converts_and_is_the_same_again() -> None:
    config = small_config()
    graphs = [convert(untrained(config, seed)).graph for seed in (0, 0, 1)]
    first, again, other = (
        [synapse.weight.tobytes() for node in graph.neurons() for synapse in node.synapses]
        for graph in graphs
    )
    assert first == again != other
