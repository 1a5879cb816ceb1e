"""How well the frames of the last seconds were answered, for diagnostics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

WINDOW_NS = 10_000_000_000
MAX_SAMPLES = 2048  # so that memory stays bounded at any frame rate


class Sample(NamedTuple):
    """One answered frame."""

    answered_ns: int  # steady clock
    latency_ns: int  # from the arrival of the frame to its command
    settle_steps: int
    spikes: int


class Health(NamedTuple):
    """Figures over the window; all zero where no frame was answered in it."""

    frames: int
    rate_hz: float
    latency_p50_ms: float
    latency_p99_ms: float
    settle_steps_mean: float
    settle_steps_max: int
    spikes_mean: float


def keep(samples: Sequence[Sample], sample: Sample) -> list[Sample]:
    """Samples of the window that ends with ``sample``, at most ``MAX_SAMPLES``, oldest first."""
    since = sample.answered_ns - WINDOW_NS
    recent = [s for s in samples[-MAX_SAMPLES + 1 :] if s.answered_ns > since]
    return [*recent, sample]


def health(samples: Sequence[Sample], now_ns: int) -> Health:
    """Figures over the samples of the window that ends now.

    Example:
        >>> two = [Sample(0, 4_000_000, 7, 900), Sample(100_000_000, 6_000_000, 9, 1100)]
        >>> health(two, now_ns=100_000_000)[:3]
        (2, 10.0, 5.0)
    """
    recent = [s for s in samples if s.answered_ns > now_ns - WINDOW_NS]
    if not recent:
        return Health(0, 0.0, 0.0, 0.0, 0.0, 0, 0.0)
    latency_ms = np.array([s.latency_ns for s in recent]) / 1e6
    steps = [s.settle_steps for s in recent]
    return Health(
        frames=len(recent),
        rate_hz=rate_hz([s.answered_ns for s in recent], now_ns),
        latency_p50_ms=float(np.percentile(latency_ms, 50)),
        latency_p99_ms=float(np.percentile(latency_ms, 99)),
        settle_steps_mean=float(np.mean(steps)),
        settle_steps_max=max(steps),
        spikes_mean=float(np.mean([s.spikes for s in recent])),
    )


def rate_hz(times_ns: Sequence[int], now_ns: int) -> float:
    """Events per second in the window that ends now; 0 where there are not two.

    Example:
        >>> rate_hz([0, 100_000_000, 200_000_000], now_ns=200_000_000)
        10.0
    """
    recent = [time_ns for time_ns in times_ns if time_ns > now_ns - WINDOW_NS]
    # Until now, not until the last one: the rate falls when nothing comes any more.
    span_s = (now_ns - recent[0]) / 1e9 if recent else 0.0
    return (len(recent) - 1) / span_s if span_s > 0 else 0.0
