"""Play frames through a running node, one at a time: each is sent when the last is answered.

    frame --> /clock, image --DDS--> node --DDS--> prediction, cmd_vel --> Reply

So nothing depends on the speed of the machine, and every frame is answered: what comes back can be
compared with the offline pipeline number for number. The node must run with ``SETTINGS``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped, Vector3Stamped
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from crnn_snn_ros.core.errors import ConfigError, CrnnSnnError
from crnn_snn_ros.core.mount import CameraMount, MountConfig
from crnn_snn_ros.core.types import Command, Frame
from crnn_snn_ros.ros import messages
from crnn_snn_ros.ros.dds import profile_environment
from crnn_snn_ros.ros.participant import Participant
from crnn_snn_ros.ros.process import BAD_INPUT

SETTINGS = {
    "stamped": "true",
    "use_sim_time": "true",
    "allow_untrained": "true",  # nothing moves
    "frame_timeout": "10.0",  # of the steady clock, which lockstep has no use for
    "max_latency": "10.0",  # likewise
    "min_rate": "0.0",  # likewise
    "max_frame_age": "0.0",  # frame and /clock travel apart: either may come first
    "max_frame_future": "0.0",
    "decimate": "false",  # each frame is waited for
    "refuse_blind": "false",  # likewise, and the offline pipeline answers it
    "stop_pub_timeout": "0.1",
    "qos_overrides./image.subscription.reliability": "reliable",
}
DEPTH = 10
BEFORE_NS = 1  # a time at which nobody films
AGAIN_S = 5.0  # without an answer, until a frame is sent again
HEARD_S = 15.0  # for a node that was found to hear us; it reports every second
SILENCE_S = 0.4  # several times stop_pub_timeout
END_S = 5.0  # for a process to end by itself


class Reply(NamedTuple):
    """What the node answered to one frame."""

    stamp_ns: int
    steering_rad: float
    collision_probability: float
    settled: bool
    command: Command
    round_trip_s: float  # from before the image was sent until both answers were here


class Player(Participant):
    """The camera's and the base's end of the wire. Topics as the node names them."""

    def __init__(self) -> None:
        super().__init__("player")
        node = self.node
        self._images = node.create_publisher(Image, "image", DEPTH)
        self._clock = node.create_publisher(Clock, "/clock", DEPTH)  # the last; see find_node
        self._predictions: dict[int, Vector3Stamped] = {}
        self._commands: dict[int, Command] = {}
        self.last_command: Command | None = None
        self.report: dict[str, str] = {}  # newest diagnostics
        self._reported_ns: int | None = None  # their time
        node.create_subscription(Vector3Stamped, "prediction", self._on_prediction, DEPTH)
        node.create_subscription(TwistStamped, "cmd_vel", self._on_command, DEPTH)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_report, DEPTH)

    def find_node(self, check: Callable[[], object], timeout_s: float = 60.0) -> None:
        """Wait until node and player hear each other, and its first zero commands are over.

        That we have found its ends does not say that it has found ours, and an answer sent before
        is lost. So we tell a time and wait until it reports at that time. It learns of our
        publishers in the order of their making, and likewise of our subscriptions: once the last
        of both, /clock and /diagnostics, work, all others do.

        Args:
            check: raises where the node has ended.
            timeout_s: to wait for it at most.

        Raises:
            CrnnSnnError: it did not come, or does not hear us.
        """
        self.meet(("prediction", "cmd_vel"), [self._images], check, timeout_s)

        def heard() -> bool:
            check()
            self._clock.publish(Clock(clock=messages.stamp(BEFORE_NS)))  # by best effort
            return self._reported_ns == BEFORE_NS

        self.listen_until(heard, HEARD_S, "no node was found that follows /clock")
        self.listen_for(SILENCE_S)  # a zero of the watchdog must not pass for an answer

    def ask(self, frame: Frame, timeout_s: float = 30.0) -> Reply:
        """Send one frame and wait for its prediction and its command.

        While none comes it is sent again: a node that has it drops the repetition.

        Raises:
            CrnnSnnError: no answer came.
        """
        message, key = messages.image(frame), frame.stamp_ns
        answers = {"prediction": self._predictions, "cmd_vel": self._commands}
        sent_s, sent = time.perf_counter(), 0

        def answered() -> bool:
            nonlocal sent
            if time.perf_counter() >= sent_s + sent * AGAIN_S:
                sent += 1
                self._clock.publish(Clock(clock=message.header.stamp))
                self._images.publish(message)
            return all(key in answers[topic] for topic in answers)

        try:
            unanswered = f"the node did not answer the frame of {key} ns"
            self.listen_until(answered, timeout_s, unanswered)
        except CrnnSnnError as error:
            silent = ", ".join(topic for topic in answers if key not in answers[topic])
            said = ", ".join(f"{name} {value}" for name, value in self.report.items() if value)
            raise CrnnSnnError(f"{error} on {silent}; its last report: {said}") from error
        round_trip_s = time.perf_counter() - sent_s
        vector = self._predictions.pop(key).vector
        command = self._commands.pop(key)
        return Reply(key, vector.x, vector.y, vector.z == 1.0, command, round_trip_s)

    def _on_prediction(self, message: Vector3Stamped) -> None:
        self._predictions[messages.stamp_ns(message.header)] = message

    def _on_command(self, message: TwistStamped) -> None:
        command = messages.command(message)
        self._commands[messages.stamp_ns(message.header)] = self.last_command = command

    def _on_report(self, message: DiagnosticArray) -> None:
        self.report = {v.key: v.value for status in message.status for v in status.values}
        self._reported_ns = messages.stamp_ns(message.header)


@contextmanager
def node_process(log: Path, parameters: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The node in a process of its own, which is gone when the block ends.

    Args:
        log: file for what it prints.
        parameters: of the node, beside ``SETTINGS``.
    """
    with started("crnn_snn_ros.ros.node", log, {**SETTINGS, **parameters}) as process:
        yield process


def mounted(mount: CameraMount | None) -> dict[str, str]:
    """Parameters that tell a node, or the simulator, how its camera is mounted."""
    if mount is None:
        return {}
    return {name: repr(float(value)) for name, value in asdict(MountConfig.of(mount)).items()}


@contextmanager
def started(
    module: str, log: Path, parameters: Mapping[str, str], namespace: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """A process with parameters, on the shipped DDS profile; gone when the block ends.

    Args:
        module: to run.
        log: file for what it prints.
        parameters: of its node.
        namespace: of its node.
    """
    arguments = [part for name, v in parameters.items() for part in ("-p", f"{name}:={v}")]
    if namespace:
        arguments += ["-r", f"__ns:=/{namespace}"]
    env = {**os.environ, **profile_environment()}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, "--ros-args", *arguments],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)  # killed, it would leave its shared memory behind
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def check(process: subprocess.Popen[bytes], log: Path) -> None:
    """See whether a process that was ``started`` still runs.

    Raises:
        ConfigError: it has refused to run, with its reason.
        CrnnSnnError: it has ended, with what it said last.
    """
    code = process.poll()
    if code is None:
        return
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    said = lines[-1].removeprefix("error: ") if lines else "it said nothing"
    if code == BAD_INPUT:
        raise ConfigError(said)
    raise CrnnSnnError(f"a process ended early with code {code}: {said}")
