"""What somebody asks for -> what may leave: mode ``assist``, a filter in front of the base.

Forward it is never faster than asked for, nor than the network would drive; a command that is
slowed keeps its curve; and the nearer a collision, the more of the network's own curve is in it.
Backward, and turning on the spot, the camera says nothing of: they pass, within the limits.
"""

from __future__ import annotations

import math

from crnn_snn_ros.core.command import ControlConfig
from crnn_snn_ros.core.types import Command, Prediction


def assist(wanted: Command, own: Command, prediction: Prediction, config: ControlConfig) -> Command:
    """The command in place of the one that was asked for.

    Args:
        wanted: what is asked for; anything not finite makes the result so, and is stopped for.
        own: what the network would do, the result of ``control``.
        prediction: of the same frame.
        config: limits, and how far it bends.

    Example:
        >>> near = Prediction(0.4, 0.5, True, 7, 900)
        >>> own = Command(0.25, 0.6)
        >>> assist(Command(0.5, 0.2), own, near, ControlConfig(assist_bend=0.5))
        Command(linear_mps=0.25, angular_radps=0.225)
        >>> assist(Command(-0.2, 0.1), own, near, ControlConfig())
        Command(linear_mps=-0.2, angular_radps=0.1)
    """
    linear, angular = wanted
    if not all(map(math.isfinite, (*wanted, *own))):
        return Command(math.nan, math.nan)
    if linear > 0.0:
        slowed = min(linear, own.linear_mps)
        angular *= slowed / linear
        if slowed > 0.0:
            share = config.assist_bend * prediction.collision_probability
            angular += share * (own.angular_radps - angular)
        linear = slowed
    linear = max(linear, -config.v_max_mps)
    return Command(linear, _clip(angular, _yaw_limit(linear, config)))


def _yaw_limit(linear: float, config: ControlConfig) -> float:
    if config.drive == "ackermann":
        curvature = math.tan(config.max_steering_rad) / config.wheelbase_m
        return min(abs(linear) * curvature, config.max_yaw_rate_radps)
    return config.max_yaw_rate_radps


def _clip(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)
