"""Stretches of labels that a person should look at before believing them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.data.labels.tube import Floats

FLICKER_S, FLICKERS = 1.0, 4  # changes within so long
LONG_S = 10.0  # in collision without a pause: the robot's own body, or a wrong mount
SILENT_S = 1.0  # without any label
JUMP_S = 0.7  # seconds to contact that are gained or lost beyond the time that passed


class Suspicion(NamedTuple):
    """A stretch of frames, and what is odd about it."""

    begin: int
    end: int  # inclusive
    why: str


def suspicions(stamps_ns: NDArray[np.int64], collision: Floats, seconds: Floats) -> list[Suspicion]:
    """What is odd about the labels of one rule.

    Args:
        stamps_ns: (n,) of the frames.
        collision: (n,), 0..1, NaN where there is no label.
        seconds: (n,) to contact; inf: none, NaN: unknown.
    """
    if not len(stamps_ns):
        return []
    time_s = (stamps_ns - stamps_ns[0]) * 1e-9
    flickers = list(_flickers(time_s, collision))
    return sorted(
        [
            *_runs(time_s, np.isnan(collision), SILENT_S, "no label for {:.1f} s"),
            *_runs(time_s, collision > 0.5, LONG_S, "in collision for {:.1f} s"),
            *flickers,
            *_lone(collision, flickers),
            *_jumps(time_s, seconds),
        ]
    )


def _runs(
    time_s: Floats, flags: NDArray[np.bool_], longest_s: float, why: str
) -> Iterator[Suspicion]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    for begin, end in zip(edges[::2], edges[1::2] - 1, strict=True):
        if (lasts := float(time_s[end] - time_s[begin])) > longest_s:
            yield Suspicion(int(begin), int(end), why.format(lasts))


def _flickers(time_s: Floats, collision: Floats) -> Iterator[Suspicion]:
    """Merged windows in which the label changes too often."""
    known = np.flatnonzero(~np.isnan(collision))
    positive = collision[known] > 0.5
    changes = known[1:][np.diff(positive.astype(np.int8)) != 0]
    at = 0
    while at + FLICKERS <= len(changes):
        last = at + FLICKERS - 1
        if time_s[changes[last]] - time_s[changes[at]] > FLICKER_S:
            at += 1
            continue
        while last + 1 < len(changes) and time_s[changes[last + 1]] - time_s[changes[last]] < 0.5:
            last += 1
        count = last - at + 1
        yield Suspicion(int(changes[at]), int(changes[last]), f"changes {count} times")
        at = last + 1


def _lone(collision: Floats, flickers: list[Suspicion]) -> Iterator[Suspicion]:
    """One frame that differs from its neighbours, where nothing flickers."""
    odd = (collision[1:-1] > 0.5) & (collision[:-2] <= 0.5) & (collision[2:] <= 0.5)
    for at in np.flatnonzero(odd) + 1:
        if not any(flicker.begin <= at <= flicker.end for flicker in flickers):
            yield Suspicion(int(at), int(at), "a collision for one frame only")


def _jumps(time_s: Floats, seconds: Floats) -> Iterator[Suspicion]:
    """Time to contact runs down by one second a second, or the way changed; not by leaps."""
    both = np.isfinite(seconds[1:]) & np.isfinite(seconds[:-1])
    with np.errstate(invalid="ignore"):
        leap = np.abs(np.diff(seconds) + np.diff(time_s))
    for at in np.flatnonzero(both & (leap > JUMP_S)):
        said = f"time to contact leaps from {seconds[at]:.1f} to {seconds[at + 1]:.1f} s"
        yield Suspicion(int(at), int(at) + 1, said)
