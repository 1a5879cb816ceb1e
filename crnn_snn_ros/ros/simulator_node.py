"""The node ``simulator``: a world for anybody's node to drive in.

    cmd_vel ---> runner (a thread: session, robot, camera) ---> image, camera_info, odom, scan,
                                                                /clock, ~/results, /diagnostics

A thin shell: courses and their order are in ``sim.session``, how time passes in ``sim.runner``.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.clock import Clock as RosClock
from rclpy.clock import ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, LaserScan
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.settings import check, setting, settings
from crnn_snn_ros.core.types import Command
from crnn_snn_ros.ros import messages, parameters, process, sim_messages
from crnn_snn_ros.sim.robot import CAR, RobotConfig
from crnn_snn_ros.sim.runner import PaceConfig, Runner, Status
from crnn_snn_ros.sim.session import Session, SessionConfig

REPORT_S = 1.0
PATIENCE_S = 5.0
END_S = 10.0
DEPTH = 10
KEPT = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)  # for who comes later
# The clock is this far past the stamp of the frame just shown: a picture is always of the past. And
# a zero of somebody's watchdog, stamped with the present, never passes for the answer to a frame.
SINCE_SHOT_NS = 1_000_000


@dataclass(frozen=True)
class WireConfig:
    """What the messages look like.

    Raises:
        ConfigError: a value is outside its range.
    """

    stamped: bool = setting(False, "cmd_vel is TwistStamped")
    scan_rays: int = setting(180, "of the laser scanner, a full circle; 0: none", (0, 3600))

    def __post_init__(self) -> None:
        check(self)


PARTS = (SessionConfig, PaceConfig, WireConfig)


def known(drive: str = "differential") -> dict[str, Any]:
    """Name -> (default, setting) of every parameter of the node.

    Args:
        drive: kind of base, on which the defaults of its shape depend.
    """
    base = CAR if drive == CAR.drive else RobotConfig()
    robot = {name: (getattr(base, name), told) for name, (_, told) in settings(base).items()}
    return {name: told for part in PARTS for name, told in settings(part).items()} | robot


class SimulatorNode(Node):
    """Node around a ``Runner``; raises ConfigError if a parameter is wrong."""

    def __init__(self) -> None:
        super().__init__("simulator")
        every = known()
        parameters.declare(self, {"drive": every.pop("drive")}, fixed=True)
        every = known(str(self.get_parameter("drive").value)) | {"drive": None}
        every.pop("drive")
        parameters.declare(self, every, fixed=True)
        parameters.warn_of_unknown(self)
        self._config = parameters.read(self, SessionConfig)
        self._wire = parameters.read(self, WireConfig)
        self._pace = parameters.read(self, PaceConfig)
        if self._pace.lockstep and not self._wire.stamped:
            raise ConfigError("lockstep needs stamped: only TwistStamped tells what it answers")
        robot = parameters.read(self, RobotConfig)
        self._runner = Runner(self._config, robot, self._pace, self._show, self._tell_time)
        self._clock_ns = 0
        self._values: dict[str, object] = {"course": "", "stamp_ns": 0}  # of the last frame
        self._news: deque[str] = deque(maxlen=20)  # for the log
        self._reported = (time.monotonic(), 0)
        self._open_topics()
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_service(SetBool, "~/pause", self._on_pause)
        steady = RosClock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(REPORT_S, self._on_report, clock=steady)

    def _open_topics(self) -> None:
        self._images = self.create_publisher(Image, "image", DEPTH)
        self._infos = self.create_publisher(CameraInfo, "camera_info", DEPTH)
        self._odometry = self.create_publisher(Odometry, "odom", DEPTH)
        self._scans = self.create_publisher(LaserScan, "scan", DEPTH)
        self._clocks = self.create_publisher(Clock, "/clock", DEPTH)
        self._results = self.create_publisher(String, "~/results", KEPT)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", DEPTH)
        self.create_subscription(
            TwistStamped if self._wire.stamped else Twist,
            "cmd_vel",
            self._on_command,
            DEPTH,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

    def start(self) -> None:
        """Draw the first frame.

        Raises:
            ConfigError: nothing can be drawn on this machine.
        """
        self._runner.start()

    def finish(self) -> bool:
        """Let the world end; False if it is stuck."""
        return self._runner.end(END_S)

    def _show(self, session: Session) -> None:
        """Publish the session's present moment; called by the runner's thread."""
        moment, config = session.moment, self._config
        stamp_ns = moment.frame.stamp_ns
        self._tell_time(stamp_ns)
        camera = session.look.camera
        info = sim_messages.camera_info(camera, config.width, config.height, stamp_ns)
        self._odometry.publish(sim_messages.odometry(moment.seen.state, stamp_ns))
        if self._wire.scan_rays:
            ranges = session.simulator.scan(self._wire.scan_rays)
            self._scans.publish(sim_messages.laser_scan(ranges, stamp_ns, config.rate_hz))
        self._infos.publish(info)
        self._images.publish(messages.image(moment.frame, sim_messages.CAMERA))
        self._note(session)

    def _note(self, session: Session) -> None:
        moment, outcome = session.moment, session.outcome
        if outcome is not None and self._values.get("stamp_ns") != moment.frame.stamp_ns:
            self._results.publish(sim_messages.result(moment, outcome))
            self._news.append(
                f"{moment.entry} ({outcome.kind}): {outcome.finished} "
                f"after {outcome.distance_m:.1f} m in {outcome.time_s:.1f} s"
            )
        self._values = {
            "course": f"{moment.entry}",
            "kind": session.course.kind,
            "result": moment.seen.finished or "",
            "distance_m": f"{moment.seen.distance_m:.3f}",
            "time_s": f"{moment.seen.time_s:.3f}",
            "stamp_ns": moment.frame.stamp_ns,
        }

    def _tell_time(self, time_ns: int) -> None:
        # A course may end between two frames, with a stamp before the time that was told last.
        self._clock_ns = max(self._clock_ns, time_ns + SINCE_SHOT_NS)
        self._clocks.publish(Clock(clock=messages.stamp(self._clock_ns)))

    def _on_command(self, message: Twist | TwistStamped) -> None:
        twist, stamp_ns = message, None
        if self._wire.stamped:
            stamp, twist = message.header.stamp, message.twist
            stamp_ns = stamp.sec * messages.NS_PER_S + stamp.nanosec
        self._runner.command(Command(twist.linear.x, twist.angular.z), stamp_ns)

    def _on_reset(self, _: Trigger.Request, reply: Trigger.Response) -> Trigger.Response:
        reply.success = self._runner.reset(END_S)
        begun = f"{self._values['course']} begins anew"
        reply.message = begun if reply.success else "the world is stuck"
        return reply

    def _on_pause(self, ask: SetBool.Request, reply: SetBool.Response) -> SetBool.Response:
        self._runner.pause(ask.data)
        reply.success, reply.message = True, "time stands" if ask.data else "time goes on"
        return reply

    def _on_report(self) -> None:
        self._runner.check()  # what ended the world ends the process
        while self._news:
            self.get_logger().info(self._news.popleft())
        status = self._runner.status()
        (then_s, frames), now_s = self._reported, time.monotonic()
        self._reported = now_s, status.frames
        speed = (status.frames - frames) / (now_s - then_s) / self._config.rate_hz
        values = {
            **self._values,
            "frames": status.frames,
            "realtime_factor": f"{speed:.2f}",
            "paused": status.paused,
            "over": status.over,
        }
        name, trouble = self.get_fully_qualified_name(), self._trouble(status, speed)
        self._diagnostics.publish(sim_messages.diagnostics(name, self._clock_ns, trouble, values))

    def _trouble(self, status: Status, speed: float) -> str:
        if status.awaited_s is not None and status.awaited_s > PATIENCE_S:
            stamp = self._values["stamp_ns"]
            return f"no command with the stamp of the last image, {stamp} ns, in lockstep"
        standing = status.paused or status.over or self._pace.lockstep
        if not standing and speed < 0.8 * self._pace.realtime_factor:
            return f"too slow: {speed:.2f} seconds of the world in a second"
        return ""


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; see ``process.run`` for the exit codes."""
    return process.run(SimulatorNode, args, threads=1)


if __name__ == "__main__":
    sys.exit(main())
