"""The picture of a network says what its graph says."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from exercise_model import EXERCISE

from crnn_snn_ros.cli import main
from crnn_snn_ros.core.bounds import prove
from crnn_snn_ros.core.graph import Neurons
from crnn_snn_ros.evaluation.synops import OperationCounter
from crnn_snn_ros.io.model_file import load

ROOT = Path(__file__).resolve().parents[1]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module", params=[EXERCISE, ROOT / "models" / "donkeycar_mit.snn"])
def drawn(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("drawn") / "new" / "picture.svg"
    assert main(["info", str(request.param), "--picture", str(path)]) == 0
    return load(request.param), ElementTree.parse(path).getroot()


def texts(page) -> list[str]:
    return [element.text or "" for element in page.iter(f"{SVG}text")]


def test_every_node_has_a_box_and_every_recurrent_one_a_loop(drawn):
    model, page = drawn
    said = texts(page)
    assert all(said.count(node.name) == 1 for node in model.graph.nodes)
    recurrent = [node for node, _ in model.graph.recurrent()]
    assert said.count("RBIF") == len(recurrent)
    assert said.count("BIF") == len(list(model.graph.neurons())) - len(recurrent)
    edges = {(source, node.name) for node in model.graph.nodes for source in _sources(node)}
    arrows = [p for p in page.iter(f"{SVG}path") if p.get("marker-end")]
    assert len(arrows) == len(edges) + len(recurrent)


def test_numbers_are_those_of_the_bounds_and_the_counter(drawn):
    model, page = drawn
    said = texts(page)
    bounds = prove(model.graph)
    assert f"within {bounds.settling_steps} time-steps" in " ".join(said)
    for node in model.graph.nodes:
        assert str(bounds.layer_steps[node.name]) in said
        if isinstance(node, Neurons):
            assert f"{node.n_min}..{node.n_max}" in said
    right = [t for t in page.iter(f"{SVG}text") if t.get("x") == "995"]
    macs = sum(int((t.text or "0").replace(",", "")) for t in right if t.text != "MAC")
    assert macs == OperationCounter(model.graph).dense()


def test_nothing_leaves_the_page(drawn):
    page = drawn[1]
    width, height = (float(page.get(name)) for name in ("width", "height"))
    for box in page.iter(f"{SVG}rect"):
        assert float(box.get("x", 0)) + float(box.get("width")) <= width
        assert float(box.get("y", 0)) + float(box.get("height")) <= height
    for text in page.iter(f"{SVG}text"):
        assert 0 < float(text.get("y")) < height
        wide = 0.62 * float(text.get("font-size")) * len(text.text or "")
        left = float(text.get("x")) - (wide if text.get("text-anchor") == "end" else 0.0)
        assert left >= 0.0
        assert left + wide <= width + 60.0


def test_the_picture_in_the_docs_is_of_the_sample_model(tmp_path):
    readme = (ROOT / "README.md").read_text()
    command = re.search(r"crnn-snn (info \S+ --picture [\w/.]+)", readme)
    assert command is not None
    verb, model, option, kept = command[1].split()
    assert main([verb, str(ROOT / model), option, str(tmp_path / "again.svg")]) == 0
    assert (tmp_path / "again.svg").read_text() == (ROOT / kept).read_text()


def test_only_svg_is_drawn(tmp_path, capsys):
    assert main(["info", str(EXERCISE), "--picture", str(tmp_path / "picture.png")]) == 2
    assert "only .svg" in capsys.readouterr().err


def _sources(node) -> set[str]:
    from crnn_snn_ros.core.graph import sources

    return set(sources(node))
