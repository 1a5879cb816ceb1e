"""Ways to steer, what each would cost, and the choice among them.

A network that is asked for one angle learns the mean of what its teacher did: between the two sides
of an obstacle, straight ahead. One that is asked for the cost of every way may find both sides good
and the middle bad, and the choice is made here, after it.

Ways are in the order in which they lie, from right to left: a turn on the spot to the right;
angles, evenly from the outermost right to the outermost left; a turn on the spot to the left. So
what a mirror shows of them is the reverse.

A network learns not costs but aversions, 0 to 1, on which what is very bad is alike: of most
frames there are ways into a wall, and whether the wall is near or very near is of no use to know.
The scale must not be too small, though, or a way that is fine or terrible, each as likely, would
look better than one that is certainly bad by half.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

ANGLES = 25
WAYS = ANGLES + 2
MOST_RAD = 0.6  # of the angles, either way
SOFTNESS = 0.08  # of the soft minimum of what a network says, in scales
NEIGHBOURS = 3.0  # width of the soft minimum, in angles
SCALE = 2.0  # the cost at which an aversion is 1 - 1 / e
SCALES = {"aversion": 0.5, "aversion-2": SCALE}  # by the unit of a head; the first is of before
_MOST_AVERSION = 0.999  # as far as costs can be told apart

Floats = NDArray[np.float64]

STEERING_RAD: Floats = np.linspace(-MOST_RAD, MOST_RAD, ANGLES)


def choose(aversions: Floats, scale: float = SCALE) -> float:
    """The steering that a network's aversions (WAYS,) speak for, rad, positive to the left.

    Where a turn on the spot is better than all angles, it is the outermost angle to that side; NaN
    where any of them is, so that the control law stops.

    Args:
        aversions: ``1 - exp(-cost / scale)`` of each way.
        scale: of the network.

    Example:
        >>> both_sides = np.full(WAYS, 0.6)
        >>> both_sides[[6, 20]] = 0.05, 0.1
        >>> round(choose(both_sides), 2)
        -0.35
    """
    if np.isnan(aversions).any():
        return math.nan
    costs = -scale * np.log1p(-np.clip(aversions, 0.0, _MOST_AVERSION))
    right, left, angles = costs[0], costs[-1], costs[1:-1]
    if min(right, left) < angles.min():
        return MOST_RAD if left < right else -MOST_RAD
    return soft_minimum(angles, STEERING_RAD, SOFTNESS * scale)


def soft_minimum(costs: Floats, steering_rad: Floats, temperature: float) -> float:
    """The mean of the angles around the best of them, the less a cost the more it weighs.

    Args:
        costs: (n,).
        steering_rad: (n,), the angles, evenly.
        temperature: by how much a cost must be higher to weigh 1 / e: the less surely costs are
            known, the more.
    """
    best = int(costs.argmin())
    near = np.exp(-0.5 * ((np.arange(len(costs)) - best) / NEIGHBOURS) ** 2)
    weights = near * np.exp(-(costs - costs[best]) / temperature)
    return float((weights * steering_rad).sum() / weights.sum())
