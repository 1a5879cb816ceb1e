"""Exact plane geometry of upright prisms: distances and rays, vectorised over shapes.

Everything that a robot can touch stands upright on the floor, so contact is a question of the
plane. A shape is a rectangle grown by a radius: a box has radius 0, a cylinder no extent.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_FAR = 1e9


class Shapes(NamedTuple):
    """Many shapes at one moment; arrays of length S."""

    centre: Floats  # (S, 2), m
    axis: Floats  # (S, 2), unit vector of the shape's own x
    half: Floats  # (S, 2), half extents of the rectangle, m
    radius: Floats  # (S,), m

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Shapes:
        """The shapes at ``index``."""
        return Shapes(*(field[index] for field in self))


def local(points: Floats, shapes: Shapes) -> tuple[Floats, Floats]:
    """Coordinates of ``points`` (..., S, 2) or (..., 1, 2) in the frame of each shape."""
    x = points[..., 0] - shapes.centre[:, 0]
    y = points[..., 1] - shapes.centre[:, 1]
    ax, ay = shapes.axis[:, 0], shapes.axis[:, 1]
    return x * ax + y * ay, y * ax - x * ay


def point_distance(points: Floats, shapes: Shapes) -> Floats:
    """Signed distance of points to shapes, negative inside.

    Args:
        points: (..., 1, 2), or (..., S, 2) with one point for each shape.
        shapes: S shapes.

    Returns:
        (..., S), m.
    """
    x, y = local(points, shapes)
    x = np.abs(x) - shapes.half[:, 0]
    y = np.abs(y) - shapes.half[:, 1]
    outside_x, outside_y = np.maximum(x, 0.0), np.maximum(y, 0.0)
    outside = np.sqrt(outside_x * outside_x + outside_y * outside_y)
    return np.asarray(outside + np.minimum(np.maximum(x, y), 0.0) - shapes.radius)


def nearest(points: Floats, shapes: Shapes) -> Floats:
    """Signed distance of points to the nearest of some shapes: the least of ``point_distance``.

    Args:
        points: (N, 2), or (S, N, 2) where each shape has points of its own.
        shapes: S shapes, at least one.

    Returns:
        (N,), m.
    """
    # Shapes come first, so that the least of a few is taken over long rows.
    centre, axis, half, radius = (field[:, None] for field in shapes)
    x, y = points[..., 0] - centre[..., 0], points[..., 1] - centre[..., 1]
    across = np.abs(x * axis[..., 0] + y * axis[..., 1]) - half[..., 0]
    aside = np.abs(y * axis[..., 0] - x * axis[..., 1]) - half[..., 1]
    inside = np.minimum(np.maximum(across, aside), 0.0)
    np.maximum(across, 0.0, out=across)
    np.maximum(aside, 0.0, out=aside)
    across *= across
    aside *= aside
    across += aside
    np.sqrt(across, out=across)
    across += inside
    across -= radius
    return np.asarray(across.min(axis=0))


def segment_distance(start: Floats, end: Floats, shapes: Shapes) -> Floats:
    """Distance between one segment and each shape's border; not above 0 where they overlap.

    Exact where it is positive. The nearest points of a segment and a rectangle that are apart are
    an end of the one, or a corner of the other.

    Args:
        start: (2,), m.
        end: (2,), m.
        shapes: S shapes.

    Returns:
        (S,), m; where they overlap, some value <= 0.
    """
    ends = point_distance(start[None], shapes)
    if (start == end).all():
        return ends
    ends = np.minimum(ends, point_distance(end[None], shapes))
    ax, ay = local(start[None], shapes)
    bx, by = local(end[None], shapes)
    crossing = _crosses(ax, ay, bx - ax, by - ay, shapes.half)
    corners = np.full(len(ax), _FAR)
    length2 = np.maximum((bx - ax) ** 2 + (by - ay) ** 2, 1e-18)
    for sx, sy in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        cx, cy = sx * shapes.half[:, 0], sy * shapes.half[:, 1]
        along = np.clip(((cx - ax) * (bx - ax) + (cy - ay) * (by - ay)) / length2, 0.0, 1.0)
        apart = np.hypot(ax + along * (bx - ax) - cx, ay + along * (by - ay) - cy)
        corners = np.minimum(corners, apart - shapes.radius)
    return np.where(crossing, np.minimum(ends, -shapes.radius), np.minimum(ends, corners))


def _crosses(ax: Floats, ay: Floats, dx: Floats, dy: Floats, half: Floats) -> NDArray[np.bool_]:
    """Whether the segment a + u d, 0 <= u <= 1, meets the rectangle +-half."""
    near, far = _slabs(ax, ay, dx, dy, half)
    return np.asarray((near <= far) & (near <= 1.0) & (far >= 0.0))


def _slabs(ax: Floats, ay: Floats, dx: Floats, dy: Floats, half: Floats) -> tuple[Floats, Floats]:
    """Parameters at which the line a + u d enters and leaves the rectangle +-half."""
    # A direction along a side would divide by zero; so small a tilt changes no distance.
    dx = np.where(np.abs(dx) < 1e-12, 1e-12, dx)
    dy = np.where(np.abs(dy) < 1e-12, 1e-12, dy)
    reach_x, reach_y = half[:, 0] / np.abs(dx), half[:, 1] / np.abs(dy)
    middle_x, middle_y = -ax / dx, -ay / dy
    near = np.maximum(middle_x - reach_x, middle_y - reach_y)
    far = np.minimum(middle_x + reach_x, middle_y + reach_y)
    return near, far


def cast(origin: Floats, angles: Floats, shapes: Shapes, reach_m: float) -> tuple[Floats, Floats]:
    """Distance along rays to the first shape that each one meets.

    Args:
        origin: (2,), m; outside of every shape.
        angles: (R,), rad, in the world's frame.
        shapes: S shapes, each a box or a cylinder (not a rounded box).
        reach_m: what is further away is not seen.

    Returns:
        (R,) distance, at most ``reach_m``; (S,) whether some ray ends at the shape, as 0.0 or 1.0.
    """
    count = len(shapes.radius)
    seen = np.zeros(count)
    ranges = np.full(len(angles), reach_m)
    near_enough = np.flatnonzero(point_distance(origin[None], shapes) < reach_m)
    if not len(near_enough):
        return ranges, seen
    close = shapes.take(near_enough)
    hits = _hits(origin, angles, close)
    first = hits.argmin(axis=1)
    distance = hits[np.arange(len(angles)), first]
    hit = distance < reach_m
    seen[near_enough[first[hit]]] = 1.0
    return np.where(hit, distance, reach_m), seen


def _hits(origin: Floats, angles: Floats, shapes: Shapes) -> Floats:
    """(R, S) distance of the first crossing, or a huge number."""
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    round_ones = shapes.radius > 0.0
    hits = np.full((len(angles), len(round_ones)), _FAR)
    boxes, discs = shapes.take(~round_ones), shapes.take(round_ones)
    if len(boxes.radius):
        x, y = local(origin[None], boxes)
        ax, ay = boxes.axis[:, 0], boxes.axis[:, 1]
        near, far = _slabs(x, y, cos * ax + sin * ay, sin * ax - cos * ay, boxes.half)
        hits[:, ~round_ones] = np.where((near <= far) & (far >= 0.0), np.maximum(near, 0.0), _FAR)
    if len(discs.radius):
        to_x, to_y = (discs.centre - origin).T
        along = cos * to_x + sin * to_y
        inside = discs.radius**2 - (to_x**2 + to_y**2 - along**2)
        near = along - np.sqrt(np.maximum(inside, 0.0))
        hits[:, round_ones] = np.where((inside >= 0.0) & (along > 0.0), np.maximum(near, 0), _FAR)
    return hits
