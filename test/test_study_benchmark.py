"""``benchmarks/study`` on sizes of a test: every exactness row is 0, and what is kept is not rerun.

Not covered: its figures, which take an hour.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from bag_samples import laser_scan, twist, write_bag

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def study(monkeypatch):
    """Its command."""
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.study import run

    return run


def measured(study, tmp_path, *parts):
    """What the parts found, and the page."""
    assert study.main([*parts, "--tiny", "--out", str(tmp_path)]) == 0
    told = {part: json.loads((tmp_path / f"{part}.json").read_text()) for part in parts}
    return {part: one["found"] for part, one in told.items()}, study.page(told)


def test_depth_is_exact_and_within_its_bounds(study, tmp_path):
    found, page = measured(study, tmp_path, "depth")
    row = found["depth"]["rows"][0]
    assert row["max_abs_diff"] == row["converted"]["mismatches"] == 0
    assert row["first_difference"] is None
    assert row["activations"] > 1000
    assert 0 < row["settle_steps"]["max"] <= row["bound"]
    assert all(layer["last"] <= layer["bound"] for layer in row["layers"])
    assert "| 3 | 0 |" in page
    assert "figures of no worth" in page
    assert "nothing is said of: `cells`, `long`" in page


def test_a_long_stream_stays_exact_and_the_replayed_train_drifts(study, tmp_path):
    found, _ = measured(study, tmp_path, "long")
    assert set(found["long"]["unequal"].values()) == {0}
    assert set(found["long"]["unsettled"].values()) == {0}
    drift = found["long"]["drift"]
    assert drift["unequal"] == 0
    assert drift["replayed"][-1] > 10 * max(drift["canonical"])


def test_encodings_of_the_shipped_model_end_where_the_quantized_network_does(study, tmp_path):
    found, page = measured(study, tmp_path, "encodings")
    found = found["encodings"]
    assert found["unequal"] == 0
    assert found["settled"] == 1.0
    assert 1 < found["longest"] <= found["bound"]
    assert found["cuts"][0]["settled"] == 0.0
    assert found["encodings"]["s_analog"][-1] == 0.0 < found["encodings"]["m_analog"][-1]
    assert "cannot be compared with the\npaper's 0.057" in page


def test_a_difference_is_told(study, tmp_path):
    found, _ = measured(study, tmp_path, "long")
    found["long"]["unequal"]["s-analog"] = 7
    assert " | 7 | 0 | " in study.PARTS["long"].section(found["long"])


def test_what_is_kept_is_not_run_again(study, tmp_path, monkeypatch):
    first, _ = measured(study, tmp_path, "long")
    monkeypatch.setattr(study.PARTS["long"], "measure", None)
    again, _ = measured(study, tmp_path, "long")
    assert again == first


def test_no_matplotlib_is_one_line(study, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    arguments = ["long", "--tiny", "--out", str(tmp_path), "--page", str(tmp_path / "a.md")]
    assert study.main(arguments) == 2
    assert "crnn_snn_ros[bench]" in capsys.readouterr().err


@pytest.mark.usefixtures("study")
def test_a_mirrored_scan_is_the_scan_of_the_mirrored_world():
    from benchmarks.study.drives import to_input

    ranges = np.random.default_rng(0).uniform(0.0, 8.0, 72).astype(np.float32)
    mirrored = np.roll(ranges[::-1], 1)  # ray i to ray -i
    assert (to_input(mirrored)[0, 0, ::-1] == to_input(ranges)[0, 0]).all()


def test_cells_beyond_the_paper_are_exact(study, tmp_path):
    rows = measured(study, tmp_path, "cells")[0]["cells"]["rows"]
    assert {row["cell"] for row in rows} == {"minGRU", "GRU", "LSTM"}
    assert all(row["unequal"] == 0 for row in rows)
    assert all(row["max"] <= row["bound"] for row in rows)
    assert any(row["moved"] > 0.3 for row in rows)


def test_a_product_of_the_old_tracers_is_found_out(study, monkeypatch):
    cells = study.PARTS["cells"]
    right = cells.Product.charge

    def wrong(self, a, b):
        return right(self, a, b) - a * b

    monkeypatch.setattr(cells.Product, "charge", wrong)
    rows = cells.measure(cells.TINY, 0, "cpu", None)["rows"]
    assert any(row["unequal"] for row in rows)


def scan_bag(path):
    """A scanner that sees something come and go, and a turn away from it."""
    rows = []
    for number in range(60):
        at, near = number * 100_000_000, 1.0 + abs(math.sin(number / 6))
        ranges = [near, *(5.0,) * 30, 0.0, math.inf, *(3.0,) * 57]
        rows.append(("/cmd_vel", at + 1, twist(0.2, 1.0 / near)))
        rows.append(("/scan", at + 2, laser_scan(ranges, at + 1, 0.0, 6.28)))
    return write_bag(path, rows)


def test_scans_are_learned_converted_and_verified(study, tmp_path):
    """Each threshold and sign; the commands are those before the scan."""
    bag = scan_bag(tmp_path / "bag")
    drive = study.PARTS["scans"].read(bag)
    assert drive.steering_rad[:2] == pytest.approx([1.0, 1.0 / (1.0 + math.sin(1 / 6))])
    assert drive.frames[0, 0, 0, 0] < 0 < drive.frames[0, 0, 0, 1]
    arguments = ("scans", "--tiny", "--scan-bags", str(bag), "--out", str(tmp_path / "out"))
    assert study.main(arguments) == 0
    rows = json.loads((tmp_path / "out" / "scans.json").read_text())["found"]["rows"]
    assert len(rows) == 6
    assert all(row["exact"] and row["unequal"] == 0 for row in rows)
    assert all(row["max"] <= row["bound"] for row in rows)


def test_scans_without_a_bag_are_one_line(study, tmp_path, capsys):
    assert study.main(["scans", "--tiny", "--out", str(tmp_path)]) == 2
    assert "--scan-bags" in capsys.readouterr().err
