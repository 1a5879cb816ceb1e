"""What can go wrong, how to make it go wrong, and what the node then does: one row for each.

``docs/node.md`` shows the same table; ``test_failsafes.py`` runs it.
"""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
import pytest
from faulty_node import STALL_S, spoiled
from geometry_msgs.msg import Twist
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from ros_peer import HEIGHT, SECOND, WIDTH, NodeProcess, Peer, frames
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage

from crnn_snn_ros.core.types import Frame
from crnn_snn_ros.ros import messages

FRAME_TIMEOUT_S = 0.4
SLACK_S = 0.1  # the promise: stopped within frame_timeout + 100 ms
PERIOD_S = 0.05
SETTINGS: dict[str, object] = {
    "frame_timeout": FRAME_TIMEOUT_S,
    "stop_pub_timeout": 0.3,
    "go_frames": 2,
    "go_threshold": 0.99,  # a random network must not stop the robot by itself
    "stop_threshold": 1.0,
}


class Rig:
    """A node, and the camera and base around it."""

    def __init__(self, node: NodeProcess, peer: Peer, settings: dict[str, Any]) -> None:
        self.node, self.peer = node, peer
        self.assist = settings.get("mode") == "assist"
        self.by_odometry = settings.get("turn_from") == "odom"
        self.now_ns = 100 * SECOND if settings.get("use_sim_time") else 0  # 0: it is now
        self.compressed = settings.get("image_transport") == "compressed"
        self.asked = peer.node.create_publisher(Twist, "cmd_vel_in", 1)
        self.turned = peer.node.create_publisher(Odometry, "odom", 1)
        self._pictures = itertools.cycle([frame.image for frame in frames(40)])

    def frame(self, age_s: float = 0.0) -> Frame:
        """The next frame, of the present time or some time ago."""
        now_ns = self.now_ns or time.time_ns()
        return Frame(now_ns - round(age_s * SECOND), next(self._pictures))

    def tick(self, seconds: float = PERIOD_S) -> None:
        """Let time pass, where it is simulated."""
        if self.now_ns:
            self.now_ns += round(seconds * SECOND)
            self.peer.clock.publish(Clock(clock=messages.stamp(self.now_ns)))
            time.sleep(0.02)  # /clock and images travel apart

    def ask(self) -> None:
        if self.assist:
            message = Twist()
            message.linear.x, message.angular.z = 0.3, 0.1
            self.asked.publish(message)

    def say_how_it_turns(self) -> None:
        if not self.by_odometry:
            return
        message = Odometry()
        message.header.stamp = messages.stamp(self.frame().stamp_ns)
        message.twist.twist.angular.z = 0.1
        self.turned.publish(message)
        time.sleep(0.02)  # odom and images travel apart

    def show(self, frame: Frame) -> None:
        if self.compressed:
            self.peer.compressed.publish(jpeg(frame))
        else:
            self.peer.show(frame)

    def answered(self, frame: Frame, timeout_s: float = 1.0) -> bool:
        """Show a frame; whether it is answered in that time."""
        heard = len(self.peer.heard["prediction"])
        self.show(frame)
        end = time.monotonic() + timeout_s
        while len(self.peer.heard["prediction"]) == heard:
            if time.monotonic() > end:
                return False
            time.sleep(0.002)
        return True

    def cruise(self, count: int) -> None:
        """Good frames at the network's rate."""
        for _ in range(count):
            self.tick()
            self.ask()
            self.say_how_it_turns()
            self.answered(self.frame())
            time.sleep(PERIOD_S)

    def drive(self) -> None:
        """Good frames until the robot moves."""
        for _ in range(60):
            self.cruise(1)
            if self.peer.commands() and self.peer.commands()[-1][1] > 0.0:
                return
        raise AssertionError(f"good frames do not move it: {self.peer.diagnostics()}")

    def set(self, name: str, value: float | str | bool | None) -> Any:
        """Set a parameter, or delete it; the node's reply."""
        fields = {float: "double_value", str: "string_value", bool: "bool_value"}
        if value is None:
            told = ParameterValue(type=ParameterType.PARAMETER_NOT_SET)
        else:
            field = fields[type(value)]
            kind = getattr(ParameterType, f"PARAMETER_{field.removesuffix('_value').upper()}")
            told = ParameterValue(type=kind, **{field: value})
        parameter = Parameter(name=name, value=told)
        request = SetParameters.Request(parameters=[parameter])
        return self.peer.call(SetParameters, "set_parameters", request).results[0]


def jpeg(frame: Frame) -> CompressedImage:
    import cv2

    message = CompressedImage(format="jpeg")
    message.header.stamp = messages.stamp(frame.stamp_ns)
    message.data = cv2.imencode(".jpg", frame.image[:, :, ::-1])[1].tobytes()
    return message


class Outcome(Enum):
    AT_ONCE = "stops at once; goes on when good frames return"
    IN_TIME = "stops within `frame_timeout` + 100 ms; goes on when good frames return"
    SOON = "stops once the last frames show it; goes on when good frames return"
    GOES_ON = "goes on"
    ENDS = "stops at once, for good"


class Row(NamedTuple):
    what: str
    node: str  # which of NODES it is done to
    break_it: Callable[[Rig], float | None]  # returns when, where that is not when it is called
    outcome: Outcome
    counted: str = ""  # key in /diagnostics that counts it
    mend: Callable[[Rig], object] = lambda _: None


NODES: dict[str, dict[str, object]] = {
    "plain": {},
    "faulty": {},
    "sim_time": {"use_sim_time": True},
    "compressed": {"image_transport": "compressed"},
    "assist": {"mode": "assist", "input_timeout": 0.3},
    "turning": {"mode": "assist", "turn_from": "odom", "camera_height": 0.2},
}


def nothing(_: Rig) -> None:
    pass


def message_with(**fields: Any) -> Callable[[Rig], None]:
    """Show an image message, some of whose fields are wrong."""

    def show(rig: Rig) -> None:
        message = messages.image(rig.frame())
        for name, value in fields.items():
            setattr(message, name, value)
        rig.peer.images.publish(message)

    return show


def aged(age_s: float) -> Callable[[Rig], None]:
    return lambda rig: rig.show(rig.frame(age_s))


def picture(height: int, width: int, level: int | None = None) -> Callable[[Rig], None]:
    image = np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)
    if level is not None:
        image[:] = level
    return lambda rig: rig.show(rig.frame()._replace(image=image))


def engine(fault: str) -> Callable[[Rig], None]:
    return lambda rig: rig.show(spoiled(rig.frame(), fault))


def stall(rig: Rig) -> None:
    rig.show(spoiled(rig.frame(), "stall"))
    time.sleep(STALL_S + 0.2)


def once_a_second(rig: Rig) -> None:
    for _ in range(2):
        time.sleep(1.0)
        rig.show(rig.frame())


def four_a_second(rig: Rig) -> None:
    for _ in range(11):
        time.sleep(0.25)
        rig.show(rig.frame())


def no_stamp(rig: Rig) -> None:
    assert rig.set("zero_stamp", "reject").successful
    rig.show(rig.frame()._replace(stamp_ns=0))


def no_stamp_but_the_time_of_arrival(rig: Rig) -> None:
    assert rig.set("zero_stamp", "receive_time").successful
    for _ in range(8):
        assert rig.answered(rig.frame()._replace(stamp_ns=0))
        time.sleep(PERIOD_S)


def repeat(rig: Rig) -> None:
    for _ in range(6):
        frame = rig.frame()
        assert rig.answered(frame)
        assert not rig.answered(frame, PERIOD_S)


def fast(rig: Rig) -> None:
    before, begun_s = len(rig.peer.heard["prediction"]), time.monotonic()
    for _ in range(200):
        rig.show(rig.frame())
        time.sleep(0.005)
    answered = len(rig.peer.heard["prediction"]) - before
    took_s = time.monotonic() - begun_s  # longer on a busy machine, with as many answers more
    assert 10 <= answered <= 21 * took_s + 4, (answered, took_s)


def slow_engine(rig: Rig) -> None:
    rig.answered(spoiled(rig.frame(), "slow"))
    rig.cruise(3)


def overload(rig: Rig) -> None:
    for _ in range(12):
        rig.answered(rig.frame())  # or the robot would stop for want of good ones
        time.sleep(PERIOD_S)
        rig.answered(spoiled(rig.frame(), "slow"))


def overload_ends(rig: Rig) -> None:
    rig.cruise(45)


def clock_stands(rig: Rig) -> None:
    for n in range(1, 9):
        rig.show(rig.frame(age_s=-n * PERIOD_S))
        time.sleep(PERIOD_S)


def clock_and_camera_stand(rig: Rig) -> None:
    for _ in range(12):
        rig.show(rig.frame())
        time.sleep(PERIOD_S)


def jump(seconds: float) -> Callable[[Rig], None]:
    def do(rig: Rig) -> None:
        rig.tick(seconds)
        rig.show(rig.frame())

    return do


def bad_jpeg(rig: Rig) -> None:
    message = jpeg(rig.frame())
    message.data = message.data[: len(message.data) // 2]
    rig.peer.compressed.publish(message)


def silent_asker(rig: Rig) -> None:
    for _ in range(12):
        rig.show(rig.frame())
        time.sleep(PERIOD_S)


def odometry_stops(rig: Rig) -> None:
    for _ in range(8):
        rig.show(rig.frame())
        time.sleep(PERIOD_S)


def odometry_of_no_time(rig: Rig) -> None:
    message = Odometry()
    message.header.stamp.sec = -1
    rig.turned.publish(message)


def asks_for_nonsense(rig: Rig) -> None:
    message = Twist()
    message.linear.x = float("nan")
    rig.asked.publish(message)


def asks_for_zero(rig: Rig) -> None:
    rig.asked.publish(Twist())


def wrong_parameter(rig: Rig) -> None:
    wrong = (("v_max_mps", -1.0), ("v_max_mps", 1e9), ("go_threshold", 1.0), ("mode", "observe"))
    for name, value in (*wrong, ("v_max_mps", float("nan")), ("frame_timeout", None)):
        reply = rig.set(name, value)
        assert not reply.successful
        assert reply.reason
        rig.cruise(2)  # or the robot would stop for want of frames


def clock_is_taken_away(rig: Rig) -> None:
    assert rig.set("use_sim_time", True).successful
    rig.show(rig.frame())


def other_camera(rig: Rig) -> None:
    rig.peer.images.publish(messages.image(rig.frame(), "rear"))


def activate_while_busy(rig: Rig) -> None:
    rig.show(spoiled(rig.frame(), "stall"))
    time.sleep(0.02)
    lifecycle(Transition.TRANSITION_DEACTIVATE)(rig)
    activate(rig)
    time.sleep(STALL_S)


def other_model(rig: Rig) -> None:
    rig.node.model.write_bytes(b"not a model")
    rig.cruise(4)


def slow_subscriber(rig: Rig) -> float:
    slow, hears, ended = Peer(), threading.Event(), threading.Event()

    def slowly(_: Twist) -> None:
        hears.set()
        ended.wait(1.0)

    try:
        slow.node.create_subscription(Twist, "cmd_vel", slowly, 1)
        rig.drive()
        while not hears.is_set():
            rig.cruise(1)
        before, begun_s = len(rig.peer.commands()), time.monotonic()
        rig.cruise(30)
        assert len(rig.peer.commands()) - before >= 30
    finally:
        ended.set()  # closing must not take longer than the node waits for a frame
        slow.close()
    return begun_s


def lifecycle(transition: int) -> Callable[[Rig], None]:
    def do(rig: Rig) -> None:
        request = ChangeState.Request(transition=Transition(id=transition))
        assert rig.peer.call(ChangeState, "change_state", request).success

    return do


def activate(rig: Rig) -> None:
    lifecycle(Transition.TRANSITION_ACTIVATE)(rig)
    rig.peer.wait(lambda: rig.peer.images.get_subscription_count() == 1, "its subscription")


def disable(rig: Rig) -> None:
    rig.peer.enable(False)
    rig.cruise(6)


def send(number: signal.Signals) -> Callable[[Rig], None]:
    def do(rig: Rig) -> None:
        if signal.getsignal(number) is signal.SIG_IGN:
            pytest.skip(f"{number.name} is ignored here (nohup?), and so by what is started here")
        rig.node.process.send_signal(number)

    return do


def terminate_while_busy(rig: Rig) -> None:
    rig.show(spoiled(rig.frame(), "stall"))
    time.sleep(0.02)
    rig.node.process.send_signal(signal.SIGTERM)


AT_ONCE, IN_TIME, SOON, GOES_ON, ENDS = Outcome
BAD = "count_bad_frame"
TABLE = [
    Row("frames stop", "plain", nothing, IN_TIME, "count_no_frame"),
    Row("1 frame per second", "plain", once_a_second, IN_TIME, "count_no_frame"),
    Row("4 frames per second, below `min_rate`", "plain", four_a_second, SOON, "count_low_rate"),
    Row("200 frames per second", "plain", fast, GOES_ON, "dropped_decimated"),
    Row("frame 5 s old", "plain", aged(5.0), AT_ONCE, "count_old_frame"),
    Row("frame 1 s ahead of the clock", "plain", aged(-1.0), AT_ONCE, "count_future_frame"),
    Row("stamp before the last one", "plain", aged(0.3), AT_ONCE, "count_time_back"),
    Row("same stamp again", "plain", repeat, GOES_ON, "dropped_repeated"),
    Row("no stamp, `zero_stamp` reject", "plain", no_stamp, AT_ONCE, "count_zero_stamp"),
    Row("no stamp, `zero_stamp` receive_time", "plain", no_stamp_but_the_time_of_arrival, GOES_ON),
    Row("time jumps back by 60 s", "sim_time", jump(-60.0), AT_ONCE, "count_time_back"),
    Row("time jumps forward by 60 s", "sim_time", jump(60.0), AT_ONCE),
    Row("`/clock` stops", "sim_time", clock_stands, IN_TIME, "count_future_frame"),
    Row("`/clock` and stamps stop", "sim_time", clock_and_camera_stand, IN_TIME, "count_no_frame"),
    Row("size changes midway", "plain", picture(2 * HEIGHT, 2 * WIDTH), AT_ONCE, BAD),
    Row("wrong height", "plain", message_with(height=HEIGHT + 1), AT_ONCE, BAD),
    Row("wrong step", "plain", message_with(step=7), AT_ONCE, BAD),
    Row("truncated data", "plain", message_with(data=b"12345"), AT_ONCE, BAD),
    Row("unknown encoding", "plain", message_with(encoding="holographic"), AT_ONCE, BAD),
    Row("corrupt JPEG", "compressed", bad_jpeg, AT_ONCE, BAD),
    Row("all black", "plain", picture(HEIGHT, WIDTH, 0), AT_ONCE, "count_blind"),
    Row("all white", "plain", picture(HEIGHT, WIDTH, 255), AT_ONCE, "count_blind"),
    Row("a camera of another `frame_id`", "plain", other_camera, AT_ONCE, BAD),
    Row(
        "`use_sim_time` set while driving, no `/clock`",
        *("plain", clock_is_taken_away, AT_ONCE, "count_future_frame"),
        lambda rig: rig.set("use_sim_time", False),
    ),
    Row("NaN from the engine", "faulty", engine("nan"), AT_ONCE, "count_not_finite"),
    Row("network not settled", "faulty", engine("unsettled"), AT_ONCE, "count_not_settled"),
    Row("engine raises", "faulty", engine("raise"), AT_ONCE, "count_engine_failure"),
    Row("CUDA lost", "faulty", engine("cuda"), AT_ONCE, "count_engine_failure"),
    Row("engine stalls 2 s", "faulty", stall, IN_TIME),
    Row("one answer later than `max_latency`", "faulty", slow_engine, GOES_ON, "dropped_late"),
    Row(
        "more than 10 late answers of 50",
        *("faulty", overload, SOON, "count_overloaded", overload_ends),
    ),
    Row("`cmd_vel_in` silent in assist", "assist", silent_asker, IN_TIME, "count_no_input"),
    Row("`cmd_vel_in` asks for zero", "assist", asks_for_zero, AT_ONCE),
    Row("`cmd_vel_in` is NaN", "assist", asks_for_nonsense, AT_ONCE, "count_not_finite"),
    Row("`odom` stops, `turn_from` odom", "turning", odometry_stops, IN_TIME, "count_no_odometry"),
    Row("`odom` bears no time", "turning", odometry_of_no_time, AT_ONCE, "count_no_odometry"),
    Row("subscriber of `cmd_vel` slow", "plain", slow_subscriber, GOES_ON),
    Row("parameter wrong or deleted while driving", "plain", wrong_parameter, GOES_ON),
    Row("model file replaced while driving", "compressed", other_model, GOES_ON),
    Row(
        "deactivate",
        *("plain", lifecycle(Transition.TRANSITION_DEACTIVATE), AT_ONCE, "count_inactive"),
        activate,
    ),
    Row("deactivate, activate, the engine still busy", "faulty", activate_while_busy, AT_ONCE),
    Row("disable", "plain", disable, AT_ONCE, "count_disabled", lambda rig: rig.peer.enable(True)),
    Row("SIGINT", "sim_time", send(signal.SIGINT), ENDS),
    Row("SIGTERM", "plain", send(signal.SIGTERM), ENDS),
    Row("SIGHUP (the terminal is gone)", "assist", send(signal.SIGHUP), ENDS),
    Row("SIGTERM while the engine is busy", "faulty", terminate_while_busy, ENDS),
]
