"""What lies in ``models/``: sound, exact, with a card that says where it comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crnn_snn_ros.core.engines import make_engine
from crnn_snn_ros.core.verify import random_video, verify
from crnn_snn_ros.io.model_file import load
from crnn_snn_ros.training.checkpoint import load as load_checkpoint

MODELS = Path(__file__).resolve().parents[1] / "models"
each_model = pytest.mark.parametrize("path", sorted(MODELS.glob("*.snn")), ids=lambda p: p.name)


@each_model
def test_the_spiking_network_is_the_quantized_one(path: Path) -> None:
    graph = load(path).graph
    engines = {name: make_engine(name, graph) for name in ("stepwise", "folded")}
    report = verify(graph, engines, random_video(graph.input_shape, 20))
    assert report.first_difference is None, str(report.first_difference)


@each_model
def test_the_card_says_where_it_comes_from(path: Path) -> None:
    model = load(path)
    told = json.dumps([model.provenance, model.metrics])
    assert model.provenance["command"].startswith("crnn-snn ")
    assert "licence" in told
    assert '"/' not in told, "a path of somebody's machine"
    assert f"`{path.name}`" in (MODELS / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", ["default", "wide", "small"])
def test_those_that_avoid_may_drive_and_be_gone_on_from(name: str) -> None:
    model = load(MODELS / f"{name}.snn")
    assert all(head.trained for head in model.heads.values())
    assert set(model.metrics["closed_loop"]) >= {"static", "movers", "narrow", "looks"}
    original = load_checkpoint(MODELS / f"{name}_float.safetensors")
    assert not original.network.quantized
    assert original.origin.contract == model.contract
