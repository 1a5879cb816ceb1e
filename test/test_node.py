"""The node as its own process, over real DDS."""

from __future__ import annotations

import signal
import time

import cv2
import numpy as np
import pytest
from faulty_node import FAULTY, STALL_S
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from ros_peer import SECOND, NodeProcess, Peer, arguments, frames, running, small_model
from sensor_msgs.msg import CompressedImage

from crnn_snn_ros.core.types import Frame
from crnn_snn_ros.pipeline import load_pipeline
from crnn_snn_ros.ros import messages

pytestmark = pytest.mark.timeout(120)
RELIABLE = {"qos_overrides./image.subscription.reliability": "reliable"}
FRAME_TIMEOUT_S = 0.4
SLACK_S = 0.1  # the promise: stopped within frame_timeout + 100 ms


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("model") / "small.snn")


def offline(model, stream):
    pipeline = load_pipeline(model)
    state = pipeline.initial_state()
    answers = []
    for frame in stream:
        answer, state = pipeline.step(frame, state)
        answers.append(answer)
    return answers


def shifted(stream, seconds):
    return [frame._replace(stamp_ns=frame.stamp_ns + seconds * SECOND) for frame in stream]


def live(peer, count=12, seed=1):
    """Show frames at 20 Hz with the present time as stamp; return when the last was sent."""
    for frame in frames(count, seed):
        peer.show(frame._replace(stamp_ns=time.time_ns()))
        sent = time.monotonic()
        time.sleep(0.05)
    return sent


def assert_same(answer, prediction, command):
    wanted = answer.prediction
    assert prediction.vector.x == wanted.steering_rad
    assert prediction.vector.y == wanted.collision_probability
    assert prediction.vector.z == float(wanted.settled)
    assert command.twist.linear.x == answer.command.linear_mps
    assert command.twist.angular.z == answer.command.angular_radps
    assert command.header == prediction.header


def test_lockstep_equals_the_offline_pipeline_and_reset_begins_anew(model, tmp_path):
    stream = frames(60)
    again, fresh = shifted(stream[:20], 3), shifted(stream[:20], 4)
    # All of it before the node starts: while it drives, its watchdog waits for nobody.
    answers = offline(model, stream)
    remembered = offline(model, [*stream, again[0], *fresh])[60:]
    assert len({a.command for a in answers}) > 40, "the model must say something"
    settings = {"model": model, "stamped": True, "use_sim_time": True, "frame_timeout": 10.0}
    with running(tmp_path / "log", peer_stamped=True, **settings, **RELIABLE) as (_, peer):
        for frame, answer in zip(stream, answers, strict=True):
            assert_same(answer, *peer.ask(frame))
        # No gap that would clear the memory by itself: the node remembers, until it is told.
        assert_same(remembered[0], *peer.ask(again[0]))
        peer.reset()
        without = [answer.prediction for answer in remembered[1:]]
        assert without != [answer.prediction for answer in answers[:20]], "reset must matter"
        for frame, answer in zip(fresh, answers, strict=False):
            assert_same(answer, *peer.ask(frame))
        steering = [m.data for _, m in peer.heard["steering"]]
        assert steering[:60] == [np.float32(a.prediction.steering_rad) for a in answers]
        collision = [m.data for _, m in peer.heard["collision_probability"]]
        assert collision[:60] == [np.float32(a.prediction.collision_probability) for a in answers]
        ids = {m.header.frame_id for _, m in peer.heard["prediction"]}
        assert ids == {"camera"}
        assert len(peer.heard["prediction"]) == 81, "one answer to each frame"


def test_silence_of_the_camera_stops_in_time_and_good_frames_recover(model, tmp_path):
    settings = {"model": model, "frame_timeout": FRAME_TIMEOUT_S, "stop_pub_timeout": 0.5}
    with running(tmp_path / "log", **settings) as (_, peer):
        for _ in range(2):
            sent = live(peer)
            assert peer.commands()[-1][1] > 0, "it must be driving before it can stop"
            time.sleep(FRAME_TIMEOUT_S + 1.0)
            after = [c for c in peer.commands() if c[0] > sent + 0.1]
            stopped_after_s = after[0][0] - sent
            assert FRAME_TIMEOUT_S - 0.05 < stopped_after_s < FRAME_TIMEOUT_S + SLACK_S
            assert all(c[1:] == (0.0, 0.0) for c in after)
            assert len(after) > 5, "zero is repeated"
            assert after[-1][0] - after[0][0] < 0.5 + SLACK_S, "then silent"
        peer.wait(lambda: peer.diagnostics().get("count_no_frame") == "2", "diagnostics")
        now = peer.diagnostics()
        assert (now["state"], now["reason"]) == ("stopped", "no_frame")
        assert "untrained heads: collision" in now["message"]


def test_bad_frames_stop_are_counted_and_named(model, tmp_path):
    def cut(message):
        message.data = message.data[:-5]

    def unknown(message):
        message.encoding = "holographic"

    def step(message):
        message.step = 7

    with running(tmp_path / "log", model=model) as (node, peer):
        for count, spoil in enumerate((cut, unknown, step), start=1):
            live(peer)
            assert peer.commands()[-1][1] > 0
            message = messages.image(frames(1)[0]._replace(stamp_ns=time.time_ns()))
            spoil(message)
            sent = time.monotonic()
            peer.images.publish(message)
            zero = peer.next_command(sent)
            assert zero[1:] == (0.0, 0.0)
            assert zero[0] - sent < SLACK_S
            total = str(count)
            peer.wait(lambda t=total: peer.diagnostics().get("count_bad_frame") == t, "count")
            assert peer.diagnostics()["reason"] == "bad_frame"
        live(peer)
        assert peer.commands()[-1][1] > 0
        assert "'holographic' is not one of" in node.output


def test_disabled_predicts_but_does_not_drive(model, tmp_path):
    with running(tmp_path / "log", model=model, enabled=False, stop_pub_timeout=0.2) as (_, peer):
        live(peer)
        assert len(peer.heard["prediction"]) > 8
        assert all(c[1:] == (0.0, 0.0) for c in peer.commands())
        peer.enable(True)
        live(peer)
        assert peer.commands()[-1][1] > 0
        peer.enable(False)
        told = time.monotonic()
        live(peer)
        assert all(c[1:] == (0.0, 0.0) for c in peer.commands() if c[0] > told)
        peer.wait(lambda: peer.diagnostics().get("reason") == "disabled", "diagnostics")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_with_zero_and_exit_code_0(number, model, tmp_path):
    with running(tmp_path / "log", model=model) as (node, peer):
        live(peer)
        assert peer.commands()[-1][1] > 0
        told = time.monotonic()
        assert node.end(number) == 0, node.output
        peer.wait(lambda: peer.commands()[-1][0] > told, "a last word")
        assert peer.commands()[-1][1:] == (0.0, 0.0)
        assert "Traceback" not in node.output


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"model": "/nowhere/missing.snn"}, "missing.snn"),
        ({"model": "no_such_shipped_model.snn"}, "no_such_shipped_model.snn"),
        ({}, "no label ever reached the output collision"),
        ({"engine": "warp"}, "engine 'warp' is unknown"),
        ({"device": "abacus"}, "device 'abacus' is unknown"),
        ({"v_max_mps": 99.0}, "v_max_mps"),
        ({"v_max_mps": 1}, "write 1.0"),
        ({"image_transport": "pigeon"}, "image_transport is 'pigeon'"),
        ({"go_threshold": 0.9}, "go_threshold 0.9 must be below stop_threshold"),
    ],
)
def test_what_it_cannot_use_is_refused_in_one_line(settings, line, model, tmp_path):
    node = NodeProcess(tmp_path / "log", arguments(**{"model": model, **settings}))
    try:
        assert node.process.wait(30) == 2, node.output
        told = [text for text in node.output.splitlines() if text.strip()]
        assert len(told) == 1, node.output
        assert line in told[0]
    finally:
        node.kill()


def spoiled(frame):
    image = frame.image.copy()
    image[0, 0] = FAULTY
    return Frame(time.time_ns(), image)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("raise", "engine_failure"), ("nan", "not_finite"), ("unsettled", "not_settled")],
)
def test_a_failing_engine_stops_and_recovers(fault, reason, model, tmp_path):
    script, env = "faulty_node.py", {"FAULT": fault}
    with running(tmp_path / "log", script=script, env=env, model=model) as (_, peer):
        live(peer)
        assert peer.commands()[-1][1] > 0
        sent = time.monotonic()
        peer.show(spoiled(frames(1)[0]))
        zero = peer.next_command(sent)
        assert zero[1:] == (0.0, 0.0)
        peer.wait(lambda: peer.diagnostics().get(f"count_{reason}") == "1", "diagnostics")
        live(peer)
        assert peer.commands()[-1][1] > 0


def test_a_stalled_engine_does_not_block_the_watchdog(model, tmp_path):
    script, env = "faulty_node.py", {"FAULT": "stall"}
    settings = {"model": model, "frame_timeout": FRAME_TIMEOUT_S, "stop_pub_timeout": 0.3}
    with running(tmp_path / "log", script=script, env=env, **settings) as (node, peer):
        live(peer)
        assert peer.commands()[-1][1] > 0
        sent = time.monotonic()
        peer.show(spoiled(frames(1)[0]))
        time.sleep(STALL_S + 0.3)
        after = [c for c in peer.commands() if c[0] > sent]
        assert after[0][0] - sent < FRAME_TIMEOUT_S + SLACK_S
        assert all(c[1:] == (0.0, 0.0) for c in after), "the late command was not discarded"
        live(peer)
        assert peer.commands()[-1][1] > 0
        peer.wait(lambda: peer.diagnostics().get("state") == "stopped", "diagnostics")
        counts = peer.diagnostics()
        assert int(counts.get("count_no_frame", 0)) + int(counts.get("count_late", 0)) >= 2
        # A signal while the engine is busy: the last word leaves at once all the same.
        live(peer)
        peer.show(spoiled(frames(1)[0]))
        time.sleep(0.1)
        told = time.monotonic()
        node.process.send_signal(signal.SIGTERM)
        last = peer.next_command(told)
        assert last[1:] == (0.0, 0.0)
        assert last[0] - told < SLACK_S
        assert node.process.wait(10) == 0, node.output


@pytest.mark.parametrize("extension", ["png", "jpeg"])
def test_compressed_images(extension, model, tmp_path):
    with running(tmp_path / "log", model=model, image_transport="compressed") as (_, peer):
        for frame in frames(10):
            message = CompressedImage(format=extension)
            message.header.stamp = messages.stamp(frame.stamp_ns)
            _, data = cv2.imencode(f".{extension}", frame.image[:, :, ::-1])
            message.data = data.tobytes()
            heard = len(peer.heard["prediction"])
            peer.compressed.publish(message)
            peer.wait(lambda heard=heard: len(peer.heard["prediction"]) > heard, "a prediction")
        assert peer.commands()[-1][1] > 0
        if extension == "png":
            first = peer.heard["prediction"][-1][1].header.stamp
            assert first.sec * SECOND + first.nanosec in {f.stamp_ns for f in frames(10)}


def change(peer, transition):
    request = ChangeState.Request(transition=Transition(id=transition))
    return peer.call(ChangeState, "change_state", request).success


def set_parameter(peer, name, **value):
    parameter = Parameter(name=name, value=ParameterValue(**value))
    request = SetParameters.Request(parameters=[parameter])
    return peer.call(SetParameters, "set_parameters", request).results[0]


def test_lifecycle_by_hand(model, tmp_path):
    peer = Peer()
    settings = {"autostart": False, "allow_untrained": True, "model": "/nowhere/m.snn"}
    node = NodeProcess(tmp_path / "log", arguments(**settings))
    try:
        peer.wait(lambda: peer.diagnostics().get("reason") == "inactive", "diagnostics", 40.0)
        assert not change(peer, Transition.TRANSITION_CONFIGURE)
        peer.wait(lambda: "cannot configure: /nowhere/m.snn" in node.output, "the reason")
        text = {"type": ParameterType.PARAMETER_STRING, "string_value": str(model)}
        assert set_parameter(peer, "model", **text).successful
        assert change(peer, Transition.TRANSITION_CONFIGURE)
        refused = set_parameter(peer, "model", **text)
        assert (refused.successful, refused.reason) == (
            False,
            "model changes only while the node is unconfigured",
        )
        live(peer)
        assert not peer.heard["prediction"], "inactive: no answers"
        for _ in range(2):
            assert change(peer, Transition.TRANSITION_ACTIVATE)
            peer.wait(lambda: peer.images.get_subscription_count() == 1, "its subscription")
            live(peer)
            assert peer.commands()[-1][1] > 0
            assert change(peer, Transition.TRANSITION_DEACTIVATE)
            told = time.monotonic()
            live(peer)
            assert peer.commands()[-1][1:] == (0.0, 0.0)
            assert all(c[1:] == (0.0, 0.0) for c in peer.commands() if c[0] > told)
        assert change(peer, Transition.TRANSITION_CLEANUP)
        assert change(peer, Transition.TRANSITION_CONFIGURE)
        assert node.end() == 0
    finally:
        peer.close()
        node.kill()


def test_parameters_while_driving(model, tmp_path):
    def double(value):
        return {"type": ParameterType.PARAMETER_DOUBLE, "double_value": value}

    with running(tmp_path / "log", model=model) as (_, peer):
        live(peer)
        fast = peer.commands()[-1][1]
        for name, value in (("v_max_mps", -1.0), ("v_max_mps", 99.0), ("go_threshold", 0.95)):
            refused = set_parameter(peer, name, **double(value))
            assert not refused.successful
            assert name in refused.reason
        assert set_parameter(peer, "v_max_mps", **double(0.05)).successful
        live(peer, count=24)
        assert 0.0 < peer.commands()[-1][1] <= 0.05 < fast
