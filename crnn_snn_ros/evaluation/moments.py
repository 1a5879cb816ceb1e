"""The worst moments of a replay: where a person should look first."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from crnn_snn_ros.core.command import ControlConfig
from crnn_snn_ros.evaluation.metrics import events_of, false_stops_of, judged
from crnn_snn_ros.evaluation.pictures import Shown
from crnn_snn_ros.evaluation.recording import (
    COLLISION_COLUMN,
    STEERING_COLUMN,
    Recording,
)

APART_S = 2.0  # moments nearer than this are one
AROUND_S = 0.7  # how long before and after the context pictures are
MISSED, LATE, STOP, STEERING, CUT = (
    "missed collision",
    "late warning",
    "false stop",
    "steering error",
    "not settled",
)


class Moment(NamedTuple):
    """A frame to look at, and its neighbours in the same drive."""

    kind: str
    text: str
    before: int  # row number
    at: int
    after: int


def worst_moments(
    recording: Recording,
    config: ControlConfig,
    threshold: float,
    *,
    collision: bool = True,
    most: int = 6,
) -> list[Moment]:
    """Where the spiking network was most wrong, the gravest kind first.

    Of each kind the worst; missed and late collisions, then false stops, frames that were cut,
    and steering errors, so that no kind takes all the places.

    Args:
        recording: With labels; without any there is only what was cut.
        config: How predictions become commands.
        threshold: Collision probability of an alarm.
        collision: Whether the collision output was trained; if not, nothing is asked of it.
        most: How many at most.
    """
    stops = false_stops_of(recording, "snn", config) if collision else []
    cut = np.flatnonzero(~recording.rows["settled"])
    queues = [
        _late_warnings(recording, threshold) if collision else [],
        [(frame, STOP, "stopped, nothing labelled near") for frame in stops],
        [(int(frame), CUT, "cut before quiescence") for frame in cut],
        _steering_errors(recording),
    ]
    time_s, drive = recording.times_s(), recording.rows["drive"]
    chosen: list[tuple[int, str, str]] = []
    while len(chosen) < most and any(queues):
        for queue in queues:
            while queue and len(chosen) < most:
                candidate = queue.pop(0)
                at = candidate[0]
                if all(abs(time_s[at] - time_s[c[0]]) >= APART_S or drive[at] != drive[c[0]]
                       for c in chosen):  # fmt: skip
                    chosen.append(candidate)
                    break
    grave = (MISSED, LATE, STOP, CUT, STEERING)
    chosen.sort(key=lambda moment: grave.index(moment[1]))
    return [in_context(recording, *moment) for moment in chosen]


def shown_at(recording: Recording, number: int, *, collision: bool = True, text: str = "") -> Shown:
    """What to draw upon frame ``number``; ``collision`` as for ``worst_moments``."""
    row = recording.rows[number]
    label = row["truth"][COLLISION_COLUMN]
    return Shown(
        steering_rad=float(row["snn"][STEERING_COLUMN]),
        true_steering_rad=float(row["truth"][STEERING_COLUMN]),
        collision_probability=float(row["snn"][COLLISION_COLUMN]) if collision else None,
        collision=bool(label >= 0.5) if np.isfinite(label) else None,
        settled=bool(row["settled"]),
        text=text,
    )


def _late_warnings(recording: Recording, threshold: float) -> list[tuple[int, str, str]]:
    events = events_of(recording, "snn", threshold)
    missed = [
        (event.first, MISSED, f"no alarm, labelled {event.last - event.first + 1} frames long")
        for event in events
        if event.alarm is None
    ]
    late = sorted((event for event in events if event.lead_s < 0), key=lambda event: event.lead_s)
    return missed + [(e.first, LATE, f"alarm {-e.lead_s:.2f} s after the label") for e in late]


def _steering_errors(recording: Recording) -> list[tuple[int, str, str]]:
    part = judged(recording, "snn", STEERING_COLUMN)
    errors = part.values - part.truth
    usual = np.sqrt(np.mean(np.square(errors))) if len(errors) else 0.0
    worst = np.argsort(-np.abs(errors), kind="stable")[:1000]
    worst = worst[np.abs(errors[worst]) > usual]  # below it, none is worth a look
    return [
        (int(part.frames[i]), STEERING,
         f"{abs(errors[i]):.2f} rad too far {'left' if errors[i] > 0 else 'right'}")
        for i in worst
    ]  # fmt: skip


def in_context(recording: Recording, at: int, kind: str, text: str) -> Moment:
    """A frame with its neighbours ``AROUND_S`` before and after, as far as its drive goes."""
    time_s, drive = recording.times_s(), recording.rows["drive"]
    first, last = np.searchsorted(drive, [drive[at], drive[at] + 1])
    before = int(np.searchsorted(time_s, time_s[at] - AROUND_S - 1e-6))
    after = int(np.searchsorted(time_s, time_s[at] + AROUND_S - 1e-6))
    return Moment(kind, text, max(before, int(first)), at, min(after, int(last) - 1))
