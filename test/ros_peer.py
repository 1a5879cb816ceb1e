"""The other end of the wire for tests of the node: a process, a peer, a model, some frames."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist, TwistStamped, Vector3Stamped
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from std_msgs.msg import Float32
from std_srvs.srv import SetBool, Trigger

from crnn_snn_ros.core.graph import INPUT, Conv, Graph, Head, Linear, Neurons
from crnn_snn_ros.core.types import Frame
from crnn_snn_ros.io.model_file import HeadInfo, Model, save
from crnn_snn_ros.io.preprocess import InputContract
from crnn_snn_ros.ros import messages
from crnn_snn_ros.ros.dds import profile_environment

with warnings.catch_warnings():  # a parser that every message type imports uses an old module
    warnings.simplefilter("ignore", DeprecationWarning)
    import rosidl_generator_py  # noqa: F401

# Fast DDS reads its profile when a process has its first participant, and never again: set by one
# test for itself it came too late wherever another had run before, and large images were lost.
os.environ.update(profile_environment())

ROOT = Path(__file__).parents[1]
SECOND = 1_000_000_000
# A domain of its own for each test run, so that two on one machine do not meet.
DOMAIN = int(os.environ.get("ROS_DOMAIN_ID") or 1 + os.getpid() % 100)
WIDTH, HEIGHT = 32, 24
GENTLE_S = 3.0  # for a node to end by itself


def small_model(path: Path, *, told: bool = False) -> Path:
    """A random recurrent network with memory, whose outputs vary and mostly let the robot go.

    Args:
        path: where it goes.
        told: it must be told the mount of its camera, and how the robot moves.
    """
    rng = np.random.default_rng(7)
    contract = InputContract(WIDTH, HEIGHT, "rgb", motion=3 * told, mount=told, steady=told)

    def weights(*shape: int) -> np.ndarray:
        return rng.integers(-20, 21, shape).astype(np.int8)

    def neurons(name: str, synapse: Any, channels: int, threshold: int, **more: Any) -> Neurons:
        bias = rng.integers(-50, 50, channels).astype(np.int32)
        thresholds = np.full(channels, threshold, np.int32)
        return Neurons(name, (synapse,), bias, thresholds, more.pop("n_min", 0), 3, **more)

    recurrent = rng.integers(-300, 300, 12).astype(np.int32)
    nodes = (
        neurons(
            "conv", Conv(INPUT, weights(6, contract.channels, 5, 5), stride=4, padding=2), 6, 2047
        ),
        neurons(
            "hidden", Linear("conv", weights(12, 6 * 6 * 8)), 12, 300, n_min=-3, recurrent=recurrent
        ),
        Head("steering", (Linear("hidden", weights(1, 12)),), np.zeros(1, np.int32), 0.002),
        Head(
            "collision",
            (Linear("hidden", weights(1, 12)),),
            np.full(1, -100, np.int32),
            0.01,
            "logit",
        ),
    )
    model = Model(
        graph=Graph((contract.channels, HEIGHT, WIDTH), nodes),
        contract=contract,
        frame_rate_hz=20.0,
        heads={"steering": HeadInfo("rad", True), "collision": HeadInfo("probability", False)},
        provenance={"made_by": "test"},
        metrics={},
    )
    save(path, model)
    return path


def frames(count: int, seed: int = 1, start_ns: int = 100 * SECOND) -> list[Frame]:
    """A random video at 20 frames per second."""
    rng = np.random.default_rng(seed)
    video = rng.integers(0, 256, (count, HEIGHT, WIDTH, 3), np.uint8)
    return [Frame(start_ns + n * SECOND // 20, pixels) for n, pixels in enumerate(video)]


def arguments(**values: object) -> list[str]:
    """``--ros-args`` for parameters."""
    text = {True: "true", False: "false"}
    settings = [
        f"{name}:={text.get(value, value)}" if isinstance(value, bool) else f"{name}:={value}"
        for name, value in values.items()
    ]
    return ["--ros-args", *(item for setting in settings for item in ("-p", setting))]


class NodeProcess:
    """The node as its own process."""

    def __init__(self, log: Path, args: list[str], script: str | None = None, **env: str) -> None:
        entry = [str(ROOT / "test" / script)] if script else ["-m", "crnn_snn_ros.ros.node"]
        self._log = log
        self.model = Path()  # set by who chose one
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        settings = {"ROS_DOMAIN_ID": str(DOMAIN), "PYTHONPATH": path, **env}
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, *entry, *args],
                env={**os.environ, **settings},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def end(self, number: signal.Signals = signal.SIGINT, timeout_s: float = 15.0) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """End it, gently at first: killed, it would leave its shared memory behind."""
        if self.process.poll() is None:
            try:
                self.end(timeout_s=GENTLE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


class Peer:
    """Publishes images and records what the node sends, with the time at which it came."""

    def __init__(self, *, stamped: bool = False) -> None:
        self._context = Context()
        rclpy.init(
            context=self._context, domain_id=DOMAIN, signal_handler_options=SignalHandlerOptions.NO
        )
        self.node = rclpy.create_node("peer", context=self._context)
        self.changed = threading.Condition()
        self.heard: dict[str, list[tuple[float, Any]]] = {}
        self.images = self.node.create_publisher(Image, "image", 5)
        self.compressed = self.node.create_publisher(CompressedImage, "image/compressed", 5)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.clock = self.node.create_publisher(Clock, "/clock", latched)
        for topic, kind in {
            "cmd_vel": TwistStamped if stamped else Twist,
            "prediction": Vector3Stamped,
            "steering": Float32,
            "collision_probability": Float32,
            "/diagnostics": DiagnosticArray,
            "obstacles": PointCloud2,
        }.items():
            self.listen(topic, kind)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def _spin(self) -> None:
        while not self._ending.is_set():
            self._executor.spin_once(timeout_sec=0.05)

    def listen(self, topic: str, kind: Any) -> None:
        """Record what comes on a topic."""
        self.heard[topic] = []

        def record(message: Any) -> None:
            with self.changed:
                self.heard[topic].append((time.monotonic(), message))
                self.changed.notify_all()

        self.node.create_subscription(kind, topic, record, 200)

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def wait(self, ready: Callable[[], Any], what: str, timeout_s: float = 20.0) -> Any:
        """Wait until ``ready`` returns something true, and return that."""
        end = time.monotonic() + timeout_s
        with self.changed:
            while not (result := ready()):
                left = end - time.monotonic()
                assert left > 0, f"nothing came within {timeout_s} s: {what}"
                self.changed.wait(min(left, 0.05))
            return result

    def find_node(self, node: NodeProcess, topic: str = "image") -> None:
        """Wait until both ends have found each other."""

        def found() -> bool:
            assert node.process.poll() is None, node.output
            ends = (
                self.node.count_subscribers(topic) >= 1,
                self.node.count_publishers("prediction") >= 1,
                self.images.get_subscription_count() + self.compressed.get_subscription_count(),
                self.heard["/diagnostics"],
            )
            return all(ends)

        self.wait(found, "the node", timeout_s=40.0)

    def show(self, frame: Frame) -> None:
        """Publish a frame without waiting for its answer."""
        self.images.publish(messages.image(frame))

    def insist(self, publisher: Any, message: Any, topic: str) -> None:
        """Publish until something is heard: what goes by best effort may be lost."""
        heard = len(self.heard[topic])
        for _ in range(4):
            publisher.publish(message)
            end = time.monotonic() + 5.0
            while time.monotonic() < end:
                if len(self.heard[topic]) > heard:
                    return
                time.sleep(0.005)
        raise AssertionError(f"nothing was heard on {topic}")

    def ask(self, frame: Frame) -> tuple[Any, Any]:
        """Publish a frame and return its prediction and its command (stamped)."""
        stamp = messages.stamp(frame.stamp_ns)
        self.clock.publish(Clock(clock=stamp))
        self.show(frame)
        topics = ("prediction", "cmd_vel")
        prediction, command = (
            self.wait(lambda t=t: self.with_stamp(t, stamp), f"{t} {stamp}") for t in topics
        )
        return prediction, command

    def with_stamp(self, topic: str, stamp: Any) -> Any:
        """The last message of a topic, if it answers that stamp."""
        found = [m for _, m in self.heard[topic][-5:] if m.header.stamp == stamp]
        return found[-1] if found else None

    def call(self, kind: Any, name: str, request: Any) -> Any:
        """Call a service of the node."""
        client = self.node.create_client(kind, f"/collision_avoidance/{name}")
        assert client.wait_for_service(timeout_sec=20.0)
        future = client.call_async(request)
        self.wait(future.done, f"reply of {name}")
        self.node.destroy_client(client)
        return future.result()

    def reset(self) -> None:
        assert self.call(Trigger, "reset", Trigger.Request()).success

    def enable(self, on: bool) -> None:
        assert self.call(SetBool, "enable", SetBool.Request(data=on)).success

    def diagnostics(self) -> dict[str, str]:
        """Values of the newest report."""
        if not self.heard["/diagnostics"]:
            return {}
        status = self.heard["/diagnostics"][-1][1].status[0]
        return {"message": status.message, **{v.key: v.value for v in status.values}}

    def commands(self) -> list[tuple[float, float, float]]:
        """(time heard, linear, angular) of all commands."""
        heard = [(at, getattr(m, "twist", m)) for at, m in self.heard["cmd_vel"]]
        return [(at, m.linear.x, m.angular.z) for at, m in heard]

    def next_command(self, since: float) -> tuple[float, float, float]:
        """The first command heard after a time of the monotonic clock."""
        return self.wait(lambda: [c for c in self.commands() if c[0] > since], "a command")[0]


@contextmanager
def running(
    log: Path,
    peer_stamped: bool = False,
    script: str | None = None,
    env: dict[str, str] | None = None,
    **parameters: object,
) -> Iterator[tuple[NodeProcess, Peer]]:
    """A node process and a peer that have found each other."""
    peer = Peer(stamped=peer_stamped)
    settings = {"allow_untrained": True, **parameters}  # as the small model is
    node = NodeProcess(log, arguments(**settings), script, **(env or {}))
    try:
        topic = "image/compressed" if parameters.get("image_transport") == "compressed" else "image"
        peer.find_node(node, topic)
        yield node, peer
    finally:
        peer.close()
        node.kill()
