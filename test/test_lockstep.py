"""What ships to play frames through a node."""

from __future__ import annotations

import signal

import pytest
from ros_peer import DOMAIN, ROOT, frames, small_model

from crnn_snn_ros.core.errors import CrnnSnnError
from crnn_snn_ros.core.types import STOP
from crnn_snn_ros.pipeline import load_pipeline
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
            for frame in frames(40):
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
            player.listen_until(lambda: player.last_command == STOP, 10.0, "no last word")
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
