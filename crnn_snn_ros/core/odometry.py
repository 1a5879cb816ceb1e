"""How far a robot has turned, by its own odometry: for a node whose commands do not drive it.

Pure: what was heard so far is an argument and a result. Where no odometry reaches up to a frame the
turn is not known, which is not the same as none.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

KEPT_NS = 2_000_000_000  # of what was heard, back from the newest
BEYOND_NS = 200_000_000  # the rate of the nearest heading holds for as long before and after it


class Heading(NamedTuple):
    """Where a robot looks, at one time."""

    stamp_ns: int
    yaw_rad: float  # positive to the left (REP-103), any number of turns
    rate_radps: float


Headings = tuple[Heading, ...]  # by time, the oldest first


def heard(before: Headings, heading: Heading) -> Headings:
    """What is known after one more heading.

    One that is not finite, or has no stamp, is left out; after one whose stamp goes back all begins
    anew.
    """
    if heading.stamp_ns <= 0 or not all(map(math.isfinite, heading[1:])):
        return before
    if before and heading.stamp_ns <= before[-1].stamp_ns:
        return before if heading.stamp_ns == before[-1].stamp_ns else (heading,)
    oldest_ns = heading.stamp_ns - KEPT_NS
    return (*(one for one in before if one.stamp_ns >= oldest_ns), heading)


def turned_rad(headings: Headings, from_ns: int, to_ns: int) -> float | None:
    """The turn between two times, within half a turn to either side; None where it is not known.

    Example:
        >>> said = heard(heard((), Heading(100, 3.0, 0.0)), Heading(200, -3.0, 0.0))
        >>> round(turned_rad(said, 100, 150), 3), turned_rad(said, 100, 10**9)
        (0.142, None)
    """
    first, last = _yaw_rad(headings, from_ns), _yaw_rad(headings, to_ns)
    return None if first is None or last is None else _within_half_a_turn(last - first)


def _yaw_rad(headings: Headings, at_ns: int) -> float | None:
    """Between two headings the shorter way from one to the other, at an even rate."""
    for one, other in pairwise(headings):
        if one.stamp_ns <= at_ns <= other.stamp_ns:
            share = (at_ns - one.stamp_ns) / (other.stamp_ns - one.stamp_ns)
            return one.yaw_rad + share * _within_half_a_turn(other.yaw_rad - one.yaw_rad)
    for one in headings[:1] + headings[-1:]:
        if abs(at_ns - one.stamp_ns) <= BEYOND_NS:
            return one.yaw_rad + one.rate_radps * 1e-9 * (at_ns - one.stamp_ns)
    return None


def _within_half_a_turn(angle_rad: float) -> float:
    return math.remainder(angle_rad, 2.0 * math.pi)
