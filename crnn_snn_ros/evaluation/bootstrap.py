"""Confidence intervals by the block bootstrap.

Neighbouring frames say nearly the same, so frames must not be drawn one by one: segments of some
seconds are drawn whole, with replacement, and every figure is taken of each such draw.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.evaluation.recording import Floats

SEGMENT_S = (1.0, 5.0)  # shortest and longest; between them, a twentieth of all there is
FEWEST_SEGMENTS = 5  # of fewer, an interval would be a pretence
RESAMPLES = 200
Key = TypeVar("Key", bound=Hashable)


def segment_length_s(time_s: Floats) -> float:
    """How long segments should be, so that there are some and each outlasts the memory of a drive.

    Example:
        >>> segment_length_s(np.array([0.0, 7.5])), segment_length_s(np.array([0.0, 600.0]))
        (1.0, 5.0)
    """
    return float(np.clip((time_s[-1] - time_s[0]) / 20.0, *SEGMENT_S))


def segments(time_s: Floats, drive: NDArray[Any], length_s: float) -> NDArray[np.int64]:
    """Number of each frame's segment: stretches of ``length_s`` within a drive, (n,).

    Example:
        >>> segments(np.array([0.0, 3.0, 6.0, 7.0]), np.array([0, 0, 0, 1]), 5.0)
        array([0, 0, 1, 2])
    """
    begins = time_s[np.searchsorted(drive, drive)]  # of each frame's drive
    stretch = np.floor((time_s - begins) / length_s).astype(np.int64)
    changes = (np.diff(stretch, prepend=0) != 0) | (np.diff(drive, prepend=drive[:1]) != 0)
    return np.asarray(np.cumsum(changes), np.int64)


def resampled_weights(segment: NDArray[np.int64], resamples: int, seed: int) -> Iterator[Floats]:
    """How often each frame is drawn, (n,), for each resample."""
    count = int(segment[-1]) + 1 if len(segment) else 0
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn = np.bincount(rng.integers(count, size=count), minlength=count)
        yield drawn[segment].astype(np.float64)


def intervals(
    figures: Mapping[Key, Callable[[Floats], float | None]],
    segment: NDArray[np.int64],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[Key, list[float] | None]:
    """95 % percentile intervals of some figures, all of the same draws.

    Args:
        figures: Each a function of the frames' weights, (n,); None where it is undefined.
        segment: Number of each frame's segment, (n,), not falling.
        resamples: How many draws; 0 gives no interval.
        seed: Of the draws.

    Returns:
        Both ends; None where there are fewer than ``FEWEST_SEGMENTS``, or where the figure was
        undefined in more than half of the draws.
    """
    if not len(segment) or segment[-1] + 1 < FEWEST_SEGMENTS or not resamples:
        return dict.fromkeys(figures)
    found: dict[Key, list[float]] = {name: [] for name in figures}
    for weight in resampled_weights(segment, resamples, seed):
        for name, figure in figures.items():
            value = figure(weight)
            if value is not None:
                found[name].append(value)
    return {
        name: [float(end) for end in np.percentile(values, [2.5, 97.5])]
        if len(values) > resamples / 2
        else None
        for name, values in found.items()
    }
