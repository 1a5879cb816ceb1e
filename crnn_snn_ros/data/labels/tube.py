"""The tube that a robot's footprint sweeps while it goes on as it does, and what lies in it.

The footprint is a rectangle ahead of ``base_link``: ``front_m`` long, ``width_m`` wide. Under a
constant speed v and yaw rate w it moves along an arc; it is moved in steps of ``STEP_M``, and an
obstacle is in the tube when it is within the rectangle at one of them. All in metres, x ahead, y to
the left (REP-103).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import ConfigError

STEP_M = 0.02
MAX_STEPS = 500
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RobotShape:
    """Size of a robot, and how far ahead a collision counts.

    Raises:
        ConfigError: a value is out of range.
    """

    width: float = 0.36  # metres, the whole robot's
    front: float = 0.18  # metres from base_link to the front bumper
    height: float = 0.5  # metres; what is higher it passes under (depth images)
    horizon: float = 1.5  # seconds that the tube is long
    least_speed: float = 0.5  # m/s of the tube, however slow the robot is
    least_points: int = 1  # in the tube at once, to be an obstacle (depth images: 8 at the least)

    def __post_init__(self) -> None:
        for name, limits in (
            ("width", (0.01, 10.0)),
            ("front", (0.01, 10.0)),
            ("height", (0.01, 10.0)),
            ("horizon", (0.05, 30.0)),
            ("least_speed", (0.0, 20.0)),
        ):
            value = getattr(self, name)
            if not limits[0] <= value <= limits[1]:
                raise ConfigError(f"{name} {value} is not within {limits[0]:g}..{limits[1]:g}")
        if self.least_points < 1:
            raise ConfigError(f"least points {self.least_points} must be at least 1")


def time_to_contact(
    points: Floats, speed_mps: float, yaw_rate_radps: float, robot: RobotShape
) -> float:
    """When the robot would touch something, were it to go on as it does.

    A robot that stands or backs has no tube of its own: it is looked ahead at ``least_speed``.

    Args:
        points: (n, 2) obstacles, metres, in the robot's frame.
        speed_mps: speed ahead.
        yaw_rate_radps: positive to the left.
        robot: shape and horizon.

    Returns:
        Seconds from now; infinite where there is none within the horizon.

    Example:
        >>> wall = np.array([[1.18, 0.0]])
        >>> round(time_to_contact(wall, 1.0, 0.0, RobotShape()), 1)
        1.0
        >>> time_to_contact(wall, 0.5, 0.0, RobotShape())
        inf
    """
    speed = max(speed_mps, robot.least_speed)
    reach = speed * robot.horizon + robot.front + robot.width
    near = points[np.hypot(points[:, 0], points[:, 1]) <= reach]
    if len(near) < robot.least_points:
        return math.inf
    travel = (speed + abs(yaw_rate_radps) * robot.front) * robot.horizon
    times = np.linspace(0.0, robot.horizon, min(math.ceil(travel / STEP_M) + 2, MAX_STEPS))
    x, y, yaw = arc(speed, yaw_rate_radps, times)
    dx, dy = near[None, :, 0] - x[:, None], near[None, :, 1] - y[:, None]
    cos, sin = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    ahead, beside = cos * dx + sin * dy, cos * dy - sin * dx
    within = (ahead >= 0.0) & (ahead <= robot.front) & (np.abs(beside) <= 0.5 * robot.width)
    hit = np.flatnonzero(within.sum(axis=1) >= robot.least_points)
    return float(times[hit[0]]) if len(hit) else math.inf


def arc(speed_mps: float, yaw_rate_radps: float, times_s: Floats) -> tuple[Floats, Floats, Floats]:
    """Pose at each time of a robot that begins at the origin: x, y in metres, yaw in rad.

    Example:
        >>> x, y, yaw = arc(1.0, np.pi / 2, np.array([0.0, 1.0]))
        >>> x.round(3).tolist(), y.round(3).tolist()
        ([0.0, 0.637], [0.0, 0.637])
    """
    yaw = yaw_rate_radps * times_s
    # sinc: the chord of an arc, exact for straight ones too.
    chord = speed_mps * times_s * np.sinc(yaw / (2.0 * np.pi))
    return chord * np.cos(yaw / 2.0), chord * np.sin(yaw / 2.0), yaw
