"""Listens to a simulator and to a node that drives in it, and makes a trace of each course.

    image, odom ---------------------+
    prediction, activity, cmd_vel ---+--> one Row a frame, by its stamp --> Trace of each course
    simulator/results ---------------+

It commands nothing. The two must run in lockstep: then every frame is answered, and none is late.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped, Vector3Stamped
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import SetBool

from crnn_snn_ros.core.types import Command
from crnn_snn_ros.ros import messages
from crnn_snn_ros.ros.participant import Participant
from crnn_snn_ros.sim.suites import Outcome
from crnn_snn_ros.sim.trace import Row, Trace, make_trace

DEPTH = 50
KEPT = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
MATCHING_S = 0.5  # between our seeing a publisher and its seeing us
TOPICS = {
    "image": Image,
    "odom": Odometry,
    "prediction": Vector3Stamped,
    "activity": Vector3Stamped,
    "cmd_vel": TwistStamped,
}


class Seen(NamedTuple):
    """One frame of which everything is known."""

    row: Row
    image: NDArray[np.uint8]


class Witness(Participant):
    """A silent participant.

    Args:
        on_row: called with each row, in the order of the frames.
    """

    def __init__(self, on_row: Callable[[Row], object]) -> None:
        self._on_row = on_row
        super().__init__("witness")
        node = self.node
        self.traces: list[Trace] = []
        self.last_command: Command | None = None
        self.report: dict[str, str] = {}  # newest diagnostics of the node that drives
        self._parts: dict[int, dict[str, Any]] = defaultdict(dict)
        self._seen: dict[int, Seen] = {}  # of the courses that are not over, by stamp
        self._results: deque[dict[str, Any]] = deque()
        for topic, kind in TOPICS.items():
            node.create_subscription(kind, topic, partial(self._on_part, topic), DEPTH)
        node.create_subscription(String, "simulator/results", self._on_result, KEPT)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_report, DEPTH)

    def begin(self, alive: Callable[[], object], timeout_s: float) -> None:
        """Wait until everybody is there, then let the simulator, which was paused, begin.

        Args:
            alive: called now and then; raises where waiting is in vain.
            timeout_s: how long to wait.

        Raises:
            CrnnSnnError: somebody did not come.
        """
        go = self.node.create_client(SetBool, "simulator/pause")

        def met() -> bool:
            alive()
            there = all(self.node.count_publishers(topic) for topic in TOPICS)
            return there and self.node.count_subscribers("image") > 1 and go.service_is_ready()

        self.listen_until(met, timeout_s, "simulator and node did not both come")
        self.listen_for(MATCHING_S)
        reply = go.call_async(SetBool.Request(data=False))

        def replied() -> bool:
            alive()  # it may have shown itself and found only then that it cannot draw
            return bool(reply.done())

        self.listen_until(replied, timeout_s, "the simulator did not go on")

    def _on_part(self, topic: str, message: Any) -> None:
        stamp_ns = messages.stamp_ns(message.header)
        if topic == "cmd_vel":
            self.last_command = messages.command(message)
        if stamp_ns in self._seen:  # the first frame of a course may be shown several times
            return
        parts = self._parts[stamp_ns]
        parts[topic] = message
        if len(parts) == len(TOPICS):
            del self._parts[stamp_ns]
            self.news()
            seen = Seen(_row(stamp_ns, parts), messages.frame(parts["image"]).image)
            self._seen[stamp_ns] = seen
            self._on_row(seen.row)
            self._close_courses()

    def _on_result(self, message: String) -> None:
        self._results.append(json.loads(message.data))
        self._close_courses()

    def _on_report(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith("collision_avoidance"):
                self.report = {value.key: value.value for value in status.values}

    def _close_courses(self) -> None:
        """Make the traces of the courses whose result and frames are all here."""
        while self._results:
            told = self._results[0]
            first, last = told["first_stamp_ns"], told["last_stamp_ns"]
            seen = [self._seen[stamp] for stamp in sorted(self._seen) if first <= stamp <= last]
            if len(seen) < told["frames"]:
                return
            outcome = Outcome(**{name: told[name] for name in Outcome._fields})
            rows, images = zip(*seen, strict=True)
            self.traces.append(make_trace(told["suite"], outcome, rows, images))
            self._results.popleft()
            for store in (self._seen, self._parts):
                for stamp in [stamp for stamp in store if stamp <= last]:
                    del store[stamp]


def _row(stamp_ns: int, parts: dict[str, Any]) -> Row:
    """One row of the messages that bear one stamp."""
    at, moves = parts["odom"].pose.pose.position, parts["odom"].twist.twist
    said, cost = parts["prediction"].vector, parts["activity"].vector
    told, yaw_rad = parts["cmd_vel"].twist, messages.place(parts["odom"]).yaw_rad
    return Row(
        stamp_ns, at.x, at.y, yaw_rad, moves.linear.x, moves.angular.z,
        said.x, said.y, said.z == 1.0, round(cost.x), round(cost.y),
        told.linear.x, told.angular.z,
    )  # fmt: skip
