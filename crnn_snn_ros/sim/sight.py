"""What somebody who looks ahead has in view, or had not long ago."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.sim.geometry import Floats, Shapes, cast

_RAYS = 91


class Sight:
    """Sight of a limited field, with a memory of its own.

    A teacher that sees all around gives labels that no camera could know: imitated, they are noise.

    Args:
        field_rad: what is in view, symmetric about straight ahead.
        memory_s: for how long what stood there stays in mind.
        mover_memory_s: for how long something that moved does.
    """

    def __init__(
        self, field_rad: float = math.pi / 2, memory_s: float = 2.0, mover_memory_s: float = 1.0
    ) -> None:
        self._angles = np.linspace(-field_rad / 2, field_rad / 2, _RAYS)
        self._memory_s, self._mover_memory_s = memory_s, mover_memory_s
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._seen_s = np.zeros(0)  # when each shape was in view the last time

    def look(
        self,
        origin: Floats,
        yaw_rad: float,
        shapes: Shapes,
        fixed: int,
        time_s: float,
        reach_m: float,
    ) -> NDArray[np.bool_]:
        """Look once, and say what is in mind.

        Args:
            origin: (2,), m.
            yaw_rad: of straight ahead.
            shapes: all S shapes as they are now, always in the same order.
            fixed: how many of them stand; the rest move.
            time_s: now; not before the last look.
            reach_m: of sight.

        Returns:
            (S,): what is in view, or still in mind.
        """
        if not len(self._seen_s):
            self._seen_s = np.full(len(shapes.radius), -math.inf)
        in_view = cast(origin, yaw_rad + self._angles, shapes, reach_m)[1] > 0.0
        self._seen_s[in_view] = time_s
        memory_s = np.full(len(in_view), self._mover_memory_s)
        memory_s[:fixed] = self._memory_s
        return np.asarray(self._seen_s >= time_s - memory_s)
