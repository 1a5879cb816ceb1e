"""Courses seen from above, as pictures: for reports, and for people who look for what is wrong."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.sim.course import Course, Shape, corners
from crnn_snn_ros.sim.geometry import Floats

Colour = tuple[int, int, int]
_WALL, _OBSTACLE, _MOVER = (70, 70, 70), (60, 100, 170), (200, 60, 40)
_ROUTE, _PATH, _PAPER = (200, 215, 200), (30, 140, 60), 250
_BITS = 4  # of a pixel's fraction that OpenCV draws with
_BORDER_M = 0.3


def draw_map(
    course: Course,
    path: Floats | None = None,
    time_s: float = 0.0,
    robot_radius_m: float = 0.18,
    metre_px: float = 40.0,
) -> NDArray[np.uint8]:
    """The course from above, x to the right and y up, with the way that a robot took.

    Args:
        course: what to draw: walls grey, obstacles blue, movers red with their lines.
        path: (N, 2), m, or None.
        time_s: places the movers.
        robot_radius_m: of the disc at the path's end, or at the start.
        metre_px: scale, pixels to a metre.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    canvas = _Canvas(course.bounds, metre_px)
    if course.route:
        canvas.line(np.array(course.route), _ROUTE, 2)
    for wall in course.walls:
        canvas.shape(wall, _WALL)
    for obstacle in course.obstacles:
        canvas.shape(obstacle, _OBSTACLE)
    for mover in course.movers:
        canvas.line(np.array([mover.start, mover.end]), _MOVER, 1)
        x, y = mover.position(np.asarray(time_s))
        canvas.shape(mover.shape._replace(x_m=float(x), y_m=float(y)), _MOVER)
    x, y, yaw = course.start
    canvas.line(np.array([(x, y), (x + 0.5 * np.cos(yaw), y + 0.5 * np.sin(yaw))]), _PATH, 1)
    if path is not None and len(path):
        canvas.line(path, _PATH, 2)
        x, y = path[-1]
    canvas.disc(np.array([x, y]), robot_radius_m, _PATH, 2)
    return canvas.image


class _Canvas:
    """A picture in metres."""

    def __init__(self, bounds: tuple[float, float, float, float], metre_px: float) -> None:
        low_x, low_y, high_x, high_y = bounds
        self._corner = np.array([low_x - _BORDER_M, high_y + _BORDER_M])
        self._scale = metre_px
        spans = (high_y - low_y + 2 * _BORDER_M, high_x - low_x + 2 * _BORDER_M)
        self.image = np.full((*(int(metre_px * span) for span in spans), 3), _PAPER, np.uint8)

    def line(self, points: Floats, colour: Colour, thickness: int) -> None:
        pixels = [self._pixels(points)]
        cv2.polylines(self.image, pixels, False, colour, thickness, cv2.LINE_AA, _BITS)

    def shape(self, shape: Shape, colour: Colour) -> None:
        if shape.kind == "cylinder":
            self.disc(np.array([shape.x_m, shape.y_m]), shape.half_x_m, colour, cv2.FILLED)
        else:
            cv2.fillPoly(self.image, [self._pixels(corners(shape))], colour, cv2.LINE_AA, _BITS)

    def disc(self, centre: Floats, radius_m: float, colour: Colour, thickness: int) -> None:
        x, y = (int(v) for v in self._pixels(centre))
        radius = round(radius_m * self._scale * 2**_BITS)
        cv2.circle(self.image, (x, y), radius, colour, thickness, cv2.LINE_AA, _BITS)

    def _pixels(self, points: Floats) -> NDArray[np.int32]:
        pixels = (points - self._corner) * (1.0, -1.0) * self._scale
        return np.asarray(pixels * 2**_BITS, np.int32)
