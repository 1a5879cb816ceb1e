"""Courses from seeds: corridors, rooms and open ground that a robot can always get through.

An obstacle is only placed where the way stays open for a disc of the robot's radius and a margin,
so every course is passable by construction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.sim.course import KINDS, Course, Mover, Shape, Stream, shapes_of, stream
from crnn_snn_ros.sim.geometry import Floats, cast, point_distance

ROBOT_RADIUS_M = 0.18  # courses are made for this one, whatever drives in them later
CELL_M = 0.08
WALL_M = 0.1  # thickness
_TRIES = 40


@dataclass(frozen=True)
class Difficulty:
    """What a suite asks for."""

    corridor_m: tuple[float, float] = (1.7, 2.5)  # width
    corridor_obstacles: tuple[int, int] = (6, 10)
    scale: float = 1.0  # of the obstacles' sizes
    margin_m: float = 0.17  # room beside the robot, left and right, at the least
    movers: tuple[int, int] = (0, 0)


NARROW = Difficulty((1.15, 1.5), (3, 6), 0.6, 0.10)


def generate(kind: str, seed: int, difficulty: Difficulty | None = None) -> Course:
    """The course of a seed: the same for ever, apart from new versions of this module.

    Movers come from a stream of their own: the same seed without movers is the same course.

    Raises:
        ConfigError: no such kind.
    """
    if kind not in KINDS:
        raise ConfigError(f"course kind is '{kind}'; it must be one of {', '.join(KINDS)}")
    asked = difficulty or Difficulty()
    random = stream(seed, Stream.GEOMETRY)
    build = {"corridor": _corridor, "room": _room, "open": _open}[kind]
    course = build(random, seed, asked)
    low, high = asked.movers
    if high == 0:
        return course
    random = stream(seed, Stream.MOVERS)
    return _with_movers(course, int(random.integers(low, high + 1)), random)


class Floor:
    """Free space on a grid: where a disc's centre may be, and what hangs together."""

    def __init__(self, walls: list[Shape], need_m: float) -> None:
        points = np.array([corner for wall in walls for corner in _corners(wall)])
        self.low, self.high = points.min(axis=0), points.max(axis=0)
        self.need_m = need_m
        xs, ys = (np.arange(self.low[i], self.high[i], CELL_M) for i in (0, 1))
        self.centres = np.stack(np.meshgrid(xs, ys), axis=-1)  # (rows, columns, 2)
        self.space = np.full(self.centres.shape[:2], np.inf)
        for wall in walls:
            self.space = self.with_shape(wall)

    def with_shape(self, shape: Shape) -> Floats:
        """Distance of every cell to what is nearest, were ``shape`` there too."""
        one = shapes_of((shape,))
        return np.minimum(self.space, point_distance(self.centres[..., None, :], one)[..., 0])

    def joined(self, space: Floats, start: Floats) -> np.ndarray:
        """Cells that a disc can reach from ``start``; none if it does not fit there."""
        free = (space > self.need_m).astype(np.uint8)
        _, parts = cv2.connectedComponents(free, connectivity=4)
        row, column = self.cell(start)
        return np.asarray((parts == parts[row, column]) & (free[row, column] > 0))

    def cell(self, point: Floats) -> tuple[int, int]:
        """Row and column of a point."""
        column, row = np.floor((point - self.low) / CELL_M + 0.5).astype(int)
        rows, columns = self.space.shape
        return min(max(row, 0), rows - 1), min(max(column, 0), columns - 1)


def passable(course: Course, margin_m: float) -> bool:
    """Whether a disc of the robot's radius and a margin gets through, movers left aside.

    In a corridor, from the start to the goal; elsewhere, to most of the floor that is free.
    """
    floor = Floor(list(course.walls), ROBOT_RADIUS_M + margin_m)
    for obstacle in course.obstacles:
        floor.space = floor.with_shape(obstacle)
    return _open_way(floor, floor.space, course)


def _open_way(floor: Floor, space: Floats, course: Course) -> bool:
    reached = floor.joined(space, np.array(course.start[:2]))
    if course.route:
        row, column = floor.cell(_along(course.route, course.goal_m)[0])
        return bool(reached[row, column])
    inside = space > floor.need_m
    # Cells outside of the walls are free too, and never reached: the walls' own share is known.
    return bool(reached.sum() >= 0.6 * _enclosed(floor, inside, course))


def _enclosed(floor: Floor, free: np.ndarray, course: Course) -> int:
    x, y = floor.centres[..., 0], floor.centres[..., 1]
    low_x, low_y, high_x, high_y = course.bounds
    return int((free & (x > low_x) & (x < high_x) & (y > low_y) & (y < high_y)).sum())


def _corridor(random: np.random.Generator, seed: int, asked: Difficulty) -> Course:
    width = random.uniform(*asked.corridor_m)
    route, goal = _route(random, width)
    height = random.uniform(0.5, 2.4)
    walls = _side_walls(route, width, height)
    sideways = random.uniform(-0.15, 0.15) * width
    first, heading = _along(route, 1.0)
    normal = np.array([-math.sin(heading), math.cos(heading)])
    x, y = first + sideways * normal
    course = Course(
        "corridor", seed, tuple(walls), (), (),
        (float(x), float(y), heading + random.uniform(-0.2, 0.2)),
        _bounds(walls), route, goal,
    )  # fmt: skip
    floor = Floor(walls, ROBOT_RADIUS_M + asked.margin_m)
    count = int(random.integers(asked.corridor_obstacles[0], asked.corridor_obstacles[1] + 1))
    slots = np.linspace(3.2, goal - 0.6, count + 1)
    obstacles: list[Shape] = []
    for low, high in zip(slots[:-1], slots[1:], strict=True):
        for _ in range(_TRIES):
            middle, heading = _along(route, random.uniform(low, high - 0.3 * (high - low)))
            normal = np.array([-math.sin(heading), math.cos(heading)])
            at = middle + random.uniform(-0.5, 0.5) * width * normal
            shape = _obstacle(random, at, asked.scale)
            if _place(floor, shape, course):
                obstacles.append(shape)
                break
    return _replace_obstacles(course, obstacles)


def _route(
    random: np.random.Generator, width: float
) -> tuple[tuple[tuple[float, float], ...], float]:
    """A bent middle line that comes nowhere near itself, and where on it the goal is."""
    while True:
        goal = random.uniform(18.0, 22.0) + 1.0
        points = [np.zeros(2)]
        heading, total = 0.0, 0.0
        while total < goal + 3.0:  # the far end is out of the way of who reaches the goal
            length = random.uniform(2.8, 5.0)
            points.append(points[-1] + length * np.array([math.cos(heading), math.sin(heading)]))
            total += length
            bend = math.radians(random.uniform(12.0, 70.0)) * random.choice((-1.0, 1.0))
            heading = heading + bend if abs(heading + bend) < 1.5 else heading - bend
        line = np.array(points)
        apart = min(
            (
                _segments_apart(line[i : i + 2], line[j : j + 2])
                for i in range(len(line) - 1)
                for j in range(i + 2, len(line) - 1)
            ),
            default=math.inf,
        )
        if apart > width + 0.4:
            return tuple((float(x), float(y)) for x, y in line), goal


def _segments_apart(first: Floats, second: Floats) -> float:
    """Least distance of two segments that do not cross (a line always ahead does not)."""
    u = np.linspace(0.0, 1.0, 12)[:, None]
    a, b = (s[0] + u * (s[1] - s[0]) for s in (first, second))
    return float(np.hypot(*(a[:, None] - b[None]).transpose(2, 0, 1)).min())


def _side_walls(
    route: tuple[tuple[float, float], ...], width: float, height: float
) -> list[Shape]:
    line = np.array(route)
    legs = np.diff(line, axis=0)
    legs /= np.hypot(*legs.T)[:, None]
    normals = np.stack([-legs[:, 1], legs[:, 0]], axis=1)
    mitres = normals[:-1] + normals[1:]
    mitres /= (mitres * normals[1:]).sum(axis=1, keepdims=True)
    offsets = np.concatenate([normals[:1], mitres, normals[-1:]])
    left, right = (line + side * 0.5 * (width + WALL_M) * offsets for side in (1.0, -1.0))
    rails = [*zip(left[:-1], left[1:], strict=True), *zip(right[:-1], right[1:], strict=True)]
    return [_wall(a, b, height) for a, b in [*rails, (left[0], right[0]), (left[-1], right[-1])]]


def _wall(start: Floats, end: Floats, height: float) -> Shape:
    (x, y), (dx, dy) = (start + end) / 2, end - start
    half = 0.5 * math.hypot(dx, dy) + 0.5 * WALL_M  # so that walls overlap where they meet
    return Shape("box", float(x), float(y), math.atan2(dy, dx), half, 0.5 * WALL_M, height)


def _room(random: np.random.Generator, seed: int, asked: Difficulty) -> Course:
    size = random.uniform((6.5, 5.5), (10.0, 8.5))
    return _arena(random, seed, asked, size, int(random.integers(4, 8)), stub=random.random() < 0.5)


def _open(random: np.random.Generator, seed: int, asked: Difficulty) -> Course:
    size = random.uniform((15.0, 15.0), (20.0, 20.0))
    return _arena(random, seed, asked, size, int(random.integers(24, 36)), stub=False)


def _arena(
    random: np.random.Generator,
    seed: int,
    asked: Difficulty,
    size: Floats,
    count: int,
    stub: bool,
) -> Course:
    """Four walls, perhaps a partition that leaves a passage, and obstacles."""
    height = random.uniform(0.5, 2.4)
    half = size / 2
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (half + WALL_M / 2)
    walls = [_wall(corners[i], corners[(i + 1) % 4], height) for i in range(4)]
    if stub:
        x = random.uniform(-0.25, 0.25) * size[0]
        side = random.choice((-1.0, 1.0))
        reach = random.uniform(0.3, 0.6) * size[1]
        ends = np.array([(x, side * half[1]), (x, side * (half[1] - reach))])
        walls.append(_wall(ends[0], ends[1], height))
    floor = Floor(walls, ROBOT_RADIUS_M + asked.margin_m)
    while True:
        x, y = random.uniform(-half + 1.2, half - 1.2)
        yaw = random.uniform(-math.pi, math.pi)
        ahead, _ = cast(np.array([x, y]), np.array([yaw]), shapes_of(tuple(walls)), 9.0)
        if floor.space[floor.cell(np.array([x, y]))] > 1.0 and ahead[0] > 2.5:
            break
    kind = "open" if count > 20 else "room"
    bounds = (float(-half[0]), float(-half[1]), float(half[0]), float(half[1]))
    course = Course(
        kind, seed, tuple(walls), (), (), (float(x), float(y), yaw), bounds, (), 30.0
    )
    obstacles: list[Shape] = []
    for _ in range(count):
        for _ in range(_TRIES):
            shape = _obstacle(random, random.uniform(-half, half), asked.scale)
            if _place(floor, shape, course):
                obstacles.append(shape)
                break
    return _replace_obstacles(course, obstacles)


def _obstacle(random: np.random.Generator, at: Floats, scale: float) -> Shape:
    kind = random.choice(("box", "box", "cylinder", "post"))
    x, y = float(at[0]), float(at[1])
    yaw = random.uniform(-math.pi, math.pi)
    height = random.uniform(0.25, 1.4)
    if kind == "box":
        a, b = scale * random.uniform(0.12, 0.32, 2)
        return Shape("box", x, y, yaw, float(a), float(b), height)
    low, high = (0.04, 0.07) if kind == "post" else (0.1, 0.28)
    radius = float(random.uniform(low, high)) * (1.0 if kind == "post" else scale)
    return Shape("cylinder", x, y, yaw, radius, radius, height)


def _place(floor: Floor, shape: Shape, course: Course) -> bool:
    """Put an obstacle on the floor where it leaves the way open and the start clear."""
    start = np.array(course.start[:2])
    if float(point_distance(start[None], shapes_of((shape,)))[0]) < 1.3:
        return False
    space = floor.with_shape(shape)
    if not _open_way(floor, space, course):
        return False
    floor.space = space
    return True


def _with_movers(course: Course, count: int, random: np.random.Generator) -> Course:
    movers: list[Mover] = []
    for _ in range(count):
        for _ in range(_TRIES):
            mover = _mover(course, random)
            if mover is not None:
                movers.append(mover)
                break
    return Course(**{**_fields(course), "movers": tuple(movers)})


def _mover(course: Course, random: np.random.Generator) -> Mover | None:
    """One that crosses between what stands left and right of some point, or None if unlucky."""
    radius = random.uniform(0.12, 0.24)
    box = random.random() < 0.4
    half_x, half_y = (radius, 0.7 * radius) if box else (radius, radius)
    round_m = math.hypot(half_x, half_y) if box else radius
    height, speed = random.uniform(0.4, 1.7), random.uniform(0.25, 0.7)
    if course.route:
        at, heading = _along(course.route, random.uniform(4.0, course.goal_m - 1.0))
        bearing = heading + math.pi / 2 + random.uniform(-0.6, 0.6)
    else:
        low_x, low_y, high_x, high_y = course.bounds
        at = random.uniform((low_x + 0.5, low_y + 0.5), (high_x - 0.5, high_y - 0.5))
        bearing = random.uniform(-math.pi, math.pi)
    phase = random.uniform(0.0, 2.0)
    if float(point_distance(at[None], course.fixed).min()) < round_m + 0.05:
        return None
    line = _free_line(course, at, bearing, round_m + 0.03)
    if line is None:
        return None
    kind = "box" if box else "cylinder"
    shape = Shape(kind, 0.0, 0.0, bearing, half_x, half_y, height)
    mover = Mover(shape, line[0], line[1], speed, phase)
    first_seconds = mover.position(np.linspace(0.0, 2.0, 21)) - np.array(course.start[:2])
    return mover if np.hypot(*first_seconds.T).min() > 2.0 else None


def _free_line(
    course: Course, at: Floats, bearing: float, need_m: float
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """How far a disc gets from ``at`` to both sides before it touches something, at most 3 m."""
    way = np.array([math.cos(bearing), math.sin(bearing)])
    reach = np.arange(0.0, 3.0, 0.02)
    ends: list[tuple[float, float]] = []
    for side in (1.0, -1.0):
        points = at + side * reach[:, None] * way
        free = point_distance(points[:, None], course.fixed).min(axis=1) > need_m
        steps = len(free) if free.all() else int(free.argmin())
        x, y = points[max(steps - 1, 0)]
        ends.append((float(x), float(y)))
    return (ends[0], ends[1]) if math.dist(*ends) > 0.6 else None


def _along(route: tuple[tuple[float, float], ...], distance_m: float) -> tuple[Floats, float]:
    """Point and heading on the route."""
    line = np.array(route)
    for start, leg in zip(line[:-1], np.diff(line, axis=0), strict=True):
        length = math.hypot(*leg)
        if distance_m <= length:
            return start + distance_m / length * leg, math.atan2(leg[1], leg[0])
        distance_m -= length
    return line[-1], math.atan2(leg[1], leg[0])


def _corners(shape: Shape) -> Floats:
    along = np.array([math.cos(shape.yaw_rad), math.sin(shape.yaw_rad)])
    across = np.array([-along[1], along[0]])
    signs = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
    offsets = signs[:, :1] * shape.half_x_m * along + signs[:, 1:] * shape.half_y_m * across
    return np.array([shape.x_m, shape.y_m]) + offsets


def _bounds(walls: list[Shape]) -> tuple[float, float, float, float]:
    points = np.concatenate([_corners(wall) for wall in walls])
    (low_x, low_y), (high_x, high_y) = points.min(axis=0), points.max(axis=0)
    return float(low_x), float(low_y), float(high_x), float(high_y)


def _fields(course: Course) -> dict[str, object]:
    return {name: getattr(course, name) for name in course.__dataclass_fields__}


def _replace_obstacles(course: Course, obstacles: list[Shape]) -> Course:
    return Course(**{**_fields(course), "obstacles": tuple(obstacles)})  # type: ignore[arg-type]
