"""The topics that the node publishes while it is configured."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Twist, TwistStamped, Vector3Stamped
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Float32, Header

from crnn_snn_ros.core.obstacle import arc
from crnn_snn_ros.core.types import Command, Frame, Prediction
from crnn_snn_ros.io.overlay import overlay
from crnn_snn_ros.ros import messages
from crnn_snn_ros.ros.parameters import NodeConfig

NEWEST_FOR_SURE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
DEPTH = 10  # predictions are for recording: none should be lost
FLUSH_S = 1.0
NOWHERE = np.zeros((0, 3), np.float32)


class Outputs:
    """Publishers of commands, predictions, and what is made of them.

    Args:
        node: that publishes.
        config: which topics and types; in mode ``observe`` there is none of commands at all.
    """

    def __init__(self, node: Node, config: NodeConfig) -> None:
        self._node = node
        self._config = config
        self._publishers: list[Publisher] = []
        self._cmd_vel: Publisher | None = None
        if config.mode != "observe":
            kind = TwistStamped if config.stamped else Twist
            self._cmd_vel = self._publisher(kind, "cmd_vel", NEWEST_FOR_SURE)
        self._steering = self._publisher(Float32, "steering")
        self._collision = self._publisher(Float32, "collision_probability")
        self._prediction = self._publisher(Vector3Stamped, "prediction")
        self._activity = self._publisher(Vector3Stamped, "activity")
        self._obstacles = self._publisher(PointCloud2, "obstacles", NEWEST_FOR_SURE)
        self._debug = self._publisher(Image, "~/debug_image", NEWEST_FOR_SURE)
        self._wall = arc(config.obstacle_distance, config.obstacle_angle)

    def _publisher(self, kind: type, topic: str, qos: QoSProfile | int = DEPTH) -> Publisher:
        overriding = QoSOverridingOptions.with_default_policies()
        publisher = self._node.create_publisher(kind, topic, qos, qos_overriding_options=overriding)
        self._publishers.append(publisher)
        return self._publishers[-1]

    def command(self, command: Command, header: Header) -> None:
        """Publish a command; ``header`` goes with it where commands are stamped."""
        make = messages.twist_stamped if self._config.stamped else messages.twist
        if self._cmd_vel is not None:
            self._cmd_vel.publish(make(command, header))

    def prediction(self, prediction: Prediction, header: Header, stop_threshold: float) -> None:
        """Publish what the network says, with the header of its image."""
        self._steering.publish(messages.number(prediction.steering_rad))
        self._collision.publish(messages.number(prediction.collision_probability))
        self._prediction.publish(messages.prediction(prediction, header))
        self._activity.publish(messages.activity(prediction, header))
        if self._obstacles.get_subscription_count():
            near = prediction.collision_probability >= stop_threshold
            place = Header(stamp=header.stamp, frame_id=self._config.base_frame)
            self._obstacles.publish(messages.cloud(self._wall if near else NOWHERE, place))

    def picture(self, frame: Frame, prediction: Prediction, header: Header, text: str) -> None:
        """Publish the image with the prediction drawn into it, if somebody watches."""
        if self._debug.get_subscription_count():
            drawn = frame._replace(image=overlay(frame.image, prediction, text))
            message = messages.image(drawn, header.frame_id)
            message.header = header
            self._debug.publish(message)

    def flush(self) -> None:
        """Wait until the last command is acknowledged by every reliable subscriber, or FLUSH_S."""
        if self._cmd_vel is not None:
            self._cmd_vel.wait_for_all_acked(Duration(seconds=FLUSH_S))

    def destroy(self) -> None:
        """Take the topics away."""
        for publisher in self._publishers:
            self._node.destroy_publisher(publisher)
