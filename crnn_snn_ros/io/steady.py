"""What a camera saw before, as it would have seen it from where it is now.

A robot that moves moves the whole picture, and what moves by itself is lost in that. Of a turn one
knows where everything was; of a drive only what is on the floor, or far away: what stands on the
floor keeps its foot, and leans.

Picture geometry in float64, pixels in integers, so the same drive gives the same input everywhere.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.mount import CameraMount
from crnn_snn_ros.core.types import Moved

AHEAD_M = 0.1  # of the camera before the middle of the axle, about which the robot turns
_BITS = 5  # a place on the floor is rounded to a 32nd of a pixel
_PARTS = 1 << _BITS
_BEHIND = 1e-3  # not in front of the camera, nearly

Grey = NDArray[np.int16]  # (height, width)
Floats = NDArray[np.float64]


class Pinhole(NamedTuple):
    """A picture (height, width) that may be cut, and scaled otherwise across than along."""

    size: tuple[int, int]
    focal_px: tuple[float, float]  # down, across
    middle_px: tuple[float, float]  # row and column of the optical axis


def change_by_turn(now: Grey, before: Grey, turned_rad: float, camera: Pinhole) -> Grey:
    """What has changed but for a turn; 0 where nothing was seen.

    A turn of a camera that looks straight ahead moves the columns of its picture: a pinhole at
    ``u`` focal lengths from the middle sees what was at ``(u - t) / (1 + u t)``, ``t`` the tangent
    of the turn. The pitch is left aside.
    """
    width = camera.size[1]
    if not abs(turned_rad) < math.pi / 2:
        return np.zeros_like(now)
    middle, focal = camera.middle_px[1], camera.focal_px[1]
    u, t = (np.arange(width) - middle) / focal, math.tan(turned_rad)
    ahead = 1.0 + u * t  # of the camera that was; below 0 it is behind
    place = middle + focal * (u - t) / np.where(ahead > 0.0, ahead, 1.0)
    column = np.floor(np.clip(place, -1.0, width) + 0.5).astype(np.intp)
    known = (ahead > 0.0) & (column >= 0) & (column < width)
    was = before[:, np.clip(column, 0, width - 1)]
    return np.where(known, now - was, np.int16(0))


def change_on_floor(
    now: Grey, before: Grey, moved: Moved, mount: CameraMount, camera: Pinhole
) -> Grey:
    """What has changed of a picture that shows a floor below the horizon, and far things above.

    0 where nothing was seen. What lies on the floor, and the foot of what stands there, is where it
    was; what moves by itself is not. (The homography that a plane induces between two views: R.
    Hartley and A. Zisserman, Multiple View Geometry, 13.1.)
    """
    height, width = camera.size
    rows, columns = _were(moved, mount, camera)
    known = (rows >= 0) & (rows <= _PARTS * (height - 1))
    known &= (columns >= 0) & (columns <= _PARTS * (width - 1))
    rows, columns = np.where(known, rows, 0), np.where(known, columns, 0)
    down, aside = rows & (_PARTS - 1), columns & (_PARTS - 1)
    # One row and column more, of weight 0, so that every pixel has one below and one beside it.
    grey = np.zeros((height + 1, width + 1), np.int32)
    grey[:-1, :-1] = before
    place = (rows >> _BITS) * (width + 1) + (columns >> _BITS)
    one, beside, below, across = (grey.take(place + k) for k in (0, 1, width + 1, width + 2))
    upper = one * _PARTS + aside * (beside - one)
    lower = below * _PARTS + aside * (across - below)
    was = (upper * _PARTS + down * (lower - upper) + _PARTS * _PARTS // 2) >> (2 * _BITS)
    return np.where(known, now - was, 0).astype(np.int16)


def _were(
    moved: Moved, mount: CameraMount, camera: Pinhole
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Row and column before of what is on the floor, or far away; in parts of a pixel."""
    ahead, left, down = _rays(mount.pitch_rad, camera)
    turn_cos, turn_sin = math.cos(moved.turned_rad), math.sin(moved.turned_rad)
    # The camera's own way: it turns about the axle. In lengths of a ray that goes down by 1.
    far = np.maximum(down, 0.0) / mount.height_m
    ahead_m = moved.ahead_m + AHEAD_M * (turn_cos - 1.0)
    left_m = moved.left_m + AHEAD_M * turn_sin
    was_ahead = turn_cos * ahead - turn_sin * left + far * ahead_m
    was_left = turn_sin * ahead + turn_cos * left + far * left_m
    sin, cos = math.sin(mount.pitch_rad), math.cos(mount.pitch_rad)
    depth = was_ahead * cos + down * sin
    seen = depth > _BEHIND
    depth = np.where(seen, depth, 1.0)
    focal, middle = camera.focal_px, camera.middle_px
    row = middle[0] + focal[0] * (down * cos - was_ahead * sin) / depth
    column = middle[1] - focal[1] * was_left / depth
    return _parts(row, seen, camera.size[0]), _parts(column, seen, camera.size[1])


def _parts(place: Floats, seen: NDArray[np.bool_], size: int) -> NDArray[np.int32]:
    inside = np.where(seen, np.clip(place, -1.0, size), -1.0)
    return np.floor(_PARTS * inside + 0.5).astype(np.int32)


def _rays(pitch_rad: float, camera: Pinhole) -> tuple[Floats, Floats, Floats]:
    """Of every pixel, in the robot's axes: ahead (height, 1), left (width,), down (height, 1)."""
    row, column = (
        np.asarray((np.arange(size) - middle) / focal, np.float64)
        for size, middle, focal in zip(camera.size, camera.middle_px, camera.focal_px, strict=True)
    )
    sin, cos = math.sin(pitch_rad), math.cos(pitch_rad)
    return (cos - row * sin)[:, None], -column, (sin + row * cos)[:, None]
