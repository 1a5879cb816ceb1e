"""How a robot has moved, by its own odometry: for a node whose commands do not drive it.

Pure: what was heard so far is an argument and a result. Where no odometry reaches up to a frame the
way is not known, which is not the same as none.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

from crnn_snn_ros.core.types import Moved

KEPT_NS = 2_000_000_000  # of what was heard, back from the newest
BEYOND_NS = 200_000_000  # the speeds of the nearest place hold for as long before and after it


class Place(NamedTuple):
    """Where a robot is, at one time (REP-103, REP-105: of ``odom``)."""

    stamp_ns: int
    x_m: float
    y_m: float
    yaw_rad: float  # positive to the left, any number of turns
    speed_mps: float
    rate_radps: float


Places = tuple[Place, ...]  # by time, the oldest first


def heard(before: Places, place: Place) -> Places:
    """What is known after one more place.

    One that is not finite, or has no stamp, is left out; after one whose stamp goes back all begins
    anew.
    """
    if place.stamp_ns <= 0 or not all(map(math.isfinite, place[1:])):
        return before
    if before and place.stamp_ns <= before[-1].stamp_ns:
        return before if place.stamp_ns == before[-1].stamp_ns else (place,)
    oldest_ns = place.stamp_ns - KEPT_NS
    return (*(one for one in before if one.stamp_ns >= oldest_ns), place)


def moved(places: Places, from_ns: int, to_ns: int) -> Moved | None:
    """The way between two times, within half a turn to either side; None where it is not known.

    Example:
        >>> said = heard((), Place(100, 0.0, 0.0, 3.0, 0.0, 0.0))
        >>> said = heard(said, Place(200, 0.0, 0.0, -3.0, 0.0, 0.0))
        >>> round(moved(said, 100, 150).turned_rad, 3), moved(said, 100, 10**9)
        (0.142, None)
    """
    first, last = _at(places, from_ns), _at(places, to_ns)
    if first is None or last is None:
        return None
    way = Moved.between(first[1:4], last[1:4])
    return way._replace(turned_rad=_within_half_a_turn(way.turned_rad))


def _at(places: Places, at_ns: int) -> Place | None:
    """Between two places the straight way, and the shorter turn, from one to the other, evenly."""
    for one, other in pairwise(places):
        if one.stamp_ns <= at_ns <= other.stamp_ns:
            share = (at_ns - one.stamp_ns) / (other.stamp_ns - one.stamp_ns)
            return one._replace(
                x_m=one.x_m + share * (other.x_m - one.x_m),
                y_m=one.y_m + share * (other.y_m - one.y_m),
                yaw_rad=one.yaw_rad + share * _within_half_a_turn(other.yaw_rad - one.yaw_rad),
            )
    for one in places[:1] + places[-1:]:
        if abs(at_ns - one.stamp_ns) <= BEYOND_NS:
            since_s = 1e-9 * (at_ns - one.stamp_ns)
            return one._replace(
                x_m=one.x_m + one.speed_mps * since_s * math.cos(one.yaw_rad),
                y_m=one.y_m + one.speed_mps * since_s * math.sin(one.yaw_rad),
                yaw_rad=one.yaw_rad + one.rate_radps * since_s,
            )
    return None


def _within_half_a_turn(angle_rad: float) -> float:
    return math.remainder(angle_rad, 2.0 * math.pi)
