"""What can be seen from a robot, paths that it might take, and the room along them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from crnn_snn_ros.sim.course import Course
from crnn_snn_ros.sim.geometry import Floats, cast, nearest, point_distance
from crnn_snn_ros.sim.robot import RobotConfig, RobotState
from crnn_snn_ros.sim.sight import Sight

_RAYS = 120
_ANGLES = np.linspace(0.0, 2.0 * np.pi, _RAYS, endpoint=False)
_REACH_M = 5.0
_SIGHT_M = 4.0  # further free space is worth no more
_SAFE_M = 1e-6  # for rounding
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
        whole = robot.length_m > 0.0
        self._along = np.linspace(0.0, robot.length_m, 3) if whole else np.zeros(1)
        self._foresight = foresight
        self._doubt = doubt or Doubt()
        self._time_s = time_s
        self._course = course
        ahead = np.array([math.cos(state.yaw_rad), math.sin(state.yaw_rad)])
        self._origin = np.array([state.x_m, state.y_m]) + 0.5 * robot.length_m * ahead
        shapes = course.at(time_s)
        away = point_distance(self._origin[None], shapes)
        self.here = float(away.min()) - robot.radius_m
        ranges, seen = cast(self._origin, _ANGLES, shapes, _REACH_M)
        # The nearest of three rays, so that no path aims at a slit.
        around = np.concatenate([ranges[-1:], ranges, ranges[:1]])
        self._around = np.minimum(ranges, np.minimum(around[:-2], around[2:]))
        fixed = len(course.fixed.radius)
        visible = seen > 0.0
        if sight is not None:
            visible = sight.look(self._origin, state.yaw_rad, shapes, fixed, time_s, _REACH_M)
        self._fixed = course.fixed.take(visible[:fixed])
        self._away = away[:fixed][visible[:fixed]]  # from where the robot is
        self._moving_index = np.flatnonzero(visible[fixed:])
        self._moving = shapes.take(fixed + self._moving_index)

    def room(self, paths: Floats, times_s: Floats, most_m: float = math.inf) -> Floats:
        """Room around the footprint along paths: (P, T, 3) -> (P, T), m.

        What is further away than ``most_m`` all along is not looked at: then it is more than that,
        or infinite.
        """
        robot, count = self._robot, paths.shape[:2]
        room = np.full(count, np.inf)
        future, doubt_m = self._future(times_s), self._doubt.room_m(times_s)
        for along in self._along:
            points = paths[..., :2]
            if along:
                ahead = np.stack([np.cos(paths[..., 2]), np.sin(paths[..., 2])], axis=-1)
                points = points + along * ahead
            far_m = np.sqrt(((points - self._origin) ** 2).sum(axis=-1).max())
            near = self._away <= far_m + most_m + robot.radius_m + _SAFE_M
            if near.any():
                apart = nearest(points.reshape(-1, 2), self._fixed.take(near))
                room = np.minimum(room, apart.reshape(count))
            if len(self._moving_index):
                shifts = (self._moving.centre - future).swapaxes(0, 1)[:, None]
                moved = points + shifts  # (M, P, T, 2), as if the mover stood
                apart = nearest(moved.reshape(len(shifts), -1, 2), self._moving)
                room = np.minimum(room, apart.reshape(count) - doubt_m)
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
        return np.asarray(1.0 - np.minimum(self._around[index], _SIGHT_M) / _SIGHT_M)


class Arcs:
    """Paths along arcs that become straight after a while, the same from wherever they begin.

    Args:
        speeds: (P,) or (1,), m/s.
        rates: (P,) yaw rate, rad/s.
        times_s: (T,) ascending.
        holds_s: (P,) how long each one turns.
        headings: (P,) where each one begins, rad to the left of where the robot looks; None: ahead.
    """

    def __init__(
        self,
        speeds: Floats,
        rates: Floats,
        times_s: Floats,
        holds_s: Floats,
        headings: Floats | None = None,
    ) -> None:
        turning = np.minimum(times_s, holds_s[:, None])
        turned = rates[:, None] * turning
        half = 0.5 * turned
        chord = speeds[:, None] * turning * np.sinc(half / np.pi)
        rest = speeds[:, None] * (times_s - turning)
        self._yaw = turned if headings is None else headings[:, None] + turned
        self._ahead = chord * np.cos(self._yaw - half) + rest * np.cos(self._yaw)
        self._left = chord * np.sin(self._yaw - half) + rest * np.sin(self._yaw)

    def of(self, state: RobotState) -> Floats:
        """The paths of a robot: (P, T, 3) x m, y m, yaw rad."""
        cos, sin = math.cos(state.yaw_rad), math.sin(state.yaw_rad)
        poses = np.empty((*self._yaw.shape, 3))
        poses[..., 0] = state.x_m + cos * self._ahead - sin * self._left
        poses[..., 1] = state.y_m + sin * self._ahead + cos * self._left
        poses[..., 2] = state.yaw_rad + self._yaw
        return poses
