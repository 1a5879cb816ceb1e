"""A node that answers every image at once and computes nothing: what DDS and rclpy cost alone.

``crnn-snn bench --node`` measures ``collision_avoidance`` beside it: the same topics, the same
quality of service, the same executor.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from sensor_msgs.msg import Image

from crnn_snn_ros.ros import process
from crnn_snn_ros.ros.inputs import NEWEST_ONLY
from crnn_snn_ros.ros.node import THREADS

DEPTH = 10


class ControlNode(Node):
    """``image`` in, a zero on ``cmd_vel`` with the image's header out."""

    def __init__(self) -> None:
        super().__init__("control")
        self._commands = self.create_publisher(TwistStamped, "cmd_vel", DEPTH)
        self.create_subscription(Image, "image", self._on_image, NEWEST_ONLY)

    def start(self) -> None:
        """Nothing is to be started."""

    def finish(self) -> bool:
        """There is no last word."""
        return True

    def _on_image(self, message: Image) -> None:
        self._commands.publish(TwistStamped(header=message.header))


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; see ``process.run`` for the exit codes."""
    return process.run(ControlNode, args, THREADS)


if __name__ == "__main__":
    sys.exit(main())
