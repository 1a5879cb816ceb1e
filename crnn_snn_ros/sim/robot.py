"""Robots as exact pure functions: what a base does with a velocity command.

The base follows its command with a first-order lag, within its limits of acceleration, and of the
steering's rate where it has wheels to steer. Between two sub-steps speed and yaw rate change
linearly; the pose follows the arc of their means, which is exact where they are constant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from crnn_snn_ros.core.command import DRIVES
from crnn_snn_ros.core.settings import check, setting
from crnn_snn_ros.core.types import Command


@dataclass(frozen=True)
class RobotConfig:
    """Shape and limits of a base.

    The footprint is a segment of ``length_m`` on the robot's x axis, grown by ``radius_m``: a disc
    for a differential drive, a stadium for a car. Its pose is the axle's centre, which is the rear
    end of the segment.

    Raises:
        ConfigError: a value is outside its range.
    """

    drive: str = setting("differential", "kind of base", choices=DRIVES)
    radius_m: float = setting(0.18, "radius of the footprint, m", (0.02, 2.0))
    length_m: float = setting(0.0, "footprint's segment ahead of the axle, m", (0.0, 5.0))
    max_speed_mps: float = setting(1.2, "largest speed ahead, m/s; none backwards", (0.05, 20.0))
    acceleration_mps2: float = setting(1.5, "largest rise of the speed, m/s^2", (0.05, 50.0))
    deceleration_mps2: float = setting(3.0, "largest fall of the speed, m/s^2", (0.05, 50.0))
    max_yaw_rate_radps: float = setting(1.8, "largest yaw rate either way, rad/s", (0.05, 20.0))
    yaw_acceleration_radps2: float = setting(
        8.0, "largest change of a differential drive's yaw rate, rad/s^2", (0.05, 200.0)
    )
    wheelbase_m: float = setting(0.3, "distance between a car's axles, m", (0.01, 10.0))
    max_steering_rad: float = setting(0.5, "largest steering angle of a car, rad", (0.01, 1.4))
    steering_rate_radps: float = setting(3.0, "largest steering rate of a car, rad/s", (0.05, 50.0))
    lag_s: float = setting(0.08, "time constant between command and wheels, s", (0.0, 2.0))

    def __post_init__(self) -> None:
        check(self)


CAR = RobotConfig(drive="ackermann", radius_m=0.13, length_m=0.3)


class RobotState(NamedTuple):
    """A base at one moment."""

    x_m: float
    y_m: float
    yaw_rad: float  # any number of turns, left positive
    speed_mps: float = 0.0
    yaw_rate_radps: float = 0.0
    steering_rad: float = 0.0  # of a car's front wheels


def step(state: RobotState, command: Command, dt_s: float, config: RobotConfig) -> RobotState:
    """The state ``dt_s`` later under a constant command.

    A command beyond the base's limits is cut to them; one that is not finite is a stop.

    Args:
        state: now.
        command: what the base was told.
        dt_s: time that passes, s, small against the lag.
        config: the base.
    """
    linear, angular = command
    if not (math.isfinite(linear) and math.isfinite(angular)):
        linear = angular = 0.0
    gain = -math.expm1(-dt_s / config.lag_s) if config.lag_s > 0.0 else 1.0
    wanted = min(max(linear, 0.0), config.max_speed_mps)
    rise = gain * (wanted - state.speed_mps)
    rise = min(max(rise, -config.deceleration_mps2 * dt_s), config.acceleration_mps2 * dt_s)
    speed = min(max(state.speed_mps + rise, 0.0), config.max_speed_mps)
    if config.drive == "ackermann":
        yaw_rate, steering = _steer(state, Command(linear, angular), speed, dt_s, gain, config)
    else:
        yaw_rate, steering = _turn(state.yaw_rate_radps, angular, dt_s, gain, config), 0.0
    mean_speed = 0.5 * (state.speed_mps + speed)
    turned = 0.5 * (state.yaw_rate_radps + yaw_rate) * dt_s
    # The chord of an arc: along the mean heading, shorter than the arc by sin(a)/a.
    chord = mean_speed * dt_s * (math.sin(turned / 2) / (turned / 2) if turned else 1.0)
    heading = state.yaw_rad + turned / 2
    return RobotState(
        state.x_m + chord * math.cos(heading),
        state.y_m + chord * math.sin(heading),
        state.yaw_rad + turned,
        speed,
        yaw_rate,
        steering,
    )


def _turn(before: float, wanted: float, dt_s: float, gain: float, config: RobotConfig) -> float:
    limit, most = config.max_yaw_rate_radps, config.yaw_acceleration_radps2 * dt_s
    change = gain * (min(max(wanted, -limit), limit) - before)
    return before + min(max(change, -most), most)


def _steer(
    state: RobotState,
    command: Command,
    speed: float,
    dt_s: float,
    gain: float,
    config: RobotConfig,
) -> tuple[float, float]:
    """Yaw rate and steering angle of a car; one that is told to stand leaves its wheels."""
    wanted = state.steering_rad
    if command.linear_mps > 1e-3:
        wanted = math.atan(command.angular_radps * config.wheelbase_m / command.linear_mps)
    most = config.steering_rate_radps * dt_s
    change = gain * (wanted - state.steering_rad)
    steering = state.steering_rad + min(max(change, -most), most)
    steering = min(max(steering, -config.max_steering_rad), config.max_steering_rad)
    yaw_rate = speed * math.tan(steering) / config.wheelbase_m
    limit = config.max_yaw_rate_radps
    return min(max(yaw_rate, -limit), limit), steering
