"""What the node tells people: ``/diagnostics`` once a second, and the log.

Both are written by one timer, because the terminal may block and nothing on the way to a command
may wait for it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock
from rclpy.node import Node
from std_msgs.msg import Header

from crnn_snn_ros.core.health import MAX_SAMPLES, Sample, health, keep, rate_hz
from crnn_snn_ros.core.supervisor import Status
from crnn_snn_ros.core.types import Prediction
from crnn_snn_ros.ros import messages

REPORT_S = 1.0
NEWS = 20  # lines that the log may be behind; a camera that fails at 200 Hz must not fill memory
OFF_RATE = 1.25  # a camera this much slower or faster than the network's frame rate is remarked


class Reports:
    """Collects figures and lines, and sends them out.

    Args:
        node: that reports.
        clock: of the timer, steady.
        status: tells the supervisor's status.
    """

    def __init__(self, node: Node, clock: Clock, status: Callable[[], Status]) -> None:
        self.facts: dict[str, str] = {}  # that hold while the node is configured
        self.remark = ""  # what a user must know even while all is well
        self.frame_rate_hz = 0.0  # that the network was made for; 0: not known
        self.camera = ""  # topic of the images; empty: not known
        self.lens = ""  # what a user must know of the camera's lens
        self._node = node
        self._status = status
        self._samples: list[Sample] = []
        self._arrivals: deque[int] = deque(maxlen=MAX_SAMPLES)
        self._news: deque[str] = deque(maxlen=NEWS)
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        group = MutuallyExclusiveCallbackGroup()
        node.create_timer(REPORT_S, self._report, callback_group=group, clock=clock)

    def tell(self, line: str) -> None:
        """A line for the log."""
        self._news.append(line)

    def frame_came(self, now_ns: int) -> None:
        """A frame came, whatever becomes of it."""
        self._arrivals.append(now_ns)

    def answered(self, prediction: Prediction, begun_ns: int) -> None:
        """A frame that came at ``begun_ns`` of the steady clock has its answer."""
        now_ns = time.monotonic_ns()
        sample = Sample(now_ns, now_ns - begun_ns, prediction.settle_steps, prediction.spikes)
        self._samples = keep(self._samples, sample)

    def _report(self) -> None:
        now_ns = time.monotonic_ns()
        camera_hz = rate_hz(tuple(self._arrivals), now_ns)
        facts = {"camera_rate_hz": f"{camera_hz:.2f}", **self.facts}
        remarks = filter(None, (self.remark, self.lens, self._mismatch(camera_hz), self._crowd()))
        self._publisher.publish(
            messages.diagnostics(
                self._node.get_fully_qualified_name(),
                Header(stamp=self._node.get_clock().now().to_msg()),
                self._status(),
                health(self._samples, now_ns),
                facts,
                "; ".join(remarks),
            )
        )
        while self._news:
            self._node.get_logger().info(self._news.popleft())

    def _mismatch(self, camera_hz: float) -> str:
        wanted_hz = self.frame_rate_hz
        if not camera_hz or not wanted_hz or 1 / OFF_RATE < camera_hz / wanted_hz < OFF_RATE:
            return ""
        return f"the camera gives {camera_hz:.1f} Hz, the network was trained at {wanted_hz:g} Hz"

    def _crowd(self) -> str:
        """Two cameras of one name and in step cannot be told apart by their frames."""
        count = self._node.count_publishers(self.camera) if self.camera else 0
        return f"{count} publishers of {self.camera}, there should be one" if count > 1 else ""
