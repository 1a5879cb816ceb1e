"""``crnn-snn simulate`` as a user runs it."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sim_support import needs_pictures

from crnn_snn_ros.cli import main
from crnn_snn_ros.data.bags import read_frames, read_info
from crnn_snn_ros.data.data_config import load_data_config
from crnn_snn_ros.io.model_file import load, save
from crnn_snn_ros.io.resources import resource_path

FIGURES = {"success", "success_ci95", "collisions_per_km", "mean_speed", "timeouts"}


def simulate(capsys, *options: str) -> dict:
    code = main(["simulate", *options, "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out)


def test_the_expert_beats_driving_straight(capsys) -> None:
    result = simulate(capsys, "--suite", "static", "--courses", "4", "--seeds", "train")
    assert (result["suite"], result["courses"], result["seeds"]) == ("static", 4, [1000, 1003])
    assert set(result["policies"]) == {"expert", "straight"}, "no model, so no network drives"
    assert all(set(figures) >= FIGURES for figures in result["policies"].values())
    assert result["policies"]["expert"]["success"] > result["policies"]["straight"]["success"]


@needs_pictures
def test_a_model_drives(capsys) -> None:
    model = str(resource_path("models", "donkeycar_mit.snn"))
    options = ("--policies", "snn", "--courses", "1", "--engine", "folded")
    first, again = (simulate(capsys, model, *options) for _ in range(2))
    assert first == again, "the same course, to the last bit"
    assert first["policies"]["snn"]["mean_speed"] > 0.0
    low = simulate(capsys, model, *options, "--camera-height", "0.1", "--camera-pitch", "0.3")
    assert low["policies"] != first["policies"], "it sees another picture"


@needs_pictures
def test_the_quantized_network_drives_the_same_path_and_failures_are_shown(
    capsys, tmp_path
) -> None:
    pytest.importorskip("plotly")
    page = tmp_path / "report.html"
    model = str(resource_path("models", "donkeycar_mit.snn"))
    options = ("--courses", "2", "--suite", "movers", "--report", str(page))
    result = simulate(
        capsys, model, *options, "--policies", "qann", "snn", "forgetful", "unsteered"
    )
    assert result["qann_is_snn"] is True
    assert result["policies"]["qann"] == result["policies"]["snn"]
    assert len(result["policies"]) == 4
    assert result["policies"]["snn"] != result["policies"]["unsteered"]
    assert result["policies"]["snn"] != result["policies"]["forgetful"], "memory matters"
    text = page.read_text("utf-8")
    assert "2 courses without success" in text
    assert "movers 2000" in text


@needs_pictures
@pytest.mark.parametrize("driver", ["snn", "teacher"])
def test_what_is_driven_can_be_learned_from_as_a_model_sees(capsys, tmp_path, driver) -> None:
    made = load(resource_path("models", "small.snn"))
    model, wide = str(tmp_path / "wide.snn"), replace(made.contract, fov_deg=115.0)
    save(Path(model), replace(made, contract=wide))
    told = ("--seeds", "dagger", "--passed-over", "1200", "--courses", "1", "--policies", driver)
    kept = ("--record", str(tmp_path / "drives"), "--noise", "0.3", "--look-frames", "16")
    said = simulate(capsys, model, *told, *kept)
    assert said["seeds"] == [7200, 7200]
    data = load_data_config(tmp_path / "drives" / "data.yaml")
    assert data.contract == wide
    (bag,) = data.bags
    views = [frame.mount.horizontal_fov_rad for frame in read_frames(bag.path)]
    assert said["recorded"]["frames"] == len(views)
    assert math.radians(108.0) < min(views) < max(views) < math.radians(123.0)
    about = read_info(bag.path).about
    assert (about["seed"], about["split"]) == ("7200", "train")
    assert (about["noise_radps"], about["look_frames"]) == ("0.3", "16")
    assert main(["simulate", model, *told, *kept]) == 0
    assert "already; nobody drove" in capsys.readouterr().out


@needs_pictures
def test_the_teacher_of_a_model_sees_as_far_aside_as_it_does(capsys, tmp_path) -> None:
    """And drives the same way whether or not somebody writes it down."""
    made, model = load(resource_path("models", "small.snn")), str(tmp_path / "wide.snn")
    save(Path(model), replace(made, contract=replace(made.contract, fov_deg=140.0)))
    told = ("--suite", "crowd", "--courses", "1", "--policies", "teacher")
    narrow, wide = simulate(capsys, *told), simulate(capsys, model, *told)
    kept = simulate(capsys, model, *told, "--record", str(tmp_path / "drives"))
    assert kept["policies"] == wide["policies"]
    assert narrow["policies"] != wide["policies"]
    (tmp_path / "told").mkdir()
    mounted = (*told, "--camera-height", "0.2", "--record", str(tmp_path / "told"))
    assert simulate(capsys, model, *mounted)["policies"] == wide["policies"]
    (bag,) = load_data_config(tmp_path / "told" / "data.yaml").bags
    (mount,) = {frame.mount for frame in read_frames(bag.path)}
    assert mount == pytest.approx((0.2, 0.0, math.radians(140.0)))


@needs_pictures
def test_a_recording_that_is_told_to_end_leaves_nothing_half_written(tmp_path) -> None:
    command = [sys.executable, "-m", "crnn_snn_ros.cli", "simulate", "--policies", "expert"]
    command += ["--record", str(tmp_path / "drives"), "--courses", "50"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("drives/.*")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, told.count("\n")) == (130, 1), told
    assert not list(tmp_path.glob("drives/.*"))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--courses", "0"], "--courses is 0"),
        (["--courses", "101", "--seeds", "test"], "allowed is 1 to 100"),
        (["--passed-over", "400"], "--passed-over is 400, allowed is 0 to 399"),
        (["--passed-over", "390"], "--courses is 20, allowed is 1 to 10"),
        (["--look-frames", "8"], "give --record"),
        (["--record", "x", "--policies", "expert", "--noise", "nan"], "noise is nan rad/s"),
        (["--policies"], "--policies names none"),
        (["--courses", "1", "--policies", "float"], "--policies float needs --float-checkpoint"),
        (["--courses", "1", "--policies", "straight", "--report", "x.html"], "--report shows"),
        (["--record", "drives"], "--record needs one of --policies"),
        (["--record", "drives", "--policies", "expert", "--seeds", "test"], "--seeds test"),
        (["missing.snn", "--courses", "1"], "missing.snn"),
    ],
)
def test_what_it_refuses(options, line, capsys) -> None:
    assert main(["simulate", *options]) == 2
    err = capsys.readouterr().err
    assert line in err
    assert err.count("\n") == 1
