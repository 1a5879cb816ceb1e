"""Steering, in radians to the left, out of whatever a recording says of it.

| message | steering |
|---|---|
| Float32, Float64 | as it is |
| AckermannDrive, AckermannDriveStamped | its steering angle |
| Twist, TwistStamped | differential drive: yaw rate / ``yaw_gain``; with ``wheelbase_m``: the wheels' angle, atan(wheelbase * yaw rate / v) |
"""  # noqa: E501

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.data.bags import Message, Signal, as_signal, read_messages
from crnn_snn_ros.data.messages import (
    ACKERMANN,
    ACKERMANN_STAMPED,
    FLOAT32,
    ODOMETRY,
    TWIST,
    TWIST_STAMPED,
)

FLOATS = (FLOAT32, "std_msgs/msg/Float64")
STEERINGS = (*FLOATS, ACKERMANN, ACKERMANN_STAMPED, TWIST, TWIST_STAMPED)
MOTIONS = (TWIST, TWIST_STAMPED, ODOMETRY)
LEAST_SPEED_MPS = 0.05  # a car that stands shows no steering by its yaw rate


@dataclass(frozen=True)
class SteeringConfig:
    """How a velocity command means a steering angle: the inverse of the node's control law.

    Args:
        yaw_gain: yaw rate per steering angle of a differential drive, 1/s.
        wheelbase_m: distance of the axles of a car; None: a differential drive.
        max_steering_rad: what a velocity command says beyond it (a turn on the spot) is cut.

    Raises:
        ConfigError: a value is out of range.
    """

    yaw_gain: float = 1.5
    wheelbase_m: float | None = None
    max_steering_rad: float = 0.6

    def __post_init__(self) -> None:
        if not 0.0 < self.yaw_gain <= 20.0:
            raise ConfigError(f"yaw_gain {self.yaw_gain} is not within 0..20")
        if self.wheelbase_m is not None and not 0.01 <= self.wheelbase_m <= 10.0:
            raise ConfigError(f"wheelbase_m {self.wheelbase_m} is not within 0.01..10")
        if not 0.0 < self.max_steering_rad <= math.pi / 2:
            raise ConfigError(f"max_steering_rad {self.max_steering_rad} is not within 0..pi/2")


def read_steering(path: Path, topic: str, config: SteeringConfig | None = None) -> Signal:
    """Read the steering of a drive whole (16 bytes a message), in the order of its stamps.

    A message without a header has the time of its receipt as its stamp.

    Raises:
        DataError: the bag is damaged, or the topic missing, of another type or empty.
    """
    config = config or SteeringConfig()

    def pairs() -> Iterator[tuple[int, float]]:
        for message in read_messages(path, topic, STEERINGS):
            steering = _steering(message, config)
            if steering is not None:
                yield message.stamp_ns, steering

    return as_signal(pairs())


def steering_of(speed_mps: float, yaw_rate_radps: float, config: SteeringConfig) -> float | None:
    """The steering angle that drives so, rad; None where it does not show.

    Example:
        >>> steering_of(0.5, 0.75, SteeringConfig(yaw_gain=1.5))
        0.5
        >>> steering_of(0.0, 0.3, SteeringConfig(wheelbase_m=0.3)) is None
        True
    """
    if config.wheelbase_m is None:
        steering = yaw_rate_radps / config.yaw_gain
    elif abs(speed_mps) < LEAST_SPEED_MPS:
        return None
    else:
        steering = math.atan(config.wheelbase_m * yaw_rate_radps / speed_mps)
    if math.isnan(steering):
        return steering  # told of where the labels are used
    return min(max(steering, -config.max_steering_rad), config.max_steering_rad)


def motion(content: Any) -> tuple[float, float]:
    """Speed ahead, m/s, and yaw rate, rad/s, of a Twist, TwistStamped or Odometry."""
    twist = getattr(content, "twist", content)
    twist = getattr(twist, "twist", twist)  # Odometry: twist with covariance
    return float(twist.linear.x), float(twist.angular.z)


def _steering(message: Message, config: SteeringConfig) -> float | None:
    content = message.content
    kind = content.__msgtype__
    if kind in FLOATS:
        return float(content.data)
    if kind in (ACKERMANN, ACKERMANN_STAMPED):
        return float(getattr(content, "drive", content).steering_angle)
    return steering_of(*motion(content), config)
