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


@pytest.fixture(scope="module")
def driven(tmp_path_factory):
    """A working folder for all that need drives, which are recorded once."""
    return tmp_path_factory.mktemp("study")


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


def test_encodings_of_the_shipped_model_end_where_the_quantized_network_does(study, driven):
    found, page = measured(study, driven, "encodings")
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


def test_scans_are_learned_converted_and_verified(study, driven, tmp_path):
    """Of the simulator and of a bag; the commands are those before the scan."""
    bag = scan_bag(tmp_path / "bag")
    drive = study.PARTS["scans"].read(bag)
    assert drive.steering_rad[:2] == pytest.approx([1.0, 1.0 / (1.0 + math.sin(1 / 6))])
    assert drive.frames[0, 0, 0, 0] < 0 < drive.frames[0, 0, 0, 1]
    arguments = ("scans", "--tiny", "--scan-bags", str(bag), "--out", str(driven))
    assert study.main(arguments) == 0
    found = json.loads((driven / "scans.json").read_text())["found"]
    rows = [*found["rows"], found["recorded"]]
    assert len(rows) == 2
    assert all(exact(row) for row in rows)
    assert math.isfinite(found["rows"][0]["qann"]["steering"])
    assert "No recorded bags" in study.PARTS["scans"].section(found | {"recorded": None})


def exact(row):
    """A setting ran, and nothing in it differs from the QANN."""
    within = 0 < row["max"] <= row["bound"]
    return row["unequal"] == row["unsettled"] == 0 < row["compared"] and within


def test_every_level_of_the_collision_task_is_exact(study, driven):
    found, page = measured(study, driven, "collision")
    rows = found["collision"]["rows"]
    assert len(rows) == 4
    assert all(exact(row) for row in rows)
    assert {(row["signed"], row["per_layer"]) for row in rows} == {(1, 0), (0, 0), (1, 1)}
    assert "**0** differences" in page
    rows[0]["unequal"] = 3
    assert "**3** differences" in study.PARTS["collision"].section(found["collision"])


def mnist(folder):
    """The four files, of few small pictures of nothing."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for part, count in (("train", 40), ("t10k", 12)):
        pixels = random.integers(0, 256, (count, 6, 6)).astype(np.uint8)
        digits = random.integers(0, 10, count).astype(np.uint8)
        for kind, array in (("images-idx3", pixels), ("labels-idx1", digits)):
            head = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
            (folder / f"{part}-{kind}-ubyte").write_bytes(head + array.tobytes())
    return folder


def test_every_level_of_the_digits_is_exact(study, tmp_path):
    folder = mnist(tmp_path / "mnist")
    arguments = ["digits", "--tiny", "--mnist", str(folder), "--out", str(tmp_path / "out")]
    assert study.main(arguments) == 0
    found = json.loads((tmp_path / "out" / "digits.json").read_text())["found"]
    assert len(found["rows"]) == 6
    assert all(exact(row) for row in found["rows"])
    assert len(list((tmp_path / "out" / "digits").iterdir())) == 6


def test_every_level_of_the_pixels_is_exact(study, tmp_path, monkeypatch):
    from benchmarks.sequential_mnist import run, train
    from benchmarks.study import pixels

    folder, trained = str(mnist(tmp_path / "mnist")), tmp_path / "trained"
    size, plan = run.Size((8, 8), 3, 61), train.Plan(1, 1, batch=8, shift=2)
    words = [folder, "--cases", "s_conv", "--out", str(trained), "--images", "1"]
    words += ["--hidden", "8", "8", "--bits", "3", "--batch", "8"]
    assert run.main([*words, "--float-epochs", "1", "--quantized-epochs", "1"]) == 0
    monkeypatch.setattr(pixels, "size_of", lambda _: size)
    monkeypatch.setattr(pixels, "PLAN", plan)
    monkeypatch.setattr(pixels, "TINY", pixels.TINY._replace(trained=trained))
    arguments = ["pixels", "--tiny", "--mnist", folder, "--out", str(tmp_path / "out")]
    assert study.main(arguments) == 0
    found = json.loads((tmp_path / "out" / "pixels.json").read_text())["found"]
    assert [(row["bits"], row["per_layer"]) for row in found["rows"]] == [
        (2, False), (2, True), (3, False), (3, True)
    ]  # fmt: skip
    assert all(exact(row) for row in found["rows"])
    monkeypatch.setattr(pixels, "TINY", pixels.TINY._replace(trained=tmp_path))
    assert study.main([*arguments[:-1], str(tmp_path / "other")]) == 2


@pytest.mark.usefixtures("study")
def test_one_threshold_is_the_least_of_the_layer():
    from benchmarks.study import levels, scans

    net = levels.one_threshold(scans.network((6, 5), 3, 8).eval())
    net.quantized = True
    for name in ("dense", "rnn1"):
        thresholds = net.nodes[name].integers(net.scales()).threshold
        assert len(thresholds.unique()) == 1
    kept = scans.NeuronLayer.threshold_limit(net.nodes["rnn1"], net.scales())
    assert thresholds[0] == kept.min() < kept.max()


@pytest.mark.usefixtures("study")
def test_short_training_makes_the_loss_smaller(tmp_path):
    from benchmarks.study import learn, scans

    drive = scans.read(scan_bag(tmp_path / "bag"))
    size = scans.TINY._replace(hidden=(16, 8), plan=learn.Plan(200, 1e-2, 4, 16))
    _, integer = scans.train(size, 3, 0, [drive])
    losses = learn.fit(integer, [drive], learn.Plan(30, 1e-3, 4, 16), np.random.default_rng(1))
    spread = 8.0 * float(np.var(drive.steering_rad))
    assert np.mean(losses[-5:]) < 0.5 * spread


def test_digits_without_their_folder_are_one_line(study, tmp_path, capsys):
    assert study.main(["digits", "--tiny", "--out", str(tmp_path)]) == 2
    assert "--mnist" in capsys.readouterr().err
