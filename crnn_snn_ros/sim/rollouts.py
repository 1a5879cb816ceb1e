"""What can be seen from a robot, paths that it might take, and the room along them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from crnn_snn_ros.sim.course import Course
from crnn_snn_ros.sim.geometry import Floats, cast, point_distance
from crnn_snn_ros.sim.robot import RobotConfig, RobotState
from crnn_snn_ros.sim.sight import Sight

_RAYS = 120
_REACH_M = 5.0
_SIGHT_M = 4.0  # further free space is worth no more
_DOUBT_RISE_S = 0.3
_BEFORE_S = 0.1  # since when a mover's velocity is taken from how far it came


class Doubt(NamedTuple):
    """Room kept from where a mover is expected: it may do otherwise, the more the later."""

    margin_m: float = 0.0
    growth_mps: float = 0.0

    def room_m(self, times_s: Floats) -> Floats:
        """(T,); nothing at once, or who is near already could never leave."""
        soon = np.minimum(times_s / _DOUBT_RISE_S, 1.0)
        return np.asarray(soon * (self.margin_m + self.growth_mps * times_s))


class View:
    """What can be seen from the robot, and how it will move.

    Args:
        course: what there is to see.
        state: where the robot is.
        robot: its shape.
        time_s: places the movers.
        sight: what of it is known; None: all that a ray from the robot reaches, to every side.
        doubt: room to keep from movers.
        foresight: whether it is known where movers turn back; else they are taken to go straight
            on, as far as anybody can tell who sees them.

    Attributes:
        here: room around the middle of the footprint, m.
    """

    def __init__(
        self,
        course: Course,
        state: RobotState,
        robot: RobotConfig,
        time_s: float,
        sight: Sight | None = None,
        doubt: Doubt | None = None,
        *,
        foresight: bool = True,
    ) -> None:
        self._robot = robot
        self._foresight = foresight
        self._doubt = doubt or Doubt()
        self._time_s = time_s
        self._course = course
        ahead = np.array([math.cos(state.yaw_rad), math.sin(state.yaw_rad)])
        self._origin = np.array([state.x_m, state.y_m]) + 0.5 * robot.length_m * ahead
        shapes = course.at(time_s)
        self.here = float(point_distance(self._origin[None], shapes).min()) - robot.radius_m
        self._angles = np.linspace(0.0, 2.0 * np.pi, _RAYS, endpoint=False)
        self._ranges, seen = cast(self._origin, self._angles, shapes, _REACH_M)
        fixed = len(course.fixed.radius)
        visible = seen > 0.0
        if sight is not None:
            visible = sight.look(self._origin, state.yaw_rad, shapes, fixed, time_s, _REACH_M)
        self._fixed = course.fixed.take(visible[:fixed])
        self._moving_index = np.flatnonzero(visible[fixed:])
        self._moving = shapes.take(fixed + self._moving_index)

    def room(self, paths: Floats, times_s: Floats) -> Floats:
        """Room around the footprint along paths: (P, T, 3) -> (P, T), m."""
        robot = self._robot
        room = np.full(paths.shape[:2], np.inf)
        future, doubt_m = self._future(times_s), self._doubt.room_m(times_s)
        for along in np.linspace(0.0, robot.length_m, 1 if robot.length_m == 0.0 else 3):
            x = paths[..., 0] + along * np.cos(paths[..., 2])
            y = paths[..., 1] + along * np.sin(paths[..., 2])
            points = np.stack([x, y], axis=-1)[..., None, :]
            if len(self._fixed.radius):
                room = np.minimum(room, point_distance(points, self._fixed).min(axis=-1))
            if len(self._moving_index):
                moved = points + (self._moving.centre - future)  # as if the mover stood
                apart = point_distance(moved, self._moving).min(axis=-1)
                room = np.minimum(room, apart - doubt_m)
        return room - robot.radius_m

    def _future(self, times_s: Floats) -> Floats:
        """(T, M, 2): where the visible movers will be, or are taken to be."""
        if self._foresight:
            return self._course.mover_positions(self._time_s + times_s)[:, self._moving_index]
        lately = self._time_s - np.array([_BEFORE_S, 0.0])
        before, now = self._course.mover_positions(lately)[:, self._moving_index]
        return np.asarray(now + times_s[:, None, None] * (now - before) / _BEFORE_S)

    def closed(self, headings: Floats) -> Floats:
        """How little can be seen in some directions: (P,) -> (P,), 0 open to 1 shut."""
        index = np.floor(headings / (2.0 * np.pi) * _RAYS + 0.5).astype(int) % _RAYS
        # The nearest of three rays, so that no path aims at a slit.
        around = np.minimum(self._ranges, np.minimum(np.roll(self._ranges, 1),
                                                     np.roll(self._ranges, -1)))  # fmt: skip
        return np.asarray(1.0 - np.minimum(around[index], _SIGHT_M) / _SIGHT_M)


def arcs(
    state: RobotState,
    speeds: Floats,
    rates: Floats,
    times_s: Floats,
    holds_s: Floats,
    headings: Floats | None = None,
) -> Floats:
    """Poses along arcs that become straight after a while.

    Args:
        state: where they begin.
        speeds: (P,) or (1,), m/s.
        rates: (P,) yaw rate, rad/s.
        times_s: (T,) ascending.
        holds_s: (P,) how long each one turns.
        headings: (P,) where they begin with another heading than the state's, rad.

    Returns:
        (P, T, 3): x m, y m, yaw rad.
    """
    turning = np.minimum(times_s, holds_s[:, None])
    straight = times_s - turning
    turned = rates[:, None] * turning
    half = 0.5 * turned
    chord = speeds[:, None] * turning * np.sinc(half / np.pi)
    first = np.full(len(rates), state.yaw_rad) if headings is None else headings
    yaw = first[:, None] + turned
    rest = speeds[:, None] * straight
    x = state.x_m + chord * np.cos(yaw - half) + rest * np.cos(yaw)
    y = state.y_m + chord * np.sin(yaw - half) + rest * np.sin(yaw)
    return np.stack([x, y, yaw], axis=-1)
