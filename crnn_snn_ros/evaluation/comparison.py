"""Two models on the same frames: by how much one is better, and how sure that is.

The differences are of the same resamples of the same segments, so what is hard for both models
cancels, and a difference may be sure though the two intervals overlap.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.evaluation.bootstrap import RESAMPLES, intervals, segment_length_s, segments
from crnn_snn_ros.evaluation.metrics import (
    COLLISION_FIGURES,
    COLLISION_THRESHOLD,
    STEERING_FIGURES,
    Figure,
    figures,
    judged,
)
from crnn_snn_ros.evaluation.moments import APART_S, Moment, in_context
from crnn_snn_ros.evaluation.recording import STEERING_COLUMN, Floats, Recording

SMALLER_IS_BETTER = ("steering_rmse", "collision_ece")


class Difference(NamedTuple):
    """Of one figure, the other model's less the first one's."""

    value: float
    ci95: list[float] | None  # None: too little data for an interval

    def better(self, name: str) -> bool | None:
        """Whether the other model is surely the better one, or the worse; None: not sure."""
        if self.ci95 is None or self.ci95[0] <= 0.0 <= self.ci95[1]:
            return None
        return (self.value < 0.0) == (name in SMALLER_IS_BETTER)


def differences(
    first: Recording,
    other: Recording,
    threshold: float = COLLISION_THRESHOLD,
    *,
    collision: bool = True,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Difference]:
    """How the spiking networks of two recordings of the same frames differ.

    Args:
        first: What is compared with.
        other: What is compared.
        threshold: Collision probability of an alarm.
        collision: Whether the collision outputs of both were trained; if not, nothing is said of
            them.
        resamples: Of the block bootstrap; 0: no intervals.
        seed: Of the block bootstrap.

    Returns:
        Of each figure that both have.

    Raises:
        DataError: the recordings are of other frames.
    """
    _require_same_frames(first, other)
    base, rival = (figures(made, "snn", threshold) for made in (first, other))
    asked = (*STEERING_FIGURES, *(COLLISION_FIGURES if collision else ()))
    known = [name for name in asked if name in base]
    wanted = {name: _less(rival[name], base[name]) for name in known}
    time_s, drive = first.times_s(), first.rows["drive"]
    segment = segments(time_s, drive, segment_length_s(time_s))
    ends = intervals(wanted, segment, resamples=resamples, seed=seed)
    whole = np.ones(len(first))
    values = {name: figure(whole) for name, figure in wanted.items()}
    return {name: Difference(v, ends[name]) for name, v in values.items() if v is not None}


def apart(first: Recording, other: Recording, most: int = 6) -> list[Moment]:
    """Where two models, A and B, steer most differently, the widest first.

    Raises:
        DataError: the recordings are of other frames.
    """
    _require_same_frames(first, other)
    steering = [made.rows["snn"][:, STEERING_COLUMN] for made in (first, other)]
    errors = {}
    for name, made in (("first", first), ("other", other)):
        part = judged(made, "snn", STEERING_COLUMN)
        errors[name] = np.full(len(made), np.nan)
        errors[name][part.frames] = np.abs(part.values - part.truth)
    gap = np.abs(steering[1] - steering[0])
    time_s, drive = first.times_s(), first.rows["drive"]
    chosen: list[int] = []
    for at in np.argsort(-gap, kind="stable").tolist():
        if len(chosen) == most or gap[at] == 0.0:
            break
        if all(abs(time_s[at] - time_s[c]) >= APART_S or drive[at] != drive[c] for c in chosen):
            chosen.append(at)
    found = []
    for at in chosen:
        text = f"{gap[at]:.2f} rad apart"
        if np.isfinite([errors["first"][at], errors["other"][at]]).all():
            nearer = "A" if errors["first"][at] < errors["other"][at] else "B"
            text += f", {nearer} is nearer to what was recorded"
        found.append(in_context(first, at, "steering", text))
    return found


def as_json(found: Mapping[str, Difference]) -> dict[str, Any]:
    """Differences as ``metrics.json`` has them."""
    return {name: {"value": d.value, "ci95": d.ci95, "better": d.better(name)}
            for name, d in found.items()}  # fmt: skip


def _less(rival: Figure, base: Figure) -> Figure:
    def value(weight: Floats) -> float | None:
        values = rival(weight), base(weight)
        return None if values[0] is None or values[1] is None else values[0] - values[1]

    return value


def _require_same_frames(first: Recording, other: Recording) -> None:
    for field in ("drive", "stamp_ns"):
        if not np.array_equal(first.rows[field], other.rows[field]):
            raise DataError(
                f"recordings of {len(first)} and {len(other)} frames are not of the same ones; "
                "replay both models on the same bags"
            )
