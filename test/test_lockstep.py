"""What ships to play frames through a node."""

from __future__ import annotations

import signal
from functools import partial

import pytest
from ros_peer import DOMAIN, ROOT, frames, small_model
from rosbags.rosbag2 import Reader

from crnn_snn_ros.cli import main
from crnn_snn_ros.core.errors import ConfigError, CrnnSnnError
from crnn_snn_ros.core.types import STOP, Command
from crnn_snn_ros.data.bag_writer import BagWriter
from crnn_snn_ros.data.bags import message_store
from crnn_snn_ros.evaluation.predictions import write_predictions
from crnn_snn_ros.evaluation.replay import replay
from crnn_snn_ros.pipeline import load_pipeline
from crnn_snn_ros.ros import lockstep
from crnn_snn_ros.ros.lockstep import Player, check, node_process


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(DOMAIN))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return small_model(tmp_path / "small.snn")


def test_every_reply_equals_the_offline_pipeline(model, tmp_path):
    """And the predictions that ``replay`` writes as a bag are the node's."""
    replies = []
    pipeline = load_pipeline(model)
    state = pipeline.initial_state()
    with node_process(tmp_path / "log", {"model": str(model)}) as process:
        player = Player()
        try:
            player.find_node(partial(check, process, tmp_path / "log"))
            for frame in frames(40):
                answer, state = pipeline.step(frame, state)
                reply = player.ask(frame)
                prediction = answer.prediction
                assert reply.stamp_ns == frame.stamp_ns
                assert reply.steering_rad == prediction.steering_rad
                assert reply.collision_probability == prediction.collision_probability
                assert reply.settled == prediction.settled
                assert reply.command == answer.command
                replies.append(reply)
            assert reply.command != STOP
            process.send_signal(signal.SIGTERM)
            player.listen_until(lambda: player.last_command == STOP, 10.0, "no last word")
            assert process.wait(10) == 0
        finally:
            player.close()
    write_predictions(tmp_path / "bag", replay(frames(40), pipeline), 0)
    with Reader(tmp_path / "bag") as reader:
        found = [
            (connection.topic, stamp_ns, message_store().deserialize_cdr(raw, connection.msgtype))
            for connection, stamp_ns, raw in reader.messages()
        ]
    told = [(stamp_ns, Command(m.linear.x, m.angular.z))
            for topic, stamp_ns, m in found if topic == "/cmd_vel"]  # fmt: skip
    assert told == [(reply.stamp_ns, reply.command) for reply in replies]
    said = [(m.vector.x, m.vector.y, m.vector.z == 1.0)
            for topic, _, m in found if topic == "/prediction"]  # fmt: skip
    assert said == [reply[1:4] for reply in replies]


def test_a_command_says_in_its_own_words_that_the_mount_is_missing(tmp_path, capsys):
    told = small_model(tmp_path / "told.snn", told=True)
    with BagWriter(tmp_path / "drive") as bag:
        for frame in frames(3):
            bag.image("/image", frame.stamp_ns, frame.image)
    assert main(["replay", str(told), str(tmp_path / "drive"), "--live", "own"]) == 2
    assert "give --camera-height (m), --camera-pitch" in capsys.readouterr().err


def test_a_node_that_ends_is_not_waited_for(model, tmp_path):
    with node_process(tmp_path / "log", {"model": f"{model}.missing"}) as process:
        player = Player()
        try:
            with pytest.raises(ConfigError, match="missing"):
                player.find_node(partial(check, process, tmp_path / "log"))
        finally:
            player.close()


def test_a_node_that_does_not_hear_us_is_not_asked(model, tmp_path):
    """It was found, and its reports come; that its own time runs says that /clock goes unheard."""
    log = tmp_path / "log"
    with node_process(log, {"model": str(model), "use_sim_time": "false"}) as process:
        player = Player()
        try:
            with pytest.raises(CrnnSnnError, match="follows /clock"):
                player.find_node(partial(check, process, log))
        finally:
            player.close()


def test_a_frame_is_sent_again_until_it_is_answered_and_is_answered_once(
    model, tmp_path, monkeypatch
):
    """The node is frozen meanwhile; an error says what was silent and what the node said last."""
    monkeypatch.setattr(lockstep, "AGAIN_S", 0.2)
    log = tmp_path / "log"
    first, second, third = frames(3)
    with node_process(log, {"model": str(model)}) as process:
        player = Player()
        try:
            player.find_node(partial(check, process, log))
            player.ask(first)
            process.send_signal(signal.SIGSTOP)
            with pytest.raises(
                CrnnSnnError, match="on prediction, cmd_vel; its last report: state"
            ):
                player.ask(second, timeout_s=1.5)
            process.send_signal(signal.SIGCONT)
            player.ask(second)
            player.ask(third)
            player.listen_until(lambda: player.report["answered"] >= "3", 10.0, "no news")
            assert player.report["answered"] == "3"
        finally:
            process.send_signal(signal.SIGCONT)
            player.close()
