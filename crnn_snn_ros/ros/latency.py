"""Time from frame to command through real nodes and real DDS, beside a node that computes nothing.

    camera --image--> driven/collision_avoidance --cmd_vel--+
           --image--> control/control -----------cmd_vel----+--> when it came, by its stamp

Both run all the time and get their frames in turns, half a period apart, so that whatever else the
machine does falls on both alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from subprocess import Popen
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from geometry_msgs.msg import TwistStamped
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from crnn_snn_ros.core.errors import CrnnSnnError
from crnn_snn_ros.core.mount import small_robot
from crnn_snn_ros.core.types import Frame
from crnn_snn_ros.pipeline import Pipeline
from crnn_snn_ros.ros import messages
from crnn_snn_ros.ros.lockstep import check, mounted, started
from crnn_snn_ros.ros.participant import Participant

RATE_HZ = 30.0
WIDTH, HEIGHT = 640, 480
WARM_UP = 30  # frames of each node that are not counted
SPARE = 300  # frames that may be lost: a busy machine may stand still for a while
MATCHING_S = 1.0
LAST_S = 1.0  # for the answers to the last frames
DRIVEN, CONTROL = "driven", "control"
NODES = {DRIVEN: "crnn_snn_ros.ros.node", CONTROL: "crnn_snn_ros.ros.control_node"}
SETTINGS = {
    "stamped": "true",
    "allow_untrained": "true",  # nothing moves
    "decimate": "false",  # every frame is to be answered
}
CAMERA = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


class Camera(Participant):
    """Sends pictures to both nodes and notes when their commands come."""

    def __init__(self) -> None:
        super().__init__("camera")
        self.sent_s: dict[str, dict[int, float]] = {name: {} for name in NODES}
        self.latencies_s: dict[str, list[float]] = {name: [] for name in NODES}
        self._images = {}
        for name in NODES:
            self._images[name] = self.node.create_publisher(Image, f"{name}/image", CAMERA)
            came = partial(self._on_command, name)
            self.node.create_subscription(TwistStamped, f"{name}/cmd_vel", came, 10)

    def find_nodes(self, processes: Mapping[Path, Popen[bytes]], timeout_s: float = 180.0) -> None:
        """Wait until both listen.

        Args:
            processes: of the nodes, by their logs.
            timeout_s: to wait at most.

        Raises:
            CrnnSnnError: one ended, or did not come.
        """

        def check_all() -> None:
            for log, process in processes.items():
                check(process, log)

        commands = [f"{name}/cmd_vel" for name in NODES]
        self.meet(commands, list(self._images.values()), check_all, timeout_s)
        self.listen_for(MATCHING_S)

    def film(self, pictures: list[Frame], frames: int, done: Callable[[int], object]) -> None:
        """Send frames to each node, at ``RATE_HZ``, until each has answered that many."""
        start_s = time.perf_counter()
        for number in range(len(NODES) * (WARM_UP + frames + SPARE)):
            if all(len(answers) >= frames for answers in self.latencies_s.values()):
                break
            name = list(NODES)[number % len(NODES)]
            picture = pictures[number // len(NODES) % len(pictures)]
            message = messages.image(picture._replace(stamp_ns=time.time_ns()))
            self._wait_until(start_s + number / (len(NODES) * RATE_HZ))
            stamp_ns = time.time_ns()
            message.header.stamp = messages.stamp(stamp_ns)
            if number >= len(NODES) * WARM_UP:
                self.sent_s[name][stamp_ns] = time.perf_counter()
            self._images[name].publish(message)
            done(number)
        self.listen_for(LAST_S)

    def _wait_until(self, due_s: float) -> None:
        while (left_s := due_s - time.perf_counter()) > 0.0:
            self._executor.spin_once(timeout_sec=left_s)

    def _on_command(self, name: str, message: TwistStamped) -> None:
        came_s = time.perf_counter()
        sent_s = self.sent_s[name].get(messages.stamp_ns(message.header))
        if sent_s is not None:
            self.latencies_s[name].append(came_s - sent_s)


def latency(
    model: Path,
    pipeline: Pipeline,
    frames: int,
    progress: Callable[[int], object] = lambda _: None,
) -> dict[str, Any]:
    """Film with both nodes; then run the same pictures in this process.

    Args:
        model: The node's.
        pipeline: The same model with the engine that the node takes.
        frames: To be answered by each node and counted.
        progress: Called with the number of frames sent, of both nodes.

    Returns:
        ``answered`` (share), minimum, median and p99 of each node, the network's own time, and
        the ratio to it of what the node takes beyond the control, of minima and of medians.

    Raises:
        CrnnSnnError: a node did not come, or answered nothing.
    """
    pictures = _pictures()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        processes = {}
        for name, module in NODES.items():
            log, settings = folder / f"{name}.log", _settings(name, model)
            processes[log] = stack.enter_context(started(module, log, settings, namespace=name))
        camera = stack.enter_context(closing(Camera()))
        camera.find_nodes(processes)
        camera.film(pictures, frames, progress)
    found = {name: _figures(camera, name) for name in NODES}
    network = _network_ms(pipeline, pictures, frames)
    beyond = {key: found[DRIVEN][key] - found[CONTROL][key] for key in network}
    return {
        "frames": frames,
        "rate_hz": RATE_HZ,
        "size": [WIDTH, HEIGHT],
        "engine": pipeline.engine.name,
        "node": found[DRIVEN],
        "control": found[CONTROL],
        "network": network,
        "beyond_control_by_network": {key: beyond[key] / ms for key, ms in network.items()},
    }


def _settings(name: str, model: Path) -> dict[str, str]:
    if name != DRIVEN:
        return {}
    return {**SETTINGS, "model": str(model), **mounted(small_robot())}


def _pictures(count: int = 8) -> list[Frame]:
    """Coarse noise that drifts: neither blind nor still."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), np.uint8)
    scene = coarse.repeat(16, axis=0).repeat(16, axis=1)
    return [Frame(0, np.roll(scene, 5 * shift, axis=1), small_robot()) for shift in range(count)]


def _figures(camera: Camera, name: str) -> dict[str, float]:
    times_ms = np.array(camera.latencies_s[name]) * 1e3
    if not len(times_ms):
        raise CrnnSnnError(f"node '{name}' answered no frame; see docs/robot.md on DDS")
    return {
        "answered": len(times_ms) / len(camera.sent_s[name]),
        "ms_min": float(times_ms.min()),
        "ms_median": float(np.median(times_ms)),
        "ms_p99": float(np.percentile(times_ms, 99)),
    }


def _network_ms(pipeline: Pipeline, pictures: list[Frame], frames: int) -> dict[str, float]:
    """Time of frame to command without ROS, at the camera's pace, as caches are cold then too."""
    state, times_s = pipeline.initial_state(), []
    for number in range(frames):
        stamp_ns = int(number * 1e9 / RATE_HZ)
        frame = pictures[number % len(pictures)]._replace(stamp_ns=stamp_ns)
        begin_s = time.perf_counter()
        _, state = pipeline.step(frame, state)
        times_s.append(time.perf_counter() - begin_s)
        time.sleep(1.0 / RATE_HZ)
    return {"ms_min": min(times_s) * 1e3, "ms_median": float(np.median(times_s)) * 1e3}
