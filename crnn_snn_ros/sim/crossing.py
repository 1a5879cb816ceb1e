"""Movers that cross a course to and fro, between what stands left and right."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from crnn_snn_ros.sim.course import Course, Mover, Shape
from crnn_snn_ros.sim.geometry import Floats, point_distance

_TRIES = 40
_REACH_M = 3.0  # to either side, at most
_STEP_M = 0.02
_CALM_S, _CALM_M = 2.0, 2.0  # none comes so near to the start so soon


def with_movers(
    course: Course, count: int, speed_mps: tuple[float, float], random: np.random.Generator
) -> Course:
    """The course and up to ``count`` movers, fewer where there is no room for them."""
    movers: list[Mover] = []
    for _ in range(count):
        tries = (_mover(course, speed_mps, random) for _ in range(_TRIES))
        found = next((mover for mover in tries if mover is not None), None)
        if found is not None:
            movers.append(found)
    return replace(course, movers=tuple(movers))


def _mover(
    course: Course, speed_mps: tuple[float, float], random: np.random.Generator
) -> Mover | None:
    """One that crosses at some point of the course, or None if it would be in the way there."""
    radius = random.uniform(0.12, 0.24)
    height, speed, phase = random.uniform((0.4, speed_mps[0], 0.0), (1.7, speed_mps[1], 2.0))
    if course.route:
        x, y, heading = course.route_pose(random.uniform(4.0, course.goal_m - 1.0))
        bearing = heading + math.pi / 2 + random.uniform(-0.6, 0.6)
    else:
        low_x, low_y, high_x, high_y = course.bounds
        x, y = random.uniform((low_x + 0.5, low_y + 0.5), (high_x - 0.5, high_y - 0.5))
        bearing = random.uniform(-math.pi, math.pi)
    if random.random() < 0.4:
        shape = Shape("box", 0.0, 0.0, bearing, radius, 0.7 * radius, height)
        around = 1.23 * radius  # of the circle that it fits in
    else:
        shape = Shape("cylinder", 0.0, 0.0, bearing, radius, radius, height)
        around = radius
    line = _free_line(course, np.array([x, y]), bearing, around + 0.03)
    if line is None:
        return None
    mover = Mover(shape, line[0], line[1], float(speed), float(phase))
    away = mover.position(np.linspace(0.0, _CALM_S, 21)) - np.array(course.start[:2])
    return mover if np.hypot(*away.T).min() > _CALM_M else None


def _free_line(
    course: Course, at: Floats, bearing: float, need_m: float
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """How far a disc gets from ``at`` to both sides before it touches something."""
    if float(point_distance(at[None], course.fixed).min()) < need_m:
        return None
    way = np.array([math.cos(bearing), math.sin(bearing)])
    reach = np.arange(0.0, _REACH_M, _STEP_M)
    ends: list[tuple[float, float]] = []
    for side in (1.0, -1.0):
        points = at + side * reach[:, None] * way
        free = point_distance(points[:, None], course.fixed).min(axis=1) > need_m
        steps = len(free) if free.all() else int(free.argmin())
        x, y = points[steps - 1]
        ends.append((float(x), float(y)))
    return (ends[0], ends[1]) if math.dist(*ends) > 0.6 else None
