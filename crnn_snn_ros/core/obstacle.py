"""A collision that is foreseen -> points where it would be, for costmaps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SPACING_M = 0.05  # of the points; a costmap's usual resolution
HEIGHT_M = 0.2  # above the ground, so that no layer takes them for it


def arc(distance_m: float, half_angle_rad: float) -> NDArray[np.float32]:
    """Points on a circle around the robot's base, ahead of it.

    The camera says that something is in the way, not where; this is a wall at the distance that it
    was told to look out for.

    Args:
        distance_m: radius.
        half_angle_rad: how far it reaches to either side of straight ahead.

    Returns:
        float32 (N, 3): x ahead, y left, z up, m (REP-103); at most ``SPACING_M`` apart.

    Example:
        >>> arc(1.0, 0.5).shape
        (21, 3)
    """
    count = 1 + int(np.ceil(2.0 * half_angle_rad * distance_m / SPACING_M))
    angles = np.linspace(-half_angle_rad, half_angle_rad, count)
    height = np.full(count, HEIGHT_M)
    points = np.stack([distance_m * np.cos(angles), distance_m * np.sin(angles), height], axis=1)
    return points.astype(np.float32)
