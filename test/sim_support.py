"""What the tests of the simulator share."""

from __future__ import annotations

import numpy as np
import pytest

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.sim.course import Course, Mover, Shape
from crnn_snn_ros.sim.looks import Look
from crnn_snn_ros.sim.scene import Scene


def _why_no_pictures() -> str:
    try:
        Scene(course(), Look.from_seed(0), 8, 8).close()
    except ConfigError as error:
        return str(error)
    return ""


def course(*obstacles: Shape, movers: tuple[Mover, ...] = ()) -> Course:
    """A bare square hall of 10 m with given things in it; the start is its middle, to the east."""
    walls = tuple(
        Shape("box", 5.05 * np.cos(a), 5.05 * np.sin(a), a + np.pi / 2, 5.1, 0.05, 1.0)
        for a in np.arange(4) * np.pi / 2
    )
    bounds = (-5.0, -5.0, 5.0, 5.0)
    return Course("room", 0, walls, obstacles, movers, (0.0, 0.0, 0.0), bounds, (), 30.0)


WHY_NO_PICTURES = _why_no_pictures()
needs_pictures = pytest.mark.skipif(bool(WHY_NO_PICTURES), reason=WHY_NO_PICTURES)
