"""The topics that the node listens to while it is active."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.callback_groups import CallbackGroup, MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from crnn_snn_ros.core import gate
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.types import Command
from crnn_snn_ros.ros import messages
from crnn_snn_ros.ros.parameters import NodeConfig

NEWEST_ONLY = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def check(node: Node, config: NodeConfig) -> None:
    """Check that the topics make sense together.

    Raises:
        ConfigError: what the node says would come back to it as what is asked for, so that it would
            drive on when nobody asks any more.
    """
    asked, said = map(node.resolve_topic_name, ("cmd_vel_in", "cmd_vel"))
    if config.mode == "assist" and asked == said:
        raise ConfigError(
            f"cmd_vel_in and cmd_vel are both {said}, so the node would obey itself; "
            "give one of them another name: -r cmd_vel_in:=..."
        )


class Inputs:
    """Subscriptions to the camera, where it is wanted to odometry, and to who asks for a speed.

    Args:
        node: that listens.
        config: which topics and types.
        on_image: gets every Image or CompressedImage that comes.
        on_missed: gets the number of those that did not come between it and the one before.
        images: callback group of ``on_image``.
        on_wanted: gets what is asked for, in mode ``assist``.
        on_odometry: gets every Odometry, where turns are known by it.
        on_camera: gets every CameraInfo, from where it is by convention: beside the image.

    Raises:
        Exception: a QoS override is wrong; of several kinds, by rclpy.
    """

    def __init__(
        self,
        node: Node,
        config: NodeConfig,
        on_image: Callable[[Any], None],
        on_missed: Callable[[int], None],
        images: CallbackGroup,
        on_wanted: Callable[[Command], None],
        on_odometry: Callable[[Odometry], None],
        on_camera: Callable[[CameraInfo], None],
    ) -> None:
        self._node, self._on_image, self._on_missed = node, on_image, on_missed
        self._number: int | None = None  # of the last image, by its publisher
        self._subscriptions: list[Subscription] = []
        self.topic, kind = node.resolve_topic_name("image"), Image
        beside = f"{self.topic.rpartition('/')[0]}/camera_info"
        if config.image_transport == "compressed":
            self.topic, kind = f"{self.topic}/compressed", CompressedImage
        try:
            self._listen(kind, self.topic, self._count, images)
            self._listen(CameraInfo, beside, on_camera, MutuallyExclusiveCallbackGroup())
            if config.mode == "assist":
                asked = TwistStamped if config.stamped else Twist
                group = MutuallyExclusiveCallbackGroup()
                self._listen(asked, "cmd_vel_in", lambda m: on_wanted(messages.command(m)), group)
            if config.turn_from == "odom":
                self._listen(Odometry, "odom", on_odometry, MutuallyExclusiveCallbackGroup())
        except Exception:
            self.destroy()  # what was made before it
            raise

    def _listen(
        self, kind: Any, topic: str, callback: Callable[..., None], group: CallbackGroup
    ) -> None:
        subscription = self._node.create_subscription(
            kind,
            topic,
            callback,
            NEWEST_ONLY,
            callback_group=group,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._subscriptions.append(subscription)

    def _count(self, message: Any, info: Mapping[str, int | None]) -> None:
        """Tell how many came to nothing; two publishers number their images each for itself."""
        number = info["publication_sequence_number"]  # None: this middleware has none
        if number is not None:
            missed = gate.missed(number, self._number)
            if missed and self._node.count_publishers(self.topic) == 1:
                self._on_missed(missed)
        self._number = number
        self._on_image(message)

    def destroy(self) -> None:
        """Listen no more."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
