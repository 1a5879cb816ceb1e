"""State machine that decides whether a command may leave: pass it, stop, or keep silent.

Pure: a status goes in with an event and the time, the next status comes out, with the command to
publish now, or None for silence. Time is that of a steady clock, in ns; stamps of frames play no
part here, so a clock that jumps cannot disarm it::

                          activate                    good answer
    STOPPED(inactive) ----------------> WAITING ---------------------> DRIVING
            ^                              |                            |   ^
            | deactivate,             fault, disable,             fault, |   | good
            | from anywhere              shutdown             timeout, ..|   | answer
            |                              v                            v   |
            +--------------------------- STOPPED(reason) ---------------+---+

* WAITING: active, no frame answered yet. DRIVING: the last frame's command is in force. STOPPED:
  zero is in force, for the reason given.
* On entering STOPPED or WAITING a zero command leaves at once and is repeated at every tick for
  ``stop_ns``; then silence, so that somebody else may command the base. While not DRIVING, the
  last command that left is zero.
* A command is in force for ``frame_ns`` at most, counted from the arrival of its frame: a tick
  after that stops the robot, be it that no frame came (no_frame) or that the engine is still busy
  with one (late).
* A stop voids the frame that the engine is busy with: its answer was computed as if the robot were
  still moving, and is discarded.
* inactive, disabled and shutdown hold: no frame leaves them, and shutdown is for good. Every other
  reason is left by the next good answer.
* An answer that is not settled or not finite is published as a zero command every time, because
  somebody waits for the answer to that frame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

from crnn_snn_ros.core.types import STOP, Command, Prediction


class Mode(Enum):
    """What is in force."""

    WAITING = "waiting"
    DRIVING = "driving"
    STOPPED = "stopped"


class Reason(Enum):
    """Why the robot is stopped."""

    NO_FRAME = "no_frame"  # none was answered within the timeout
    BAD_FRAME = "bad_frame"  # it cannot be decoded
    LATE = "late"  # the engine was busy with a frame for longer than the timeout
    ENGINE_FAILURE = "engine_failure"  # it raised
    NOT_FINITE = "not_finite"  # NaN or infinity
    NOT_SETTLED = "not_settled"  # the network was cut before quiescence
    DISABLED = "disabled"
    INACTIVE = "inactive"
    SHUTDOWN = "shutdown"


HOLDS = frozenset({Reason.DISABLED, Reason.INACTIVE, Reason.SHUTDOWN})


class Timeouts(NamedTuple):
    """The two times of the supervisor, ns."""

    frame_ns: int  # a command is in force for this long, from the arrival of its frame
    stop_ns: int  # zero is repeated for this long


class Status(NamedTuple):
    """State of the supervisor."""

    mode: Mode
    reason: Reason | None  # None unless STOPPED
    stop_until_ns: int  # zero is repeated until then
    heard_ns: int  # arrival of the frame whose command is in force
    busy_ns: int | None  # arrival of the frame that the engine is busy with
    enabled: bool
    answered: int  # frames answered in time
    counts: Mapping[Reason, int]  # events by reason


Step = tuple[Status, Command | None]
INITIAL = Status(Mode.STOPPED, Reason.INACTIVE, 0, 0, None, True, 0, MappingProxyType({}))


def listening(status: Status) -> bool:
    """Whether frames are answered at all: not when inactive or shut down."""
    return status.reason not in (Reason.INACTIVE, Reason.SHUTDOWN)


def activate(status: Status, now_ns: int, timeouts: Timeouts) -> Step:
    """Wait for frames. A zero command sees to it that the robot starts stopped."""
    if status.reason is not Reason.INACTIVE:
        return status, None
    until = now_ns + timeouts.stop_ns
    waiting = status._replace(mode=Mode.WAITING, reason=None, stop_until_ns=until)
    if status.enabled:
        return waiting, STOP
    return waiting._replace(mode=Mode.STOPPED, reason=Reason.DISABLED), STOP


def deactivate(status: Status, now_ns: int, timeouts: Timeouts) -> Step:
    """Stop, and answer no more frames until activated."""
    return _stop(status, Reason.INACTIVE, now_ns, timeouts) if listening(status) else (status, None)


def shutdown(status: Status, now_ns: int, timeouts: Timeouts) -> Step:
    """Stop for good. Zero leaves at once, even where silence had begun, unless inactive."""
    last = STOP if listening(status) else None
    return _stop(status, Reason.SHUTDOWN, now_ns, timeouts)[0], last


def set_enabled(status: Status, enabled: bool, now_ns: int, timeouts: Timeouts) -> Step:
    """Let commands leave, or hold the robot stopped while predictions go on."""
    status = status._replace(enabled=enabled)
    if not listening(status) or enabled is (status.reason is not Reason.DISABLED):
        return status, None
    if enabled:
        return status._replace(mode=Mode.WAITING, reason=None, busy_ns=None), None
    return _stop(status, Reason.DISABLED, now_ns, timeouts)


def begin(status: Status, now_ns: int) -> Status:
    """A frame has arrived and the engine starts on it."""
    return status._replace(busy_ns=now_ns) if listening(status) else status


def answer(
    status: Status, prediction: Prediction, command: Command, now_ns: int, timeouts: Timeouts
) -> Step:
    """The frame is answered: its command leaves if nothing is wrong with it."""
    arrived_ns = status.busy_ns
    if arrived_ns is None:
        return status, None
    if now_ns - arrived_ns > timeouts.frame_ns:
        return _stop(status, Reason.LATE, now_ns, timeouts)
    status = status._replace(answered=status.answered + 1, busy_ns=None)
    fault = _fault_in(prediction, command)
    if fault is not None:
        status = _stop(status, fault, now_ns, timeouts)[0]
        return status, None if status.reason in HOLDS else STOP
    if status.reason in HOLDS:
        return status, None
    return status._replace(mode=Mode.DRIVING, reason=None, heard_ns=arrived_ns), command


def fault(status: Status, reason: Reason, now_ns: int, timeouts: Timeouts) -> Step:
    """The frame cannot be answered."""
    return _stop(status, reason, now_ns, timeouts) if listening(status) else (status, None)


def tick(status: Status, now_ns: int, timeouts: Timeouts) -> Step:
    """Look at the clock: stop what has run out, repeat zero while it is due."""
    late = status.busy_ns is not None and now_ns - status.busy_ns > timeouts.frame_ns
    if status.mode is Mode.DRIVING and now_ns - status.heard_ns > timeouts.frame_ns:
        return _stop(status, Reason.LATE if late else Reason.NO_FRAME, now_ns, timeouts)
    if late:
        return _stop(status, Reason.LATE, now_ns, timeouts)
    due = status.mode is not Mode.DRIVING and now_ns < status.stop_until_ns
    return status, STOP if due else None


def _fault_in(prediction: Prediction, command: Command) -> Reason | None:
    numbers = (prediction.steering_rad, prediction.collision_probability, *command)
    if not all(map(math.isfinite, numbers)):
        return Reason.NOT_FINITE
    return None if prediction.settled else Reason.NOT_SETTLED


def _stop(status: Status, reason: Reason, now_ns: int, timeouts: Timeouts) -> Step:
    """Count the event, and enter STOPPED where no stronger reason holds already."""
    counts = MappingProxyType({**status.counts, reason: status.counts.get(reason, 0) + 1})
    status = status._replace(counts=counts, busy_ns=None)
    if status.reason in HOLDS and reason not in HOLDS:
        return status, None
    if status.mode is Mode.STOPPED:  # zero is in force: a new reason does not send it anew
        due = now_ns < status.stop_until_ns
        return status._replace(reason=reason), STOP if due else None
    until = now_ns + timeouts.stop_ns
    return status._replace(mode=Mode.STOPPED, reason=reason, stop_until_ns=until), STOP
