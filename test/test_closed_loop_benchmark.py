"""``benchmarks/closed_loop`` with a drawn network and one course: real commands, no real figure."""

from __future__ import annotations

from pathlib import Path

import pytest
from sim_support import needs_pictures
from training_samples import bar_bag, checkpoint, random_network, small_config

from crnn_snn_ros.io.model_file import load, save
from crnn_snn_ros.training.checkpoint import Checkpoint
from crnn_snn_ros.training.checkpoint import save as save_checkpoint
from crnn_snn_ros.training.convert import convert
from crnn_snn_ros.training.model_card import to_model
from crnn_snn_ros.training.random_network import quantized

ROOT = Path(__file__).resolve().parents[1]
HEADS = ("steering", "collision")


@needs_pictures
def test_page_and_card(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.closed_loop import run

    monkeypatch.setattr(run, "SUITES", ("static",))
    monkeypatch.setattr(run, "CHOSEN_ON", ("static",))
    monkeypatch.setattr(run, "POLICIES", (("straight",), ("qann", "snn")))
    network = random_network(small_config(input_shape=(3, 16, 24)))
    trained: Checkpoint = checkpoint(network, trained_heads=HEADS)
    original, model = tmp_path / "float.safetensors", tmp_path / "a.snn"
    save_checkpoint(original, trained)
    made = checkpoint(quantized(network), trained_heads=HEADS)
    save(model, to_model(made, convert(made.network)))
    page = tmp_path / "page.md"
    arguments = [
        *map(str, (model, original, bar_bag(tmp_path / "drive", frames=10))),
        *("--seeds", "validation", "--courses", "1", "--chosen-on", "1", "--card"),
        *("--out", str(tmp_path / "out"), "--page", str(page)),
    ]
    assert run.main(arguments) == 0
    text = page.read_text("utf-8")
    assert text.count("\n| ") == (1 + 3) + (1 + 1), "policies; points"
    assert "on every course: yes" in text
    assert "| a.snn | 7 |" in text
    told = load(model).metrics["closed_loop"]
    assert told["seeds"] == [2000, 2000]
    assert told["static"]["courses"] == 1
    capsys.readouterr()

    assert run.main(arguments) == 0, "all is there"
    assert "crnn-snn" not in capsys.readouterr().err, "so nothing is run again"


def test_a_command_that_fails_ends_it(tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.command import kept_json

    with pytest.raises(SystemExit, match="info ended with 2"):
        kept_json(tmp_path / "said.json", "info", tmp_path / "missing.snn")
    assert not list(tmp_path.iterdir())
