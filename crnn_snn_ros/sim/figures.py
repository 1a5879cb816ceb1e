"""Figures of simulated runs, each with a 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.sim.simulator import CONTACT, TIMEOUT
from crnn_snn_ros.sim.suites import Outcome


class Summary(NamedTuple):
    """Figures of a suite; a pair ``*_ci95`` is a 95 % interval."""

    courses: int
    success: float
    success_ci95: tuple[float, float]  # Wilson
    collisions: int
    collisions_per_km: float
    collisions_per_km_ci95: tuple[float, float]  # Byar's approximation to Poisson's
    mean_speed: float  # m/s, distance over time of all runs together
    mean_speed_ci95: tuple[float, float]  # normal, over courses
    timeouts: float
    timeouts_ci95: tuple[float, float]  # Wilson


def summarize(outcomes: Sequence[Outcome]) -> Summary:
    """Figures of some runs.

    Raises:
        ConfigError: there are none.
    """
    if not outcomes:
        raise ConfigError("no course was driven, so there is nothing to summarize")
    count = len(outcomes)
    succeeded = sum(outcome.succeeded for outcome in outcomes)
    hits = sum(outcome.finished == CONTACT for outcome in outcomes)
    late = sum(outcome.finished == TIMEOUT for outcome in outcomes)
    distance = sum(outcome.distance_m for outcome in outcomes)
    time_s = sum(outcome.time_s for outcome in outcomes)
    speed = distance / time_s
    # Of a ratio of sums: each course counts by its time.
    residuals = [outcome.distance_m - speed * outcome.time_s for outcome in outcomes]
    spread = 1.96 * math.sqrt(sum(r * r for r in residuals)) / time_s
    low, high = byar(hits)
    per_km = 1000.0 / max(distance, 1e-9)
    return Summary(
        count,
        succeeded / count,
        wilson(succeeded, count),
        hits,
        hits * per_km,
        (low * per_km, high * per_km),
        speed,
        (speed - spread, speed + spread),
        late / count,
        wilson(late, count),
    )


def wilson(successes: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval of a proportion.

    Example:
        >>> [round(end, 3) for end in wilson(98, 100)]
        [0.93, 0.994]
    """
    share = successes / count
    middle = share + z * z / (2 * count)
    reach = z * math.sqrt(share * (1.0 - share) / count + z * z / (4 * count * count))
    whole = 1.0 + z * z / count
    return max((middle - reach) / whole, 0.0), min((middle + reach) / whole, 1.0)


def byar(events: int, z: float = 1.96) -> tuple[float, float]:
    """Byar's approximation to the exact interval of a Poisson count."""
    low = 0.0
    if events:
        low = events * (1.0 - 1.0 / (9 * events) - z / (3 * math.sqrt(events))) ** 3
    more = events + 1
    return max(low, 0.0), more * (1.0 - 1.0 / (9 * more) + z / (3 * math.sqrt(more))) ** 3
