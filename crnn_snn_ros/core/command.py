"""Prediction -> velocity command: filter, control law, stop with hysteresis, limits.

The speed aims at ``v_max * (1 - p)``, p the collision probability; the yaw rate follows the
predicted steering. Order: trust, stop or go, low-pass, acceleration limits, range. The range
comes last, so whatever went before it, no command leaves it.

A stop is never smoothed and never limited: it is the zero command, at once. Acceleration limits
are for comfort and grip; the base has its own for what it can do.

A differential drive may be told to look for a way out: stopped by the collision probability for
``turn_after_s``, it turns on the spot toward the side that the network steers to, until it may go.
It turns the other way only when the network has wanted that for as long again, without a break:
in front of a flat wall the predicted side changes from frame to frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.settings import check, setting
from crnn_snn_ros.core.types import STOP, Command, Prediction

DRIVES = ("differential", "ackermann")
MAX_INTERVAL_S = 0.5  # frames further apart than this earn no more change of speed


@dataclass(frozen=True)
class ControlConfig:
    """How predictions become commands.

    Raises:
        ConfigError: a value is outside its range, or the two thresholds contradict each other.
    """

    drive: str = setting(
        "differential",
        "kind of base: yaw rate = steering * yaw_gain, or v * tan(steering) / wheelbase",
        choices=DRIVES,
        runtime=True,
    )
    v_max_mps: float = setting(
        0.5, "speed where no collision is expected, m/s", (0.0, 20.0), runtime=True
    )
    yaw_gain: float = setting(
        1.5, "yaw rate per steering angle of a differential drive, 1/s", (0.0, 20.0), runtime=True
    )
    max_yaw_rate_radps: float = setting(
        1.5, "largest yaw rate either way, rad/s", (0.0, 20.0), runtime=True
    )
    wheelbase_m: float = setting(
        0.3, "distance between the axles of an Ackermann base, m", (0.01, 10.0), runtime=True
    )
    max_steering_rad: float = setting(
        0.6, "largest steering angle either way, rad", (0.0, 1.5), runtime=True
    )
    speed_rise_s: float = setting(
        0.3, "time constant of the low-pass while the speed rises, s", (0.0, 10.0), runtime=True
    )
    speed_fall_s: float = setting(
        0.1, "time constant of the low-pass while the speed falls, s", (0.0, 10.0), runtime=True
    )
    steering_smoothing_s: float = setting(
        0.1, "time constant of the low-pass on the steering, s", (0.0, 10.0), runtime=True
    )
    acceleration_mps2: float = setting(
        0.5, "largest rise of the speed, m/s^2", (0.0, 50.0), runtime=True
    )
    deceleration_mps2: float = setting(
        2.0, "largest fall of the speed short of a stop, m/s^2", (0.01, 50.0), runtime=True
    )
    yaw_acceleration_radps2: float = setting(
        6.0, "largest change of the yaw rate, rad/s^2", (0.0, 200.0), runtime=True
    )
    stop_threshold: float = setting(
        0.7, "collision probability at which the robot stops at once", (0.01, 1.0), runtime=True
    )
    go_threshold: float = setting(
        0.5, "collision probability at which it may go again", (0.0, 0.99), runtime=True
    )
    go_frames: int = setting(
        3, "frames in a row at or below go_threshold before it moves", (1, 1000), runtime=True
    )

    turn_after_s: float = setting(
        0.0,
        "stopped by the collision probability for this long, it turns on the spot toward the side "
        "that the network steers to; 0: never, s",
        (0.0, 600.0),
        runtime=True,
    )
    turn_rate_radps: float = setting(
        0.6, "least yaw rate while it turns on the spot, rad/s", (0.0, 20.0), runtime=True
    )
    assist_bend: float = setting(
        0.5,
        "mode assist: share of the network's own yaw rate where a collision is certain",
        (0.0, 1.0),
        runtime=True,
    )

    def __post_init__(self) -> None:
        check(self)
        if self.turn_after_s > 0.0 and self.drive != "differential":
            raise ConfigError(
                f"turn_after_s is {self.turn_after_s:g}, but a base with drive '{self.drive}' "
                "cannot turn on the spot; set turn_after_s to 0"
            )
        if not self.go_threshold < self.stop_threshold:
            raise ConfigError(
                f"go_threshold {self.go_threshold:g} must be below stop_threshold "
                f"{self.stop_threshold:g}, or the robot would stutter"
            )


class ControlState(NamedTuple):
    """What the control law remembers between two frames; by default, that it stands still."""

    linear_mps: float = 0.0  # of the last command
    angular_radps: float = 0.0  # of the last command
    steering_rad: float = 0.0  # low-passed
    stopped: bool = True
    clear_frames: int = 0  # frames in a row at or below go_threshold, counted up to go_frames
    waited_s: float = 0.0  # stopped by the collision probability, counted up to turn_after_s
    turn_side: int = 0  # 1 left, -1 right while turning on the spot, else 0
    against_s: float = 0.0  # for which the network has steered to the other side


INITIAL = ControlState()


def control(
    prediction: Prediction, state: ControlState, dt_s: float, config: ControlConfig
) -> tuple[Command, ControlState]:
    """Command for one frame.

    Args:
        prediction: what the network says of the frame. Anything but a settled prediction with a
            finite steering and a probability in 0..1 stops the robot.
        state: result of the frame before; ``INITIAL`` for the first one, and after every stop
            that somebody else ordered.
        dt_s: time since the frame before. Zero, negative or not finite: nothing changes but a stop.
            It is cut at ``MAX_INTERVAL_S``.
        config: limits and gains.

    Returns:
        The command, finite and within the limits of ``config`` always, and the next state.

    Example:
        >>> clear = Prediction(0.0, 0.0, True, 7, 900)
        >>> still = control(clear, INITIAL, 0.1, ControlConfig(go_frames=2))
        >>> still[0]
        Command(linear_mps=0.0, angular_radps=0.0)
        >>> control(clear, still[1], 0.1, ControlConfig(go_frames=2))[0]
        Command(linear_mps=0.05, angular_radps=0.0)
    """
    if not _trustworthy(prediction) or not all(map(math.isfinite, state)):
        return STOP, INITIAL
    probability = float(prediction.collision_probability)
    clear = min(state.clear_frames + 1, config.go_frames) * (probability <= config.go_threshold)
    state = state._replace(clear_frames=clear)
    dt_s = min(dt_s, MAX_INTERVAL_S) if math.isfinite(dt_s) and dt_s > 0 else 0.0
    if not state.stopped and probability >= config.stop_threshold:
        return STOP, INITIAL._replace(clear_frames=clear)
    wanted = _clip(float(prediction.steering_rad), config.max_steering_rad)
    if state.stopped and clear < config.go_frames:
        return _wait(wanted, state, dt_s, config)

    linear = _speed(probability, state.linear_mps, dt_s, config)
    steering = _low_pass(state.steering_rad, wanted, dt_s, config.steering_smoothing_s)
    angular = _yaw_rate(steering, linear, state.angular_radps, dt_s, config)
    return Command(linear, angular), ControlState(linear, angular, steering, False, clear)


def _wait(
    steering_rad: float, state: ControlState, dt_s: float, config: ControlConfig
) -> tuple[Command, ControlState]:
    """Stand still; after ``turn_after_s`` turn on the spot, where the configuration says so."""
    waited_s = min(state.waited_s + dt_s, config.turn_after_s)
    if config.turn_after_s <= 0.0 or waited_s < config.turn_after_s:
        return STOP, INITIAL._replace(clear_frames=state.clear_frames, waited_s=waited_s)
    wanted_side = 1 if steering_rad >= 0.0 else -1
    side = state.turn_side or wanted_side
    against_s = state.against_s + dt_s if side != wanted_side else 0.0
    if against_s >= config.turn_after_s:
        side, against_s = wanted_side, 0.0
    steering = _low_pass(state.steering_rad, steering_rad, dt_s, config.steering_smoothing_s)
    rate = side * max(side * steering * config.yaw_gain, config.turn_rate_radps)
    angular = _toward(rate, state.angular_radps, dt_s, config)
    turning = state._replace(
        linear_mps=0.0,
        angular_radps=angular,
        steering_rad=steering,
        waited_s=waited_s,
        turn_side=side,
        against_s=against_s,
    )
    return Command(0.0, angular), turning


def _trustworthy(prediction: Prediction) -> bool:
    return (
        prediction.settled
        and math.isfinite(prediction.steering_rad)
        and 0.0 <= prediction.collision_probability <= 1.0  # NaN is not
    )


def _speed(probability: float, before: float, dt_s: float, config: ControlConfig) -> float:
    target = config.v_max_mps * (1.0 - probability)
    smoothing_s = config.speed_rise_s if target > before else config.speed_fall_s
    wanted = _low_pass(before, target, dt_s, smoothing_s)
    lowest = before - config.deceleration_mps2 * dt_s
    highest = before + config.acceleration_mps2 * dt_s
    return min(max(min(max(wanted, lowest), highest), 0.0), config.v_max_mps)


def _yaw_rate(
    steering: float, linear: float, before: float, dt_s: float, config: ControlConfig
) -> float:
    if config.drive != "ackermann":
        return _toward(steering * config.yaw_gain, before, dt_s, config)
    # Curvature is bounded by the wheels whatever the yaw rate was before: this base cannot
    # turn on the spot, and a slower one must turn more slowly at once.
    wanted = linear * math.tan(steering) / config.wheelbase_m
    limit = linear * math.tan(config.max_steering_rad) / config.wheelbase_m
    return _clip(_toward(wanted, before, dt_s, config), limit)


def _toward(wanted: float, before: float, dt_s: float, config: ControlConfig) -> float:
    """The yaw rate after ``dt_s`` on the way to the wanted one, in the limits of any base."""
    step = config.yaw_acceleration_radps2 * dt_s
    return _clip(min(max(wanted, before - step), before + step), config.max_yaw_rate_radps)


def _low_pass(before: float, target: float, dt_s: float, time_constant_s: float) -> float:
    """First-order low-pass, exact for any interval, so the frame rate does not change it."""
    if time_constant_s <= 0.0 or dt_s <= 0.0:
        return target if dt_s > 0.0 else before
    return before - math.expm1(-dt_s / time_constant_s) * (target - before)


def _clip(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)
