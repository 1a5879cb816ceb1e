"""Courses seen from above, as pictures: for reports, and for people who look for what is wrong."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.sim.course import Course
from crnn_snn_ros.sim.geometry import Floats, Shapes

_WALL, _OBSTACLE, _MOVER = (70, 70, 70), (60, 100, 170), (200, 60, 40)
_ROUTE, _PATH = (200, 215, 200), (30, 140, 60)
_FRACTION = 4  # bits of a pixel that OpenCV draws with


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
    low_x, low_y, high_x, high_y = course.bounds
    width, height = (int(metre_px * (span + 0.6)) for span in (high_x - low_x, high_y - low_y))
    image = np.full((height, width, 3), 250, np.uint8)

    def pixels(points: Floats) -> NDArray[np.int32]:
        flipped = np.stack([points[..., 0] - low_x + 0.3, high_y + 0.3 - points[..., 1]], axis=-1)
        return np.asarray(flipped * metre_px * 2**_FRACTION, np.int32)

    def line(points: Floats, colour: tuple[int, int, int], thickness: int) -> None:
        cv2.polylines(image, [pixels(points)], False, colour, thickness, cv2.LINE_AA, _FRACTION)

    if course.route:
        line(np.array(course.route), _ROUTE, 2)
    for mover in course.movers:
        line(np.array([mover.start, mover.end]), _MOVER, 1)
    shapes = course.at(time_s)
    kinds = [_WALL] * len(course.walls) + [_OBSTACLE] * len(course.obstacles)
    for number in range(len(shapes.radius)):
        colour = kinds[number] if number < len(kinds) else _MOVER
        _fill(image, shapes.take(np.array([number])), colour, pixels, metre_px)
    x, y, yaw = course.start
    line(np.array([(x, y), (x + 0.5 * np.cos(yaw), y + 0.5 * np.sin(yaw))]), _PATH, 1)
    if path is not None and len(path):
        line(path, _PATH, 2)
        x, y = path[-1]
    radius = round(robot_radius_m * metre_px * 2**_FRACTION)
    centre = tuple(int(v) for v in pixels(np.array([x, y])))
    cv2.circle(image, centre, radius, _PATH, 2, cv2.LINE_AA, _FRACTION)
    return image


def _fill(
    image: NDArray[np.uint8],
    one: Shapes,
    colour: tuple[int, int, int],
    pixels: Callable[[Floats], NDArray[np.int32]],
    metre_px: float,
) -> None:
    if one.radius[0] > 0.0:
        centre = tuple(int(v) for v in pixels(one.centre[0]))
        radius = round(float(one.radius[0]) * metre_px * 2**_FRACTION)
        cv2.circle(image, centre, radius, colour, -1, cv2.LINE_AA, _FRACTION)
        return
    signs = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
    across = np.array([-one.axis[0, 1], one.axis[0, 0]])
    corners = one.centre + (signs * one.half) @ np.stack([one.axis[0], across])
    cv2.fillPoly(image, [pixels(corners)], colour, cv2.LINE_AA, _FRACTION)
