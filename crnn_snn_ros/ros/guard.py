"""The only way by which a command leaves: ``core.supervisor`` with a lock, a clock and a topic.

The lock keeps a stop from being overtaken by an older command: the status changes and what follows
from it is published as one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from std_msgs.msg import Header

from crnn_snn_ros.core import supervisor
from crnn_snn_ros.core.supervisor import Drop, Mode, Status, Step, Timeouts
from crnn_snn_ros.core.types import Command
from crnn_snn_ros.ros import messages
from crnn_snn_ros.ros.outputs import Outputs


class Guard:
    """Status of the supervisor, and its steps.

    Args:
        timeouts: tells the times that hold now.
        header_now: makes the header of a command that answers no frame.
        tell: gets a line for the log when the state changes.
    """

    def __init__(
        self,
        timeouts: Callable[[], Timeouts],
        header_now: Callable[[], Header],
        tell: Callable[[str], None],
    ) -> None:
        self.lock = threading.RLock()
        self.status: Status = supervisor.INITIAL
        self.outputs: Outputs | None = None  # while the node is configured
        self._timeouts = timeouts
        self._header_now = header_now
        self._tell = tell

    @property
    def listening(self) -> bool:
        """Whether frames are answered at all."""
        return supervisor.listening(self.status)

    def take(
        self, step: Callable[..., Step], *event: object, header: Header | None = None
    ) -> Command | None:
        """Take one step of the supervisor and publish the command that follows from it."""
        with self.lock:
            before = self.status
            now_ns = time.monotonic_ns()
            self.status, command = step(before, *event, now_ns, self._timeouts())
            if command is not None and self.outputs is not None:
                self.outputs.command(command, header or self._header_now())
            if (self.status.mode, self.status.reason) != (before.mode, before.reason):
                self._tell(messages.state_text(self.status))
            return command

    def begin(self, now_ns: int) -> bool:
        """The engine starts on a frame; whether the robot drives by the one before."""
        with self.lock:
            drives = self.status.mode is Mode.DRIVING
            self.status = supervisor.begin(self.status, now_ns)
            return drives

    def drop(self, why: Drop, frames: int = 1) -> None:
        """Frames are left without an answer; count them."""
        with self.lock:
            self.status = supervisor.drop(self.status, why, frames)

    def allow(self, enabled: bool) -> None:
        """At configure: who held the robot before still holds it, and ``enabled`` may hold it."""
        with self.lock:
            self.status = self.status._replace(enabled=self.status.enabled and enabled)
