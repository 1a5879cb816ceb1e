"""Courses from seeds: corridors, rooms and open ground that a robot can always get through.

An obstacle is only placed where the way stays open for a disc of the robot's radius and a margin,
so every course is passable by construction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.sim.course import KINDS, Course, Shape, Stream, corners, shapes_of, stream
from crnn_snn_ros.sim.crossing import with_movers
from crnn_snn_ros.sim.floor import Floor
from crnn_snn_ros.sim.geometry import Floats, cast, point_distance

WALL_M = 0.1  # thickness
_TRIES = 40
_CLEAR_START_M = 1.3  # no obstacle is nearer to the start


@dataclass(frozen=True)
class Difficulty:
    """What a suite asks for; pairs are the least and the most."""

    corridor_m: tuple[float, float] = (1.7, 2.5)  # width
    corridor_obstacles: tuple[int, int] = (6, 10)
    corridor_scale: float = 1.0  # of the obstacles' sizes
    crowd: float = 1.0  # factor on the number of obstacles in rooms and on open ground
    margin_m: float = 0.17  # room beside the robot, left and right, at the least
    movers: tuple[int, int] = (0, 0)  # three times as many on open ground
    mover_mps: tuple[float, float] = (0.2, 0.5)


NARROW = Difficulty((1.15, 1.5), (3, 6), 0.6, 2.0, 0.10)


def generate(kind: str, seed: int, difficulty: Difficulty | None = None) -> Course:
    """The course of a seed: the same for ever, apart from new versions of this module.

    Movers come from a stream of their own: the same seed without movers is the same course.

    Raises:
        ConfigError: no such kind.
    """
    if kind not in KINDS:
        raise ConfigError(f"course kind is '{kind}'; it must be one of {', '.join(KINDS)}")
    asked = difficulty or Difficulty()
    build = {"corridor": _corridor, "room": _room, "open": _open}[kind]
    course = build(stream(seed, Stream.GEOMETRY), seed, asked)
    random = stream(seed, Stream.MOVERS)
    count = int(random.integers(asked.movers[0], asked.movers[1] + 1))
    # Open ground is so wide that as few as elsewhere would hardly ever be met.
    return with_movers(course, count * (3 if kind == "open" else 1), asked.mover_mps, random)


def _corridor(random: np.random.Generator, seed: int, asked: Difficulty) -> Course:
    width = float(random.uniform(*asked.corridor_m))
    route, goal = _route(random, width)
    walls = _side_walls(route, width, float(random.uniform(0.5, 2.4)))
    course = Course("corridor", seed, walls, (), (), (0.0, 0.0, 0.0), _bounds(walls), route, goal)
    x, y, heading = course.route_pose(1.0)
    aside, turn = random.uniform((-0.15 * width, -0.2), (0.15 * width, 0.2))
    course = replace(course, start=(*_beside(x, y, heading, aside), heading + turn))
    count = int(random.integers(asked.corridor_obstacles[0], asked.corridor_obstacles[1] + 1))
    slots = np.linspace(3.2, goal - 0.6, count + 1)

    def somewhere(number: int) -> tuple[float, float]:
        low, high = slots[number : number + 2]
        # Not up to the next one's slot, so that there is room to swerve in between.
        x, y, heading = course.route_pose(random.uniform(low, low + 0.7 * (high - low)))
        return _beside(x, y, heading, random.uniform(-0.5, 0.5) * width)

    return _furnish(course, random, asked, count, somewhere)


def _beside(x: float, y: float, heading: float, aside_m: float) -> tuple[float, float]:
    return x - aside_m * math.sin(heading), y + aside_m * math.cos(heading)


def _route(
    random: np.random.Generator, width: float
) -> tuple[tuple[tuple[float, float], ...], float]:
    """A bent middle line that comes nowhere near itself, and where on it the goal is."""
    while True:
        goal = float(random.uniform(19.0, 23.0))
        points, heading, total = [(0.0, 0.0)], 0.0, 0.0
        while total < goal + 3.0:  # the far end is out of the way of who reaches the goal
            length = random.uniform(2.8, 5.0)
            x, y = points[-1]
            points.append((x + length * math.cos(heading), y + length * math.sin(heading)))
            total += length
            bend = math.radians(random.uniform(12.0, 70.0)) * random.choice((-1.0, 1.0))
            heading = heading + bend if abs(heading + bend) < 1.5 else heading - bend
        if _apart(np.array(points)) > width + 0.4:
            return tuple((float(x), float(y)) for x, y in points), goal


def _apart(line: Floats) -> float:
    """About the least distance between legs of a line that are not neighbours, m."""
    along = np.linspace(0.0, 1.0, 12)[:, None]
    legs = [a + along * (b - a) for a, b in pairwise(line)]
    gaps = [
        float(np.linalg.norm(first[:, None] - second, axis=-1).min())
        for i, first in enumerate(legs)
        for second in legs[i + 2 :]
    ]
    return min(gaps, default=math.inf)


def _side_walls(
    route: tuple[tuple[float, float], ...], width: float, height: float
) -> tuple[Shape, ...]:
    line = np.array(route)
    legs = np.diff(line, axis=0)
    legs /= np.linalg.norm(legs, axis=1, keepdims=True)
    normals = np.stack([-legs[:, 1], legs[:, 0]], axis=1)
    mitres = normals[:-1] + normals[1:]
    mitres /= (mitres * normals[1:]).sum(axis=1, keepdims=True)
    offsets = np.concatenate([normals[:1], mitres, normals[-1:]])
    left, right = (line + side * 0.5 * (width + WALL_M) * offsets for side in (1.0, -1.0))
    rails = [*pairwise(left), *pairwise(right)]
    ends = [(left[0], right[0]), (left[-1], right[-1])]
    return tuple(_wall(a, b, height) for a, b in [*rails, *ends])


def _wall(start: Floats, end: Floats, height: float) -> Shape:
    (x, y), (dx, dy) = (start + end) / 2, end - start
    half = 0.5 * math.hypot(dx, dy) + 0.5 * WALL_M  # so that walls overlap where they meet
    return Shape("box", float(x), float(y), math.atan2(dy, dx), half, 0.5 * WALL_M, height)


def _room(random: np.random.Generator, seed: int, asked: Difficulty) -> Course:
    size = random.uniform((6.5, 5.5), (10.0, 8.5))
    count, parted = int(random.integers(4, 8)), bool(random.random() < 0.5)
    return _arena("room", random, seed, asked, size, count, parted)


def _open(random: np.random.Generator, seed: int, asked: Difficulty) -> Course:
    size = random.uniform((15.0, 15.0), (20.0, 20.0))
    return _arena("open", random, seed, asked, size, int(random.integers(24, 36)), False)


def _arena(
    kind: str,
    random: np.random.Generator,
    seed: int,
    asked: Difficulty,
    size: Floats,
    count: int,
    parted: bool,
) -> Course:
    """Four walls, perhaps a partition that leaves a passage, and obstacles."""
    height = float(random.uniform(0.5, 2.4))
    half = size / 2
    around = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (half + WALL_M / 2)
    walls = [_wall(around[i], around[(i + 1) % 4], height) for i in range(4)]
    if parted:
        x, side = random.uniform(-0.25, 0.25) * size[0], random.choice((-1.0, 1.0))
        reach = random.uniform(0.3, 0.6) * size[1]
        ends = np.array([(x, side * half[1]), (x, side * (half[1] - reach))])
        walls.append(_wall(ends[0], ends[1], height))
    start = _arena_start(random, tuple(walls), half)
    bounds = (float(-half[0]), float(-half[1]), float(half[0]), float(half[1]))
    course = Course(kind, seed, tuple(walls), (), (), start, bounds, (), 30.0)

    def anywhere(_: int) -> tuple[float, float]:
        x, y = random.uniform(-half, half)
        return float(x), float(y)

    return _furnish(course, random, asked, round(asked.crowd * count), anywhere)


def _arena_start(
    random: np.random.Generator, walls: tuple[Shape, ...], half: Floats
) -> tuple[float, float, float]:
    shapes = shapes_of(walls)
    while True:
        at = random.uniform(-half + 1.2, half - 1.2)
        yaw = float(random.uniform(-math.pi, math.pi))
        ahead, _ = cast(at, np.array([yaw]), shapes, 9.0)
        if point_distance(at[None], shapes).min() > 1.0 and ahead[0] > 2.5:
            return float(at[0]), float(at[1]), yaw


def _furnish(
    course: Course,
    random: np.random.Generator,
    asked: Difficulty,
    count: int,
    somewhere: Callable[[int], tuple[float, float]],
) -> Course:
    """Put obstacles where they leave the way open and the start clear; else leave one out."""
    floor = Floor(course, asked.margin_m)
    start = np.array(course.start[:2])
    scale = asked.corridor_scale if course.route else 1.0
    obstacles: list[Shape] = []
    for number in range(count):
        for _ in range(_TRIES):
            shape = _obstacle(random, *somewhere(number), scale)
            if float(point_distance(start[None], shapes_of((shape,)))[0]) < _CLEAR_START_M:
                continue
            room = floor.room_with(shape)
            if floor.joined(room):
                floor.room = room
                obstacles.append(shape)
                break
    return replace(course, obstacles=tuple(obstacles))


def _obstacle(random: np.random.Generator, x: float, y: float, scale: float) -> Shape:
    kind = str(random.choice(("box", "box", "cylinder", "post")))
    yaw, height = (float(v) for v in random.uniform((-math.pi, 0.25), (math.pi, 1.4)))
    if kind == "box":
        a, b = scale * random.uniform(0.12, 0.32, 2)
        return Shape("box", x, y, yaw, float(a), float(b), height)
    radius = float(random.uniform(0.04, 0.07))  # of a post, which no suite makes thinner
    if kind == "cylinder":
        radius = scale * float(random.uniform(0.1, 0.28))
    return Shape("cylinder", x, y, yaw, radius, radius, height)


def _bounds(walls: tuple[Shape, ...]) -> tuple[float, float, float, float]:
    points = np.concatenate([corners(wall) for wall in walls])
    (low_x, low_y), (high_x, high_y) = points.min(axis=0), points.max(axis=0)
    return float(low_x), float(low_y), float(high_x), float(high_y)
