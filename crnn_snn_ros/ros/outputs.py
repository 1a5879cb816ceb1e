"""The topics that the node publishes while it is configured."""

from __future__ import annotations

from geometry_msgs.msg import Twist, TwistStamped, Vector3Stamped
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Float32, Header

from crnn_snn_ros.core.types import Command, Prediction
from crnn_snn_ros.ros import messages

NEWEST_FOR_SURE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
DEPTH = 10  # predictions are for recording: none should be lost


class Outputs:
    """Publishers of commands and predictions."""

    def __init__(self, node: Node, *, stamped: bool) -> None:
        self._node = node
        self._stamped = stamped
        kind = TwistStamped if stamped else Twist
        self._cmd_vel = node.create_publisher(kind, "cmd_vel", NEWEST_FOR_SURE)
        self._steering = node.create_publisher(Float32, "steering", DEPTH)
        self._collision = node.create_publisher(Float32, "collision_probability", DEPTH)
        self._prediction = node.create_publisher(Vector3Stamped, "prediction", DEPTH)
        self._activity = node.create_publisher(Vector3Stamped, "activity", DEPTH)

    def command(self, command: Command, header: Header) -> None:
        """Publish a command; ``header`` goes with it where commands are stamped."""
        make = messages.twist_stamped if self._stamped else messages.twist
        self._cmd_vel.publish(make(command, header))

    def prediction(self, prediction: Prediction, header: Header) -> None:
        """Publish what the network says, with the header of its image."""
        self._steering.publish(messages.number(prediction.steering_rad))
        self._collision.publish(messages.number(prediction.collision_probability))
        self._prediction.publish(messages.prediction(prediction, header))
        self._activity.publish(messages.activity(prediction, header))

    def flush(self, timeout_s: float) -> None:
        """Wait until the last command is acknowledged by every reliable subscriber."""
        self._cmd_vel.wait_for_all_acked(Duration(seconds=timeout_s))

    def destroy(self) -> None:
        """Take the topics away."""
        publishers: list[Publisher] = [
            self._cmd_vel,
            self._steering,
            self._collision,
            self._prediction,
            self._activity,
        ]
        for publisher in publishers:
            self._node.destroy_publisher(publisher)
