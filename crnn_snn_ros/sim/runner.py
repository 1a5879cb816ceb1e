"""A session in a thread of its own, which also draws: an OpenGL context belongs to one thread.

Two ways of letting time pass:

* **real time**, or a multiple of it: a frame at every beat of the steady clock. The newest command
  counts; a world that is too slow for its beat falls behind and does not rush to catch up.
* **lockstep**: one frame when the command that bears the last frame's stamp has come, however long
  that takes. So a drive does not depend on the speed of any machine. A first frame that nobody
  answers for a while, because who answers came later than it, lets its course begin anew.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from crnn_snn_ros.core.settings import check, setting
from crnn_snn_ros.core.types import Command
from crnn_snn_ros.sim.robot import RobotConfig
from crnn_snn_ros.sim.session import Session, SessionConfig

TICK_S = 0.01  # of the clock that is told between two frames, at most
REPEAT_S = 1.0  # after which a course begins anew if its first frame is without an answer
MOST_REPEAT_S = 30.0  # it doubles, so that whoever needs longer for a frame is heard in the end


@dataclass(frozen=True)
class PaceConfig:
    """How time passes.

    Raises:
        ConfigError: a value is outside its range.
    """

    realtime_factor: float = setting(
        1.0, "seconds of the world in a second, as far as this machine can", (0.01, 100.0)
    )
    lockstep: bool = setting(
        False,
        "the world waits for the command that bears the stamp of the last image; needs stamped",
    )
    paused: bool = setting(False, "show nothing until ~/pause lets time go on")

    def __post_init__(self) -> None:
        check(self)


class Status(NamedTuple):
    """What goes on, for reports."""

    frames: int  # shown so far
    paused: bool
    over: bool  # the last course of the playlist has ended
    awaited_s: float | None  # lockstep: for so long the last frame is without an answer


class Runner:
    """Runs a session until it is told to end.

    Args:
        config, robot: of the session.
        pace: how time passes.
        show: called with the session at each new moment.
        tick: called between frames with the session's time, ns.
    """

    def __init__(
        self,
        config: SessionConfig,
        robot: RobotConfig,
        pace: PaceConfig,
        show: Callable[[Session], None],
        tick: Callable[[int], None],
    ) -> None:
        self._config, self._robot, self._pace = config, robot, pace
        self._show_session, self._tell_time = show, tick
        self._changed = threading.Condition()  # guards all that follows
        self._command: Command | None = None  # not yet told to the base
        self._awaited_ns: int | None = None  # lockstep: stamp of the frame without an answer
        self._shown_s = 0.0
        self._frames = 0
        self._paused = pace.paused
        self._over = self._ending = self._reset = False
        self._fault: Exception | None = None
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, name="world")
        # Only the thread uses these.
        self._ticks = max(1, math.ceil(1.0 / (config.rate_hz * TICK_S) - 1e-9))
        self._beat_s = 1.0 / (config.rate_hz * self._ticks * pace.realtime_factor)
        self._count = 0
        self._next_s = 0.0
        self._patience_s = REPEAT_S

    def start(self) -> None:
        """Begin; returns when the first frame is drawn.

        Raises:
            CrnnSnnError: nothing can be drawn on this machine.
        """
        self._thread.start()
        self._begun.wait()
        self.check()

    def check(self) -> None:
        """Raise what ended the thread, if anything did."""
        if self._fault is not None:
            raise self._fault

    def end(self, timeout_s: float) -> bool:
        """End the thread; False if it does not within the time."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def command(self, command: Command, stamp_ns: int | None) -> None:
        """Tell the base; in lockstep only the answer to the last frame counts."""
        with self._changed:
            if self._pace.lockstep:
                if stamp_ns != self._awaited_ns:
                    return
                self._awaited_ns = None
                self._changed.notify_all()
            self._command = command

    def pause(self, paused: bool) -> None:
        """Let time stand, or go on."""
        with self._changed:
            self._paused = paused
            self._changed.notify_all()

    def reset(self, timeout_s: float) -> bool:
        """Begin the present course anew; False if that is not done within the time."""
        with self._changed:
            self._reset = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._reset, timeout_s)

    def status(self) -> Status:
        """What goes on."""
        with self._changed:
            waiting = self._awaited_ns is not None and not self._paused
            awaited_s = time.monotonic() - self._shown_s if waiting else None
            return Status(self._frames, self._paused, self._over, awaited_s)

    def _run(self) -> None:
        try:
            with Session(self._config, self._robot) as session:
                self._begun.set()
                with self._changed:
                    self._changed.wait_for(lambda: self._interrupted() or not self._paused)
                if not self._interrupted():
                    self._show(session)
                self._next_s = time.monotonic() + self._beat_s
                turn = self._lockstep if self._pace.lockstep else self._realtime
                while not self._ending:
                    turn(session)
        except Exception as error:  # the edge of the thread: told by `check`
            self._fault = error
        finally:
            self._begun.set()

    def _lockstep(self, session: Session) -> None:
        first = session.moment.number == 0
        with self._changed:
            called = self._changed.wait_for(self._called, self._patience_s)
            unheard = first and self._awaited_ns is not None and not self._paused
            reset = self._reset or (unheard and not called)
        if reset:
            self._patience_s = min(2.0 * self._patience_s, MOST_REPEAT_S)
            self._begin_anew(session)
        elif called and not self._ending:
            self._patience_s = REPEAT_S
            self._advance(session)

    def _called(self) -> bool:
        return self._interrupted() or (self._awaited_ns is None and not self._standing())

    def _realtime(self, session: Session) -> None:
        with self._changed:
            if self._standing():
                self._changed.wait_for(lambda: self._interrupted() or not self._standing())
            else:
                wait_s = max(self._next_s - time.monotonic(), 0.0)
                self._changed.wait_for(lambda: self._interrupted() or self._standing(), wait_s)
            reset, standing = self._reset, self._standing()
        if reset:
            self._begin_anew(session)
        elif standing:
            self._next_s = time.monotonic() + self._beat_s
        elif time.monotonic() >= self._next_s:
            self._beat(session)

    def _interrupted(self) -> bool:
        return self._ending or self._reset

    def _standing(self) -> bool:
        return self._paused or self._over

    def _beat(self, session: Session) -> None:
        self._count += 1
        if self._count >= self._ticks:
            self._count = 0
            self._advance(session)
        else:
            since_ns = round(1e9 * self._count / (self._config.rate_hz * self._ticks))
            self._tell_time(session.moment.frame.stamp_ns + since_ns)
        # A late beat delays those that follow: the world does not rush to catch up.
        self._next_s = max(self._next_s + self._beat_s, time.monotonic() - self._beat_s)

    def _advance(self, session: Session) -> None:
        with self._changed:
            command, self._command = self._command, None
        if command is not None:
            session.command(command)
        moment = session.advance()
        if moment is not None:
            if moment.number == 0:  # what came since was meant for the course before
                with self._changed:
                    self._command = None
            self._show(session)
            return
        with self._changed:
            self._over = True

    def _begin_anew(self, session: Session) -> None:
        session.reset()
        self._count = 0
        with self._changed:
            self._command, self._over = None, False
        self._show(session)
        with self._changed:
            self._reset = False
            self._changed.notify_all()

    def _show(self, session: Session) -> None:
        with self._changed:
            self._frames += 1
            self._shown_s = time.monotonic()
            if self._pace.lockstep:  # before it is shown: the answer may come at once
                self._awaited_ns = session.moment.frame.stamp_ns
        self._show_session(session)
