"""What a course is: walls, obstacles, movers, where a run starts and what ends it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

import numpy as np

from crnn_snn_ros.sim.geometry import Floats, Shapes

KINDS = ("corridor", "room", "open")


class Stream(IntEnum):
    """Independent random streams of one seed: other looks leave the course as it is."""

    GEOMETRY = 0
    MOVERS = 1
    APPEARANCE = 2
    NOISE = 3


def stream(seed: int, which: Stream) -> np.random.Generator:
    """Generator of one aspect of a seed."""
    return np.random.default_rng(np.random.SeedSequence([seed, int(which)]))


class Shape(NamedTuple):
    """An upright prism on the floor: a box, or a cylinder of radius ``half_x_m``."""

    kind: str  # "box" or "cylinder"
    x_m: float
    y_m: float
    yaw_rad: float
    half_x_m: float
    half_y_m: float
    height_m: float


@dataclass(frozen=True)
class Mover:
    """A shape that goes to and fro on a line at constant speed."""

    shape: Shape  # its x and y are not used
    start: tuple[float, float]  # one end of the line, m
    end: tuple[float, float]  # the other, m
    speed_mps: float
    phase: float  # where it is at time 0: 0 at start, 1 at end, 2 back at start

    @property
    def length_m(self) -> float:
        """Length of its line."""
        return math.dist(self.start, self.end)

    def position(self, time_s: Floats) -> Floats:
        """Where it is at some times: (...) -> (..., 2), m."""
        around = np.mod(self.phase + self.speed_mps * time_s / self.length_m, 2.0)
        along = 1.0 - np.abs(1.0 - around)
        start, end = np.array(self.start), np.array(self.end)
        return np.asarray(start + along[..., None] * (end - start))


@dataclass(frozen=True)
class Course:
    """One course, the same for every robot, policy and look."""

    kind: str  # of KINDS
    seed: int
    walls: tuple[Shape, ...]
    obstacles: tuple[Shape, ...]
    movers: tuple[Mover, ...]
    start: tuple[float, float, float]  # x m, y m, yaw rad
    bounds: tuple[float, float, float, float]  # x and y least, x and y largest, m
    route: tuple[tuple[float, float], ...]  # a corridor's middle line, m; else empty
    goal_m: float  # along the route, or where there is none the distance to drive, m
    timeout_s: float = 60.0

    @cached_property
    def fixed(self) -> Shapes:
        """Walls and obstacles."""
        return shapes_of((*self.walls, *self.obstacles))

    def at(self, time_s: float) -> Shapes:
        """Every shape at one moment: walls, obstacles, movers, in this order."""
        if not self.movers:
            return self.fixed
        moved = self._moving._replace(centre=self.mover_positions(np.asarray(time_s)))
        return Shapes(*(np.concatenate(pair) for pair in zip(self.fixed, moved, strict=True)))

    def mover_positions(self, times_s: Floats) -> Floats:
        """Centres of the movers: (T,) -> (T, M, 2), m."""
        starts, ways, lengths, speeds, phases = self._lines
        around = np.mod(phases + speeds * times_s[..., None] / lengths, 2.0)
        along = 1.0 - np.abs(1.0 - around)
        return np.asarray(starts + along[..., None] * ways)

    def progress_m(self, x_m: float, y_m: float) -> float:
        """How far along the route the nearest point of it lies; 0 where there is none."""
        if not self.route:
            return 0.0
        points, lengths = self._legs
        start, legs = points[:-1], np.diff(points, axis=0)
        offset = np.array([x_m, y_m]) - start
        along = np.clip((offset * legs).sum(axis=1) / (lengths * lengths), 0.0, 1.0)
        apart = np.hypot(*(offset - along[:, None] * legs).T)
        nearest = int(apart.argmin())
        return float(lengths[:nearest].sum() + along[nearest] * lengths[nearest])

    def route_pose(self, distance_m: float) -> tuple[float, float, float]:
        """Point of the route, x m and y m, and its heading there, rad."""
        points, lengths = self._legs
        ends = np.cumsum(lengths)
        leg = min(int(np.searchsorted(ends, distance_m)), len(lengths) - 1)
        unit = (points[leg + 1] - points[leg]) / lengths[leg]
        x, y = points[leg] + (distance_m - ends[leg] + lengths[leg]) * unit
        return float(x), float(y), math.atan2(unit[1], unit[0])

    @cached_property
    def _moving(self) -> Shapes:
        return shapes_of(tuple(mover.shape for mover in self.movers))

    @cached_property
    def _lines(self) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """Of the movers: starts and ways (M, 2), lengths, speeds and phases (M,)."""
        starts = np.array([mover.start for mover in self.movers]).reshape(-1, 2)
        ends = np.array([mover.end for mover in self.movers]).reshape(-1, 2)
        numbers = [(mover.length_m, mover.speed_mps, mover.phase) for mover in self.movers]
        lengths, speeds, phases = np.array(numbers).reshape(-1, 3).T
        return starts, ends - starts, lengths, speeds, phases

    @cached_property
    def _legs(self) -> tuple[Floats, Floats]:
        points = np.array(self.route)
        return points, np.hypot(*np.diff(points, axis=0).T)


def shapes_of(shapes: tuple[Shape, ...]) -> Shapes:
    """Arrays of some shapes, for geometry."""
    given = np.array([shape[1:6] for shape in shapes], dtype=float).reshape(-1, 5)
    is_round = np.array([shape.kind == "cylinder" for shape in shapes], dtype=bool)
    return Shapes(
        centre=given[:, :2],
        axis=np.stack([np.cos(given[:, 2]), np.sin(given[:, 2])], axis=1),
        half=np.where(is_round[:, None], 0.0, given[:, 3:5]),
        radius=np.where(is_round, given[:, 3], 0.0),
    )


def corners(box: Shape) -> Floats:
    """Corners of a box, or of the square around a cylinder: (4, 2), m, anticlockwise."""
    along = np.array([math.cos(box.yaw_rad), math.sin(box.yaw_rad)])
    across = np.array([-along[1], along[0]])
    signs = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
    half = np.array([box.half_x_m, box.half_y_m])
    return np.asarray(np.array([box.x_m, box.y_m]) + (signs * half) @ np.stack([along, across]))
