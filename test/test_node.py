"""The node as its own process, over real DDS."""

from __future__ import annotations

import math
import time
from functools import partial
from itertools import pairwise

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import TwistStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.duration import Duration
from ros_peer import SECOND, NodeProcess, Peer, arguments, frames, running, small_model
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from crnn_snn_ros.core.assist import assist
from crnn_snn_ros.core.command import ControlConfig
from crnn_snn_ros.core.mount import CameraMount
from crnn_snn_ros.core.odometry import moved
from crnn_snn_ros.core.types import Command, Moved
from crnn_snn_ros.pipeline import load_pipeline
from crnn_snn_ros.ros import messages
from crnn_snn_ros.ros.lockstep import SETTINGS

pytestmark = pytest.mark.timeout(120)


REFUSE_S = 90.0  # a busy machine takes long to import what is then refused
TRUSTED = {"allow_untrained": True}
ASSIST = {"mode": "assist"}


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


def double(value):
    return {"type": ParameterType.PARAMETER_DOUBLE, "double_value": value}


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
    with running(tmp_path / "log", peer_stamped=True, model=model, **SETTINGS) as (_, peer):
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
        ({**TRUSTED, "qos_overrides./image.subscription.reliability": "perhaps"}, "perhaps"),
        ({**TRUSTED, "qos_overrides./cmd_vel.publisher.reliability": "perhaps"}, "perhaps"),
        ({**TRUSTED, **ASSIST, "qos_overrides./cmd_vel_in.subscription.history": "a"}, "history"),
    ],
)
def test_what_it_cannot_use_is_refused_in_one_line(settings, line, model, tmp_path):
    node = NodeProcess(tmp_path / "log", arguments(**{"model": model, **settings}))
    try:
        assert node.process.wait(REFUSE_S) == 2, node.output
        told = [text for text in node.output.splitlines() if text.strip()]
        assert len(told) == 1, node.output
        assert line in told[0]
    finally:
        node.kill()


def test_a_model_that_must_be_told_the_mount_of_its_camera_and_how_it_turns(tmp_path):
    model = small_model(tmp_path / "told.snn", told=True)
    for settings, line in (
        ({}, "'camera_height' (m), 'camera_pitch' and 'camera_fov'"),
        ({"camera_height": 0.2, "mode": "observe"}, "'turn_from' to odom, or 'mode' to drive"),
    ):
        node = NodeProcess(tmp_path / "refused", arguments(**TRUSTED, **settings, model=model))
        try:
            assert node.process.wait(REFUSE_S) == 2, node.output
            assert line in node.output
        finally:
            node.kill()

    mount = CameraMount(0.2, 0.1, 1.2)
    stream = [frame._replace(mount=mount) for frame in frames(20)]
    stream[10:] = [frame._replace(mount=mount._replace(height_m=0.5)) for frame in stream[10:]]
    answers = offline(model, stream)
    assert answers[10:] != offline(model, [frame._replace(mount=mount) for frame in stream])[10:]
    with running(
        tmp_path / "log", peer_stamped=True, model=model, **SETTINGS, camera_height=0.2,
        camera_pitch=0.1, camera_fov=1.2, v_max=0.3,
    ) as (node, peer):  # fmt: skip
        assert "no parameter 'v_max' (did you mean v_max_mps?)" in node.output, "a slip is told"
        for number, (frame, answer) in enumerate(zip(stream, answers, strict=True)):
            if number == 10:
                assert set_parameter(peer, "camera_height", **double(0.5)).successful
            assert_same(answer, *peer.ask(frame))
        lens = "field of view is 69 degrees, the network is made for 90"
        peer.wait(lambda: lens in peer.diagnostics()["message"], "a remark on the lens")
        assert set_parameter(peer, "camera_fov", **double(0.0)).successful, "as of the model"
        peer.wait(lambda: lens not in peer.diagnostics()["message"], "its end")
        assert set_parameter(peer, "camera_height", **double(0.0)).successful
        since = time.monotonic()
        peer.show(frames(21)[20])
        assert peer.next_command(since)[1:] == (0.0, 0.0)
        peer.wait(lambda: peer.diagnostics().get("reason") == "bad_frame", "the reason")


def test_in_other_modes_odometry_tells_how_it_moves(tmp_path):
    mount, stream = CameraMount(0.2, 0.1, 1.2), frames(20)
    told = [odometry(stream[0].stamp_ns + n * SECOND // 50, math.sin(n / 9)) for n in range(96)]
    places = tuple(map(messages.place, told))
    ways = [Moved(), *(moved(places, a.stamp_ns, b.stamp_ns) for a, b in pairwise(stream))]
    answers = offline(model := small_model(tmp_path / "told.snn", told=True), [
        frame._replace(mount=mount, moved=way)
        for frame, way in zip(stream, ways, strict=True)
    ])  # fmt: skip
    still = offline(model, [frame._replace(mount=mount, moved=Moved()) for frame in stream])
    assert answers[10:] != still[10:], "ways must matter"
    every = {f"qos_overrides./odom.subscription.{name}": value
             for name, value in (("reliability", "reliable"), ("depth", 200))}  # fmt: skip
    with running(
        tmp_path / "log", peer_stamped=True, model=model, **SETTINGS, **every, mode="observe",
        turn_from="odom", camera_height=0.2, camera_pitch=0.1, camera_fov=1.2,
    ) as (_, peer):  # fmt: skip
        turned = peer.node.create_publisher(Odometry, "odom", 200)
        peer.wait(lambda: turned.get_subscription_count() == 1, "its subscription")
        show(peer, stream[0])
        peer.wait(lambda: peer.diagnostics().get("reason") == "no_odometry", "the reason")
        for message in told:
            turned.publish(message)
        until_it_is_heard(peer, places[-1].stamp_ns)
        peer.reset()
        for frame, answer in zip(stream, answers, strict=True):
            show(peer, frame)
            stamp = messages.stamp(frame.stamp_ns)
            said = peer.wait(partial(peer.with_stamp, "prediction", stamp), f"{stamp}").vector
            assert said.x == answer.prediction.steering_rad
            assert said.y == answer.prediction.collision_probability


def test_a_camera_that_is_calibrated_otherwise_than_told_is_remarked(tmp_path):
    """Its ``camera_info`` is beside its images, wherever these are."""
    model = small_model(tmp_path / "told.snn", told=True)
    settings = arguments(model=model, camera_height=0.2, allow_untrained=True)
    node = NodeProcess(tmp_path / "log", [*settings, "-r", "image:=/front/image_raw"])
    peer = Peer()
    infos = peer.node.create_publisher(CameraInfo, "/front/camera_info", 1)
    off = "camera_info says a field of view of 60 degrees, the network is told 90: set camera_fov"

    def remarked(focal: float) -> bool:
        infos.publish(CameraInfo(width=640, height=480, k=[focal, *[0.0] * 8]))
        return f"{off} to 1.047" in peer.diagnostics().get("message", "")

    narrow = 320.0 / math.tan(math.radians(30.0))
    try:
        for focal in (0.0, 320.0):  # uncalibrated; as it is told
            peer.wait(partial(remarked, narrow), "a remark")
            peer.wait(lambda focal=focal: not remarked(focal), "its end")
    finally:
        peer.close()
        node.kill()


def odometry(stamp_ns: int, yaw_rad: float) -> Odometry:
    message = Odometry()
    message.header.stamp = messages.stamp(stamp_ns)
    turn = message.pose.pose.orientation
    turn.z, turn.w = math.sin(yaw_rad / 2), math.cos(yaw_rad / 2)
    return message


def show(peer, frame):
    peer.clock.publish(Clock(clock=messages.stamp(frame.stamp_ns)))
    peer.show(frame)


def until_it_is_heard(peer, stamp_ns):
    """Show frames of about that time until one is answered; the others were refused."""
    for number in range(100):
        show(peer, frames(1)[0]._replace(stamp_ns=stamp_ns + number))
        time.sleep(0.1)
        if peer.heard["prediction"]:
            return
    raise AssertionError(f"no odometry was heard: {peer.diagnostics()}")


def test_it_refuses_to_obey_itself(model, tmp_path):
    settings = arguments(**TRUSTED, **ASSIST, model=model)
    for name in ("cmd_vel_in:=/cmd_vel", "cmd_vel:=cmd_vel_in"):
        node = NodeProcess(tmp_path / "log", [*settings, "-r", name])
        try:
            assert node.process.wait(REFUSE_S) == 2, node.output
            assert "cmd_vel_in and cmd_vel are both /cmd_vel" in node.output
        finally:
            node.kill()


@pytest.mark.parametrize("extension", ["png", "jpeg"])
def test_compressed_images(extension, model, tmp_path):
    settings = {**SETTINGS, "model": model, "image_transport": "compressed"}
    with running(tmp_path / "log", peer_stamped=True, **settings) as (_, peer):
        for frame in frames(10):
            message = CompressedImage(format=extension)
            message.header.stamp = messages.stamp(frame.stamp_ns)
            _, data = cv2.imencode(f".{extension}", frame.image[:, :, ::-1])
            message.data = data.tobytes()
            peer.insist(peer.compressed, message, "prediction")
        assert peer.commands()[-1][1] > 0
        if extension == "png":
            first = peer.heard["prediction"][-1][1].header.stamp
            assert first.sec * SECOND + first.nanosec in {f.stamp_ns for f in frames(10)}


def test_obstacles_and_debug_image(model, tmp_path):
    stream = frames(30)
    answers = offline(model, stream)
    threshold = float(np.median([a.prediction.collision_probability for a in answers]))
    near = [a.prediction.collision_probability >= threshold for a in answers]
    settings = {**SETTINGS, "model": model, "obstacle_distance": 0.8}
    settings |= {"stop_threshold": threshold, "go_threshold": 0.01}
    with running(tmp_path / "log", peer_stamped=True, **settings) as (_, peer):
        debug = "/collision_avoidance/debug_image"
        for n, frame in enumerate(stream):
            if n == 20:
                assert peer.node.count_subscribers(debug) == 0
                peer.listen(debug, Image)
                peer.wait(lambda: peer.node.count_publishers(debug) == 1, "its publisher")
                time.sleep(0.3)
            peer.ask(frame)
        peer.wait(lambda: len(peer.heard["obstacles"]) == 30, "clouds")
        clouds = [message for _, message in peer.heard["obstacles"]]
        assert [cloud.width > 0 for cloud in clouds] == near
        for frame, cloud in zip(stream, clouds, strict=True):
            assert cloud.header.frame_id == "base_link"
            assert cloud.header.stamp == messages.stamp(frame.stamp_ns)
            points = np.frombuffer(bytes(cloud.data), "<f4").reshape(-1, 3)
            assert np.hypot(points[:, 0], points[:, 1]) == pytest.approx(0.8)

        def last_image() -> Image | None:
            heard = [message for _, message in peer.heard[debug]]
            expected = messages.stamp(stream[-1].stamp_ns)
            return heard[-1] if heard and heard[-1].header.stamp == expected else None

        peer.wait(lambda: last_image() is not None, "the last debug image")
        last = last_image()
        assert messages.frame(last).image.shape == (240, 320, 3)


def test_observe_predicts_and_has_no_topic_of_commands(model, tmp_path):
    settings = {**SETTINGS, "model": model, "mode": "observe"}
    with running(tmp_path / "log", **settings) as (_, peer):
        answers = offline(model, frames(10))
        for frame, answer in zip(frames(10), answers, strict=True):
            peer.clock.publish(Clock(clock=messages.stamp(frame.stamp_ns)))
            peer.show(frame)
            stamp = messages.stamp(frame.stamp_ns)
            told = peer.wait(lambda s=stamp: peer.with_stamp("prediction", s), "a prediction")
            assert told.vector.x == answer.prediction.steering_rad
        assert peer.node.count_publishers("cmd_vel") == 0
        peer.wait(lambda: peer.diagnostics().get("state") == "driving", "diagnostics")


def test_assist_equals_the_offline_filter(model, tmp_path):
    rng = np.random.default_rng(4)
    stream = frames(40)
    settings = {**SETTINGS, "model": model, "mode": "assist", "input_timeout": 10.0}
    settings["qos_overrides./cmd_vel_in.subscription.reliability"] = "reliable"
    with running(tmp_path / "log", peer_stamped=True, **settings) as (_, peer):
        asker = peer.node.create_publisher(TwistStamped, "cmd_vel_in", 1)
        peer.wait(lambda: asker.get_subscription_count() == 1, "its subscription")
        slowed = bent = 0
        for frame, answer in zip(stream, offline(model, stream), strict=True):
            wanted = Command(rng.uniform(-0.1, 0.4), rng.uniform(-0.5, 0.5))
            asker.publish(messages.twist_stamped(wanted, Header()))
            assert asker.wait_for_all_acked(Duration(seconds=20)), "the two travel apart"
            time.sleep(0.02)  # from there into the callback
            _, command = peer.ask(frame)
            expected = assist(wanted, answer.command, answer.prediction, ControlConfig())
            assert messages.command(command) == expected
            slowed += 0.0 < expected.linear_mps < wanted.linear_mps
            bent += expected.linear_mps == wanted.linear_mps > 0 and expected != wanted
        assert slowed > 3
        assert bent > 3


def test_disabled_from_the_start_predicts_but_does_not_drive(model, tmp_path):
    with running(tmp_path / "log", model=model, enabled=False, stop_pub_timeout=0.2) as (_, peer):
        for _ in range(5):  # a busy machine skips frames: only the newest is answered
            live(peer)
            if len(peer.heard["prediction"]) > 8:
                break
        assert len(peer.heard["prediction"]) > 8
        assert all(c[1:] == (0.0, 0.0) for c in peer.commands())
        peer.enable(True)
        live(peer)
        assert peer.commands()[-1][1] > 0


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
