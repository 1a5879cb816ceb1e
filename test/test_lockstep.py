"""What ships to play frames through a node: the player and the demonstration."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest
from ros_peer import DOMAIN, ROOT, small_model

from crnn_snn_ros.core.errors import CrnnSnnError
from crnn_snn_ros.core.types import STOP
from crnn_snn_ros.pipeline import load_pipeline
from crnn_snn_ros.ros import demo
from crnn_snn_ros.ros.lockstep import Player, node_process


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(DOMAIN))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return small_model(tmp_path / "small.snn")


def test_every_reply_equals_the_offline_pipeline(model, tmp_path):
    pipeline = load_pipeline(model)
    state = pipeline.initial_state()
    with node_process(tmp_path / "log", {"model": str(model)}) as process:
        player = Player()
        try:
            player.find_node(alive=lambda: process.poll() is None)
            for number in range(40):
                frame = demo.road(number)
                answer, state = pipeline.step(frame, state)
                reply = player.ask(frame)
                prediction = answer.prediction
                assert reply.stamp_ns == frame.stamp_ns
                assert reply.steering_rad == prediction.steering_rad
                assert reply.collision_probability == prediction.collision_probability
                assert reply.settled == prediction.settled
                assert reply.command == answer.command
            assert reply.command != STOP
            process.send_signal(signal.SIGTERM)
            player.spin_until(lambda: player.last_command == STOP, 10.0, "no last word")
            assert process.wait(10) == 0
        finally:
            player.close()


def test_a_node_that_ends_is_not_waited_for(model, tmp_path):
    with node_process(tmp_path / "log", {"model": f"{model}.missing"}) as process:
        player = Player()
        try:
            with pytest.raises(CrnnSnnError, match="ended before it listened"):
                player.find_node(alive=lambda: process.poll() is None)
        finally:
            player.close()


def test_demo_writes_its_summary(model, tmp_path, capsys):
    out = tmp_path / "demo"
    assert demo.main(["--model", str(model), "--frames", "30", "--out", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["frames_answered"], summary["not_settled"]) == (30, 0)
    assert summary["final_stop"]
    assert summary["node_exit_code"] == 0
    assert summary["max_linear_mps"] > 0
    assert summary["settle_steps_max"] > 0
    assert "no robot and no simulator" in capsys.readouterr().out


def test_demo_without_a_model_says_so(tmp_path, capsys):
    assert demo.main(["--model", "no_such.snn", "--out", str(tmp_path)]) == 2
    assert "no_such.snn" in capsys.readouterr().err


def test_the_generated_drive_is_the_same_everywhere_and_moves():
    first, again, later = demo.road(7), demo.road(7), demo.road(8)
    assert first.image.shape == (demo.HEIGHT, demo.WIDTH, 3)
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.image, later.image)
    assert later.stamp_ns - first.stamp_ns == 1_000_000_000 // demo.RATE_HZ
