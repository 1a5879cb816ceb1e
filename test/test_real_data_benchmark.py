"""Figures of ``benchmarks/real_data``, and how the stills are parted; a run takes minutes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from test_replay import pipeline
from training_samples import bar_bag, checkpoint, random_network, small_config

from crnn_snn_ros.io.model_file import save
from crnn_snn_ros.training.checkpoint import save as save_checkpoint

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def benchmark(monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.real_data import figures, page, run

    return run, figures, page


def labels(folder: Path, run) -> Path:
    rows = []
    for session, stretches in run.STRETCHES.items():
        for number in range(max(last for _, last, _ in stretches) + 1):
            group = session.split("_")[0]
            rows.append(
                {
                    "file": f"{session}/{number}.jpg",
                    "set": group if group != "road" else "road_A",
                    "session": session,
                    "t_unix": str(1000.0 * len(rows) + number),
                    "avoid_label": ("left", "right")[number % 2] if group == "bottle" else "",
                    "in_free_folder": str(int(group == "road")),
                }
            )
    rows.reverse()  # the order of the lines says nothing
    path = folder / "labels.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_no_session_of_the_test_is_trained_on(tmp_path, benchmark):
    run, _, _ = benchmark
    run.write_table(labels(tmp_path, run), tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    sessions: dict[str, set[str]] = {"train": set(), "validation": set(), "test": set()}
    for row in rows:
        part, session = row["drive"].split("_", 1)
        sessions[part].add(session.rsplit("_", 1)[0])
        assert bool(row["steering"]) == session.startswith("bottle")
        assert bool(row["collision"]) != session.startswith("bottle")
        assert row["file"].startswith(session.rsplit("_", 1)[0])
    assert not sessions["test"] & (sessions["train"] | sessions["validation"])
    assert {"bottle_04", "bottle_05"} <= sessions["test"]
    files = [row["file"] for row in rows]
    assert len(set(files)) == len(files)
    assert {float(row["steering"]) for row in rows if row["steering"]} == {0.3, -0.3}


def test_balanced_accuracy_and_auc(benchmark):
    _, figures, _ = benchmark
    truth = np.array([True] * 9 + [False])
    every = np.ones(10)
    assert figures.balanced_accuracy(truth, np.ones(10, bool), every) == 0.5  # the majority
    assert figures.balanced_accuracy(truth, truth, every) == 1.0
    assert figures.balanced_accuracy(truth, truth, truth * 1.0) is None
    assert figures.auc(truth, truth * 1.0) == 1.0
    assert figures.auc(truth, every) == 0.5


def test_floors_of_the_donkey_car_and_the_page(benchmark):
    _, figures, page = benchmark
    truth = np.sin(np.arange(400) / 9.0) * 0.4
    told = {name: np.stack([truth[200:] + 0.02, np.zeros(200)], 1) for name in ("qann", "snn")}
    told["float"] = told["snn"] * 0.5
    car = figures.donkeycar_figures([told], truth[:200], truth[200:], 0.4)
    assert car["rmse"]["snn"][0] == pytest.approx(0.05)
    assert car["rmse"]["mean of these frames"][0] == pytest.approx(np.std(truth[200:]) / 0.4)
    assert car["qann is snn"]
    low, high = car["rmse"]["the previous true angle"][1]
    assert low < car["rmse"]["the previous true angle"][0] < high
    turns = [np.repeat([0.3, -0.3] * 3, 10), np.repeat([1.0, 0.0], 8)]
    scores = [np.stack([turns[0] + 0.1, turns[0]], 1), np.stack([turns[1], turns[1]], 1)]
    rows = [dict.fromkeys(("float", "qann", "snn"), score) for score in scores]
    truths = [{"steering": turns[0]}, {"collision": turns[1]}]
    rng = np.random.default_rng(0)
    colours = [rng.uniform(0, 255, (len(one), 3)) for one in turns]
    stills = figures.jetracer_figures(
        {"with memory": rows}, truths, truths, {"train": colours, "test": colours}, ["a", "b"]
    )
    assert stills["direction"]["with memory: snn"][0] == 1.0
    assert stills["collision"]["with memory: snn"] == 1.0
    assert (stills["bursts"], stills["left"], stills["right"]) == (6, 30, 30)
    results = {"donkeycar": {**car, "verify": {}}, "jetracer": {**stills, "verify": {}}}
    text = page.write_page(json.loads(json.dumps({**results, "seed": 0, "bits": 3})))
    assert "| **spiking (SNN)** | 0.050 |" in text
    assert "| **spiking (SNN)**, with memory | 1.000 |" in text
    assert "SNN equal to QANN on every still: yes." in text
    assert max(len(line) for line in text.splitlines()) < 130


def test_every_network_is_asked_with_memory_and_without(tmp_path, benchmark):
    run, _, _ = benchmark
    (tmp_path / "train").mkdir()
    network = checkpoint(random_network(small_config(), 1))
    save_checkpoint(tmp_path / "train" / "float.safetensors", network)
    save(tmp_path / "model.snn", pipeline(seed=1).model)
    bags = [bar_bag(tmp_path / f"bag{number}", 6, seed=number) for number in range(2)]
    found = {}
    for memory in (True, False):
        told = run.predictions(tmp_path / "model.snn", tmp_path, bags, 2, memory)
        assert [one["snn"].shape for one in told] == [(4, 2), (4, 2)]
        assert all(np.isfinite(one["float"]).all() for one in told)
        assert all(np.array_equal(one["snn"], one["qann"]) for one in told)
        found[memory] = told[0]["snn"]
    np.testing.assert_array_equal(found[True][0], found[False][0])
    assert (found[True] != found[False]).any()
