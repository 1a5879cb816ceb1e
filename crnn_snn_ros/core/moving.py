"""How far a robot has moved, by what it was told: no sensor is asked.

A base follows its command with a lag. What is known of the command is known of every robot that a
network drives, and in every recording of ``/cmd_vel``. How near that comes to what the base of the
simulator does: docs/data.md.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from crnn_snn_ros.core.types import STOP, Command, Moved

LAG_S = 0.08  # time constant from a command to the wheels, as of a small base


class Moving(NamedTuple):
    """A way from one frame to the next."""

    moved: Moved = Moved()
    rate_radps: float = 0.0  # at its end
    speed_mps: float = 0.0  # at its end


STILL = Moving()


def move(before: Moving, told: Command, dt_s: float) -> Moving:
    """The way after another one.

    Args:
        before: the one before.
        told: what the base was told in the meantime; what is not finite is a stop.
        dt_s: how long it took.

    Example:
        >>> round(move(STILL, Command(0.5, 1.0), 10.0).rate_radps, 3)
        1.0
    """
    linear, angular = told if all(map(math.isfinite, told)) else STOP
    gain = -math.expm1(-dt_s / LAG_S)
    rate = before.rate_radps + gain * (angular - before.rate_radps)
    speed = before.speed_mps + gain * (linear - before.speed_mps)
    turned = 0.5 * (before.rate_radps + rate) * dt_s
    chord = 0.5 * (before.speed_mps + speed) * dt_s
    return Moving(
        Moved(turned, chord * math.cos(turned / 2), chord * math.sin(turned / 2)), rate, speed
    )
