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
  still moving, and is discarded and counted (voided).
* inactive, disabled and shutdown hold: no frame leaves them, and shutdown is for good. Every other
  reason is left by the next good answer.
* An answer that is not settled or not finite is published as a zero command every time, because
  somebody waits for the answer to that frame. So are those that come too slowly (low_rate) or too
  often late (overloaded): the reason holds until the last answers are better.
* A late answer is dropped, not stopped for: the command in force is younger than it will be then.
  But a zero command leaves, however late.
* Where somebody must ask for a speed (mode assist), silence of that somebody stops the robot.
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
    BAD_FRAME = "bad_frame"  # it cannot be decoded, or its size has changed
    BLIND = "blind"  # it is black or white all over
    OLD_FRAME = "old_frame"  # its stamp is too long ago
    FUTURE_FRAME = "future_frame"  # its stamp is ahead of our clock
    ZERO_STAMP = "zero_stamp"  # it has none
    TIME_BACK = "time_back"  # its stamp is before that of the frame before
    LOW_RATE = "low_rate"  # too few frames are answered
    OVERLOADED = "overloaded"  # too many of the last frames were answered late
    LATE = "late"  # the engine was busy with a frame for longer than the timeout
    ENGINE_FAILURE = "engine_failure"  # it raised
    NOT_FINITE = "not_finite"  # NaN or infinity
    NOT_SETTLED = "not_settled"  # the network was cut before quiescence
    NO_ODOMETRY = "no_odometry"  # none tells how far the robot has turned, or what does is no time
    NO_INPUT = "no_input"  # nobody asks for a speed
    DISABLED = "disabled"
    INACTIVE = "inactive"
    SHUTDOWN = "shutdown"


HOLDS = frozenset({Reason.DISABLED, Reason.INACTIVE, Reason.SHUTDOWN})


# The last answer was worthless, and every one is answered with zero until they are better.
POOR = frozenset({Reason.NOT_FINITE, Reason.NOT_SETTLED, Reason.LOW_RATE, Reason.OVERLOADED})


class Drop(Enum):
    """Why a frame was left without an answer, or its command withheld, though it was good."""

    MISSED = "missed"  # it never came: lost on the way, or replaced by a newer one

    REPEATED = "repeated"  # its stamp is that of the frame before
    DECIMATED = "decimated"  # the camera is faster than the network's frame rate
    LATE = "late"  # its answer took too long: it is published, its command is not
    VOIDED = "voided"  # the robot was stopped while the engine was busy with it


RATE_FRAMES = 10  # intervals over which the answered rate is measured
RECENT = 50  # answers of which ...
MOST_LATE = 10  # ... so many may be late


class Timeouts(NamedTuple):
    """The times of the supervisor, ns."""

    frame_ns: int  # a command is in force for this long, from the arrival of its frame
    stop_ns: int  # zero is repeated for this long
    late_ns: int = 2**62  # an answer later than this after its frame is dropped
    period_ns: int = 0  # longest mean interval of answered frames; 0: not judged
    input_ns: int = 0  # somebody must have asked for a speed within this; 0: need not


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
    drops: Mapping[Drop, int] = MappingProxyType({})
    last_fault: Reason | None = None  # of all reasons but those that somebody wanted
    arrivals: tuple[int, ...] = ()  # of the last frames answered, while none was missing
    recent: tuple[bool, ...] = ()  # whether the last answers were late
    asked_ns: int | None = None  # when somebody last asked for a speed


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
    waiting = status._replace(
        mode=Mode.WAITING, reason=None, stop_until_ns=until, arrivals=(), recent=(), asked_ns=None
    )
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
        return drop(status, Drop.VOIDED), None
    late = now_ns - arrived_ns > timeouts.late_ns
    status = _heard(status, arrived_ns, late or now_ns - arrived_ns > timeouts.frame_ns, timeouts)
    if now_ns - arrived_ns > timeouts.frame_ns:
        return _stop(drop(status, Drop.VOIDED), Reason.LATE, now_ns, timeouts)
    status = status._replace(answered=status.answered + 1, busy_ns=None)
    reason = _fault_in(prediction, command, status, now_ns, timeouts)
    if reason is not None:
        status, due = _stop(status, reason, now_ns, timeouts)
        return status, STOP if reason in POOR and status.reason not in HOLDS else due
    if status.reason in HOLDS:
        return status, None
    if late and command != STOP:
        return drop(status, Drop.LATE), None
    first = timeouts.period_ns > 0 and len(status.arrivals) < 2  # of unknown rate: nothing moves
    status = status._replace(mode=Mode.DRIVING, reason=None, heard_ns=arrived_ns)
    return status, STOP if first else command


def ask(status: Status, wanted: Command, now_ns: int, timeouts: Timeouts) -> Step:
    """Somebody asks for a speed. Zero leaves at once, NaN stops; all else waits for a frame."""
    asked = status._replace(asked_ns=now_ns)
    if status.mode is not Mode.DRIVING:
        return asked, None
    if not all(map(math.isfinite, wanted)):
        return _stop(asked, Reason.NOT_FINITE, now_ns, timeouts)
    return asked, STOP if wanted == STOP else None


def drop(status: Status, why: Drop, frames: int = 1) -> Status:
    """Frames are left without an answer; count them."""
    drops = MappingProxyType({**status.drops, why: status.drops.get(why, 0) + frames})
    return status._replace(drops=drops) if listening(status) else status


def fault(status: Status, reason: Reason, now_ns: int, timeouts: Timeouts) -> Step:
    """The frame cannot be answered."""
    return _stop(status, reason, now_ns, timeouts) if listening(status) else (status, None)


def tick(status: Status, now_ns: int, timeouts: Timeouts) -> Step:
    """Look at the clock: stop what has run out, repeat zero while it is due."""
    late = status.busy_ns is not None and now_ns - status.busy_ns > timeouts.frame_ns
    if late:
        status = status._replace(recent=(*status.recent, True)[-RECENT:])
    if status.mode is Mode.DRIVING and now_ns - status.heard_ns > timeouts.frame_ns:
        return _stop(status, Reason.LATE if late else Reason.NO_FRAME, now_ns, timeouts)
    if late:
        return _stop(status, Reason.LATE, now_ns, timeouts)
    if status.mode is Mode.DRIVING and _unasked(status, now_ns, timeouts):
        return _stop(status, Reason.NO_INPUT, now_ns, timeouts)
    due = status.mode is not Mode.DRIVING and now_ns < status.stop_until_ns
    return status, STOP if due else None


def _heard(status: Status, arrived_ns: int, late: bool, timeouts: Timeouts) -> Status:
    """Remember when this frame came and whether its answer is late."""
    before = status.arrivals
    if before and arrived_ns - before[-1] > timeouts.frame_ns:
        before = ()  # that gap was stopped for
    arrivals = (*before, arrived_ns)[-RATE_FRAMES - 1 :]
    return status._replace(arrivals=arrivals, recent=(*status.recent, late)[-RECENT:])


def _fault_in(
    prediction: Prediction, command: Command, status: Status, now_ns: int, timeouts: Timeouts
) -> Reason | None:
    numbers = (prediction.steering_rad, prediction.collision_probability, *command)
    first, last = status.arrivals[0], status.arrivals[-1]
    intervals = len(status.arrivals) - 1
    if not all(map(math.isfinite, numbers)):
        return Reason.NOT_FINITE
    if not prediction.settled:
        return Reason.NOT_SETTLED
    if sum(status.recent) > MOST_LATE:
        return Reason.OVERLOADED
    if timeouts.period_ns > 0 and last - first > intervals * timeouts.period_ns:
        return Reason.LOW_RATE
    return Reason.NO_INPUT if _unasked(status, now_ns, timeouts) else None


def _unasked(status: Status, now_ns: int, timeouts: Timeouts) -> bool:
    asked_ns = status.asked_ns
    return timeouts.input_ns > 0 and (asked_ns is None or now_ns - asked_ns > timeouts.input_ns)


def _stop(status: Status, reason: Reason, now_ns: int, timeouts: Timeouts) -> Step:
    """Count the event, and enter STOPPED where no stronger reason holds already."""
    counts = MappingProxyType({**status.counts, reason: status.counts.get(reason, 0) + 1})
    status = status._replace(counts=counts, busy_ns=None)
    if reason not in HOLDS:
        status = status._replace(last_fault=reason)
    if status.reason in HOLDS and reason not in HOLDS:
        return status, None
    if status.mode is Mode.STOPPED:  # zero is in force: a new reason does not send it anew
        due = now_ns < status.stop_until_ns
        return status._replace(reason=reason), STOP if due else None
    until = now_ns + timeouts.stop_ns
    return status._replace(mode=Mode.STOPPED, reason=reason, stop_until_ns=until), STOP
