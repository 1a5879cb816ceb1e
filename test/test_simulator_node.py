"""The simulator as its own process, over real DDS, alone and with the node that drives in it."""

from __future__ import annotations

import json
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from ros_peer import DOMAIN, ROOT, SECOND
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, LaserScan
from sim_support import needs_pictures
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from crnn_snn_ros.core.errors import CrnnSnnError
from crnn_snn_ros.core.types import Command
from crnn_snn_ros.io.resources import resource_path
from crnn_snn_ros.ros import demo, lockstep, messages, simulator_node
from crnn_snn_ros.ros.witness import Witness
from crnn_snn_ros.sim.robot import CAR, RobotConfig
from crnn_snn_ros.sim.simulator import CONTACT, Simulator
from crnn_snn_ros.sim.suites import SUITES

pytestmark = pytest.mark.timeout(300)  # processes that import torch, on a busy machine
NODE = "crnn_snn_ros.ros.simulator_node"
MODEL = resource_path("models", "donkeycar_mit.snn")
TOPICS = {
    "image": Image,
    "camera_info": CameraInfo,
    "odom": Odometry,
    "scan": LaserScan,
    "/clock": Clock,
    "/diagnostics": DiagnosticArray,
}
KEPT = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
WIPE = """
import ctypes
class Loader(ctypes.CDLL):
    def __init__(self, name, *args, **kwargs):
        if "OSMesa" in str(name):
            raise OSError(f"{name}: cannot open shared object file")
        super().__init__(name, *args, **kwargs)
ctypes.CDLL = ctypes.cdll._dlltype = Loader
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(DOMAIN))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


class Visitor:
    """Hears all that the simulator says, and commands."""

    def __init__(self, stamped: bool = False) -> None:
        self._context = Context()
        rclpy.init(
            context=self._context, domain_id=DOMAIN, signal_handler_options=SignalHandlerOptions.NO
        )
        self.node = rclpy.create_node("visitor", context=self._context)
        self.heard: dict[str, list[Any]] = {topic: [] for topic in (*TOPICS, "results")}
        for topic, kind in TOPICS.items():
            self.node.create_subscription(kind, topic, self.heard[topic].append, 100)
        self.node.create_subscription(
            String, "simulator/results", self.heard["results"].append, KEPT
        )
        kind = TwistStamped if stamped else Twist
        self.commands = self.node.create_publisher(kind, "cmd_vel", 10)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def wait(self, ready: Callable[[], Any], what: str, timeout_s: float = 20.0) -> Any:
        end = time.monotonic() + timeout_s
        while not (result := ready()):
            assert time.monotonic() < end, f"nothing came within {timeout_s} s: {what}"
            self._executor.spin_once(timeout_sec=0.05)
        return result

    def listen(self, duration_s: float) -> None:
        end = time.monotonic() + duration_s
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.05)

    def call(self, kind: Any, name: str, request: Any) -> Any:
        client = self.node.create_client(kind, f"simulator/{name}")
        self.wait(client.service_is_ready, name)
        future = client.call_async(request)
        self.wait(future.done, f"reply of {name}")
        assert future.result().success
        self.node.destroy_client(client)
        return future.result()

    def pause(self, on: bool) -> None:
        self.call(SetBool, "pause", SetBool.Request(data=on))

    def last(self, topic: str) -> Any:
        return self.heard[topic][-1]

    def forget(self) -> None:
        for messages_ in self.heard.values():
            messages_.clear()

    def diagnostics(self) -> dict[str, str]:
        if not self.heard["/diagnostics"]:
            return {}
        status = self.last("/diagnostics").status[0]
        return {"message": status.message, **{v.key: v.value for v in status.values}}

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()


@contextmanager
def visiting(log: Path, stamped: bool = False, **parameters: str) -> Iterator[tuple[Any, Visitor]]:
    settings = {"stamped": str(stamped).lower(), **parameters}
    with ExitStack() as stack:
        visitor = stack.enter_context(closing(Visitor(stamped)))
        process = stack.enter_context(lockstep.started(NODE, log, settings))

        def met() -> bool:
            assert process.poll() is None, log.read_text()
            publishers = visitor.node.count_publishers
            return all(map(publishers, TOPICS)) and visitor.node.count_subscribers("cmd_vel") > 0

        visitor.wait(met, "the simulator", 40.0)
        yield process, visitor


def stamp_ns(message: Any) -> int:
    return int(message.header.stamp.sec) * SECOND + int(message.header.stamp.nanosec)


def end(process: Any) -> int:
    process.send_signal(signal.SIGINT)
    return int(process.wait(20))


@needs_pictures
def test_in_real_time_it_is_a_base_that_stops_when_commands_cease(tmp_path):
    ahead = Twist()
    ahead.linear.x, ahead.angular.z = 0.4, 0.3
    settings = {"suite": "static", "seed": "2002", "command_timeout": "0.3", "scan_rays": "36"}
    with visiting(tmp_path / "log", **settings) as (process, visitor):
        while not visitor.heard["odom"] or visitor.last("odom").twist.twist.linear.x < 0.39:
            visitor.commands.publish(ahead)
            visitor.listen(0.1)
        # When exactly is a matter of the session, and tested there.
        visitor.wait(lambda: visitor.last("odom").twist.twist.linear.x < 0.01, "a stop")
        assert visitor.last("odom").pose.pose != visitor.heard["odom"][0].pose.pose

        visitor.pause(True)
        visitor.listen(0.3)
        visitor.forget()
        visitor.listen(0.5)
        assert not visitor.heard["image"]
        assert not visitor.heard["/clock"]
        visitor.pause(False)
        visitor.wait(lambda: visitor.heard["image"] and visitor.heard["odom"], "a frame")

        moved = visitor.last("odom")
        visitor.call(Trigger, "reset", Trigger.Request())
        start = SUITES["static"].course(2002).start
        later = 2 * SECOND + stamp_ns(moved)
        anew = visitor.wait(
            lambda: [m for m in visitor.heard["odom"] if stamp_ns(m) >= later], "the start"
        )[0].pose.pose
        assert (anew.position.x, anew.position.y) == start[:2]
        # How many come of what was sent in a moment is a matter of discovery: wait, not count.
        images, ticks = visitor.heard["image"], visitor.heard["/clock"]
        visitor.wait(lambda: len(ticks) > 2 * len(images), "time, told between frames, too")
        clocks = [m.clock.sec * SECOND + m.clock.nanosec for m in ticks]
        assert clocks == sorted(set(clocks)), "time never runs back"
        assert end(process) == 0
        assert "Traceback" not in (tmp_path / "log").read_text()


@needs_pictures
def test_what_it_publishes_is_what_the_simulator_knows(tmp_path):
    """Lockstep by hand: a stamped command, a step; nothing else moves the world."""
    suite = SUITES["movers"]
    settings = {"suite": "movers", "seed": "2001", "courses": "1", "lockstep": "true"}
    with (
        Simulator(suite.course(2001), suite.look(2001)) as simulator,
        visiting(tmp_path / "log", stamped=True, **settings) as (process, visitor),
    ):
        visitor.wait(lambda: len(visitor.heard["image"]) > 1, "the course anew, unanswered")
        shift = stamp_ns(visitor.last("image")) - SECOND
        command, seen = TwistStamped(), simulator.observation
        command.twist.linear.x, command.twist.angular.z = 0.9, 0.1
        for _ in range(200):
            for topic in ("image", "camera_info", "odom", "scan"):
                stamp = seen.frame.stamp_ns + shift
                visitor.wait(lambda t=topic, s=stamp: stamp_ns(visitor.last(t)) == s, topic)
            compare(visitor, simulator)
            if seen.finished is not None:
                break
            command.header.stamp = messages.stamp(stamp - 1)
            visitor.commands.publish(command)  # of another frame: it counts for nothing
            command.header.stamp = messages.stamp(stamp)
            visitor.commands.publish(command)
            seen = simulator.step(Command(0.9, 0.1))
        assert seen.finished == CONTACT
        told = json.loads(visitor.wait(lambda: visitor.heard["results"], "a result")[0].data)
        assert (told["suite"], told["seed"], told["finished"]) == ("movers", 2001, CONTACT)
        assert (told["distance_m"], told["time_s"]) == (seen.distance_m, seen.time_s)
        assert told["last_stamp_ns"] == stamp
        visitor.commands.publish(command)
        command.header.stamp = messages.stamp(stamp)
        visitor.commands.publish(command)
        visitor.wait(lambda: visitor.diagnostics().get("over") == "True", "the end")
        assert visitor.diagnostics()["result"] == CONTACT
        assert "movers:2001 (corridor): contact" in (tmp_path / "log").read_text()
        with closing(Visitor()) as late:
            late.wait(lambda: late.heard["results"], "the result, for who came late")
        assert end(process) == 0


def compare(visitor: Visitor, simulator: Simulator) -> None:
    seen = simulator.observation
    picture = messages.frame(visitor.last("image"))
    assert np.array_equal(picture.image, seen.frame.image)
    assert visitor.last("image").header.frame_id == visitor.last("camera_info").header.frame_id
    odom = visitor.last("odom")
    at, twist = odom.pose.pose.position, odom.twist.twist
    assert (at.x, at.y) == seen.state[:2]
    assert (twist.linear.x, twist.angular.z) == seen.state[3:5]
    assert math.cos(messages.place(odom).yaw_rad - seen.state.yaw_rad) == pytest.approx(1.0)
    ranges = np.array(visitor.last("scan").ranges)
    assert np.nan_to_num(ranges, posinf=8.0) == pytest.approx(simulator.scan(180), abs=1e-5)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"playlist": "static:2000 easy:1"}, "playlist has 'easy:1'"),
        ({"lockstep": "true"}, "lockstep needs stamped"),
    ],
)
def test_what_it_cannot_use_is_refused_in_one_line(settings, line, tmp_path):
    with lockstep.started(NODE, tmp_path / "log", settings) as process:
        assert process.wait(90) == 2
    (told,) = (tmp_path / "log").read_text().splitlines()
    assert line in told


def test_a_car_has_the_shape_of_a_car_unless_told_otherwise():
    for base, drive in ((RobotConfig(), "differential"), (CAR, "ackermann")):
        known = {name: default for name, (default, _) in simulator_node.known(drive).items()}
        shape = {field.name: known[field.name] for field in fields(RobotConfig)}
        assert RobotConfig(**{**shape, "drive": drive}) == base


@pytest.mark.skipif(sys.platform != "linux", reason="OSMesa is what Linux draws with")
@pytest.mark.parametrize("who", ["simulator", "demo"])
def test_without_opengl_one_line_says_what_to_install(who, tmp_path, monkeypatch, capsys):
    pytest.importorskip("mujoco")
    (tmp_path / "sitecustomize.py").write_text(WIPE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    if who == "demo":
        out = tmp_path / "out"
        assert demo.main(["--model", str(MODEL), "--out", str(out)]) == 2
        (told,) = capsys.readouterr().err.splitlines()
    else:
        with lockstep.started(NODE, tmp_path / "log", {}) as process:
            assert process.wait(90) == 2
        (told,) = (tmp_path / "log").read_text().splitlines()
    assert "apt-get install libosmesa6" in told


@needs_pictures
def test_a_witness_that_waits_in_vain_says_so():
    with closing(Witness(lambda _: None)) as witness, pytest.raises(CrnnSnnError, match="did not"):
        witness.begin(lambda: None, 0.2)
