"""Collision events of a drive: was there a warning, how early, and which stops were for nothing.

An event is a run of frames with a positive collision label; pauses up to ``EVENT_PAUSE_S`` do not
end it. Times are of frames, in seconds, the
drives one after another; nothing is compared across drives.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.command import ControlConfig, ControlState, control
from crnn_snn_ros.core.types import Prediction
from crnn_snn_ros.evaluation.recording import Floats, Recording

Flags = NDArray[np.bool_]
EVENT_PAUSE_S = 0.5
WARN_WINDOW_S = 2.0  # an alarm belongs to an event that begins at most so much later


class Event(NamedTuple):
    """One collision as the labels tell it."""

    first: int  # frame
    last: int  # frame, inclusive
    alarm: int | None  # first frame with an alarm for it; None: it was missed
    lead_s: float  # from the alarm to the event's first frame; negative: late; NaN: missed


def runs(flags: Flags, drive: NDArray[np.int32]) -> list[tuple[int, int]]:
    """First and last frame of each run of set flags within a drive.

    Example:
        >>> runs(np.array([1, 1, 0, 1, 1], bool), np.array([0, 0, 0, 0, 1], np.int32))
        [(0, 1), (3, 3), (4, 4)]
    """
    change = np.diff(drive, prepend=-1) != 0
    before = np.concatenate([[False], flags[:-1]]) & ~change
    after = np.concatenate([flags[1:], [False]]) & ~np.concatenate([change[1:], [True]])
    return [
        (int(a), int(b))
        for a, b in zip(
            np.flatnonzero(flags & ~before), np.flatnonzero(flags & ~after), strict=True
        )
    ]


def find_events(labels: Flags, alarms: Flags, time_s: Floats, drive: NDArray[Any]) -> list[Event]:
    """The events and what the alarms said of them.

    Args:
        labels: (n,), collision label, unknown counts as none.
        alarms: (n,), whether the network's probability reached the threshold.
        time_s: (n,), not falling.
        drive: (n,), number of each frame's drive.
    """
    events: list[Event] = []
    free = 0  # first frame after the event before
    for first, last in _without_pauses(runs(labels, drive), time_s, drive):
        earliest = int(np.searchsorted(time_s, time_s[first] - WARN_WINDOW_S - 1e-9))
        start = max(earliest, free, int(np.searchsorted(drive, drive[first])))
        raised = np.flatnonzero(alarms[start : last + 1])
        alarm = start + int(raised[0]) if len(raised) else None
        lead_s = float(time_s[first] - time_s[alarm]) if alarm is not None else float("nan")
        events.append(Event(first, last, alarm, lead_s))
        free = last + 1
    return events


def _without_pauses(
    found: list[tuple[int, int]], time_s: Floats, drive: NDArray[Any]
) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for first, last in found:
        before = joined[-1] if joined else None
        near = before is not None and time_s[first] - time_s[before[1]] <= EVENT_PAUSE_S + 1e-9
        if before is not None and near and drive[first] == drive[before[1]]:
            joined[-1] = (before[0], last)
        else:
            joined.append((first, last))
    return joined


def commands_of(recording: Recording, network: str, config: ControlConfig) -> Floats:
    """Commands that a network's estimates lead to by the one control law: (n, 2), m/s and rad/s.

    For the spiking network these are the pipeline's own.
    """
    rows = recording.rows
    if network == "snn":
        return np.asarray(rows["command"], np.float64)
    out = np.zeros((len(rows), 2))
    steps_ns = np.diff(rows["stamp_ns"], prepend=0)
    state = ControlState()
    for number, (steering, collision) in enumerate(rows[network].tolist()):
        dt_s = int(steps_ns[number]) / 1e9
        if rows["was_reset"][number]:
            dt_s, state = 1.0 / recording.frame_rate_hz, ControlState()
        prediction = Prediction(steering, collision, True, 0, 0)
        out[number], state = control(prediction, state, dt_s, config)
    return out


def stops(commands: Floats, stretch: NDArray[Any]) -> list[int]:
    """Frames at which a robot that moved is told to stop.

    Args:
        commands: (n, 2), m/s and rad/s.
        stretch: (n,), another number after a gap and in another drive: there it begins stopped.
    """
    still = commands[:, 0] == 0.0
    begins = still[1:] & ~still[:-1] & (np.diff(stretch) == 0)
    return [int(frame) + 1 for frame in np.flatnonzero(begins)]


def false_stops(frames: list[int], truth: Floats, time_s: Floats, drive: NDArray[Any]) -> list[int]:
    """Those stops that have no positive label within ``WARN_WINDOW_S`` of them.

    Args:
        frames: As of ``stops``.
        truth: (n,), collision label, NaN where unknown; stops there are not judged.
        time_s: (n,), not falling.
        drive: (n,), number of each frame's drive.
    """
    found = []
    for frame in frames:
        first = np.searchsorted(time_s, time_s[frame] - WARN_WINDOW_S)
        last = np.searchsorted(time_s, time_s[frame] + WARN_WINDOW_S, side="right")
        near = truth[first:last][drive[first:last] == drive[frame]]
        if np.isfinite(truth[frame]) and not (near >= 0.5).any():
            found.append(frame)
    return found


def roughness(commands: Floats, time_s: Floats, drive: NDArray[Any]) -> dict[str, float] | None:
    """Root mean square of the commands' rates of change; None where no two frames follow.

    Returns:
        ``linear_mps2`` and ``angular_radps2``; the smaller, the smoother. Stops are included.
    """
    dt_s = np.diff(time_s)
    follows = (np.diff(drive) == 0) & (dt_s > 0)
    if not follows.any():
        return None
    rates = np.diff(commands, axis=0)[follows] / dt_s[follows, None]
    linear, angular = np.sqrt(np.mean(np.square(rates), axis=0))
    return {"linear_mps2": float(linear), "angular_radps2": float(angular)}
