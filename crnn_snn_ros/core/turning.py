"""How far a robot has turned, by what it was told: no sensor is asked.

A base follows its command with a lag. What is known of the command is known of every robot that a
network drives, and in every recording of ``/cmd_vel``. How near that comes to what the base of the
simulator does: docs/data.md.
"""

from __future__ import annotations

import math
from typing import NamedTuple

LAG_S = 0.08  # time constant from a command to the wheels, as of a small base


class Turning(NamedTuple):
    """A turn from one frame to the next."""

    turned_rad: float = 0.0  # positive to the left (REP-103)
    rate_radps: float = 0.0  # at its end


STILL = Turning()


def turn(before: Turning, told_radps: float, dt_s: float) -> Turning:
    """The turn after another one.

    Args:
        before: the one before.
        told_radps: yaw rate that the base was told in the meantime; what is not finite is a stop.
        dt_s: how long it took.

    Example:
        >>> round(turn(STILL, 1.0, 10.0).rate_radps, 3)
        1.0
    """
    told = told_radps if math.isfinite(told_radps) else 0.0
    gain = -math.expm1(-dt_s / LAG_S)
    rate = before.rate_radps + gain * (told - before.rate_radps)
    return Turning(0.5 * (before.rate_radps + rate) * dt_s, rate)
