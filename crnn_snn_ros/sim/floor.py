"""The floor of a course as a grid: where a robot fits, what hangs together, how far the goal is."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.sim.course import Course, Shape, corners, shapes_of
from crnn_snn_ros.sim.geometry import Floats, point_distance

ROBOT_RADIUS_M = 0.18  # courses are made for this one, whatever drives in them later
CELL_M = 0.08
MOST_SHARE = 0.6  # of the free floor of a room must be reached
_STEPS = [(0, 1, 1.0), (1, 0, 1.0), (0, -1, 1.0), (-1, 0, 1.0)]
_STEPS += [(1, 1, 1.4142), (1, -1, 1.4142), (-1, 1, 1.4142), (-1, -1, 1.4142)]


class Floor:
    """Room around the centres of a grid's cells, as obstacles are put down one by one.

    Args:
        course: its walls span the grid; its start, route and goal say what must stay joined.
        margin_m: room beside the robot, left and right, without which there is no way.
    """

    def __init__(self, course: Course, margin_m: float) -> None:
        points = np.concatenate([corners(wall) for wall in course.walls])
        low, high = points.min(axis=0), points.max(axis=0)
        self._low = low
        self._need_m = ROBOT_RADIUS_M + margin_m
        xs, ys = (np.arange(low[i], high[i] + CELL_M, CELL_M) for i in (0, 1))
        self._centres = np.stack(np.meshgrid(xs, ys), axis=-1)  # (rows, columns, 2)
        self.room = np.full(self._centres.shape[:2], np.inf)
        for wall in course.walls:
            self.room = self.room_with(wall)
        self._start = self.cell(course.start[:2])
        self._goal = self.cell(course.route_pose(course.goal_m)[:2]) if course.route else None
        x, y = self._centres[..., 0], self._centres[..., 1]
        low_x, low_y, high_x, high_y = course.bounds
        self._inside = (x > low_x) & (x < high_x) & (y > low_y) & (y < high_y)

    def room_with(self, shape: Shape) -> Floats:
        """Distance of every cell to what is nearest, were ``shape`` there too: (rows, columns)."""
        one = shapes_of((shape,))
        apart = point_distance(self._centres[..., None, :], one)[..., 0]
        return np.asarray(np.minimum(self.room, apart))

    def cells(self, points: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of points (..., 2), m; of the nearest cell where one lies outside."""
        index = np.floor((points - self._low) / CELL_M + 0.5).astype(np.intp)
        rows, columns = self._centres.shape[:2]
        return np.clip(index[..., 1], 0, rows - 1), np.clip(index[..., 0], 0, columns - 1)

    def cell(self, point: tuple[float, float]) -> tuple[int, int]:
        """Row and column of one point, m."""
        row, column = self.cells(np.array(point))
        return int(row), int(column)

    def joined(self, room: Floats) -> bool:
        """Whether the robot gets from the start to the goal, or to most of what is free."""
        free = room > self._need_m
        if not free[self._start]:
            return False
        _, parts = cv2.connectedComponents(free.astype(np.uint8), connectivity=4)
        reached = parts == parts[self._start]
        if self._goal is not None:
            return bool(reached[self._goal])
        return bool(reached.sum() >= MOST_SHARE * (free & self._inside).sum())

    def to_goal(self) -> NDArray[np.float32]:
        """Length of the way to the goal from every cell, m, along which the robot fits.

        Cells where it does not fit, yet may stand, have the length from the nearest free ones and
        twice the way to them; what cannot be reached is infinite.

        Returns:
            (rows, columns); all infinite where the course has no goal.
        """
        far = np.full(self.room.shape, np.inf, np.float32)
        if self._goal is None:
            return far
        far[self._goal] = 0.0
        far = _spread(far, (self.room > self._need_m).astype(np.float32))
        known = np.isfinite(far)
        return _spread(far, np.where(known, 0.0, 0.5).astype(np.float32), most=8)


def _spread(
    far: NDArray[np.float32], pace: NDArray[np.float32], most: int = 10_000
) -> NDArray[np.float32]:
    """Let distances flow to neighbours until they are least; none into cells of pace 0."""
    cost = np.where(pace > 0.0, CELL_M / np.maximum(pace, 1e-6), np.inf).astype(np.float32)
    rows, columns = far.shape
    for _ in range(most):
        padded = np.pad(far, 1, constant_values=np.inf)
        best = far
        for down, right, length in _STEPS:
            near = padded[1 + down : 1 + down + rows, 1 + right : 1 + right + columns]
            best = np.minimum(best, near + np.float32(length) * cost)
        if (best >= far).all():
            break
        far = best
    return far


def furnished(course: Course, margin_m: float) -> Floor:
    """The floor with the course's obstacles on it; movers are left aside."""
    floor = Floor(course, margin_m)
    for obstacle in course.obstacles:
        floor.room = floor.room_with(obstacle)
    return floor


def passable(course: Course, margin_m: float) -> bool:
    """Whether a disc of the robot's radius and a margin gets through, movers left aside.

    In a corridor, from the start to the goal; elsewhere, to most of the floor that is free.
    """
    floor = furnished(course, margin_m)
    return floor.joined(floor.room)
