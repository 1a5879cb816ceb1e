"""How time passes in a world that runs by itself: by answers, by the clock, or not at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from sim_support import needs_pictures

from crnn_snn_ros.core.types import Command
from crnn_snn_ros.sim.robot import RobotConfig
from crnn_snn_ros.sim.runner import PaceConfig, Runner
from crnn_snn_ros.sim.session import Moment, Session, SessionConfig

pytestmark = [needs_pictures, pytest.mark.timeout(60)]
AHEAD = Command(1.0, 0.0)
LOCKSTEP = PaceConfig(lockstep=True)


class World:
    """A runner, and all that it has shown and told."""

    def __init__(self, pace: PaceConfig, **config: object) -> None:
        self.moments: list[Moment] = []
        self.times_ns: list[int] = []
        self.threads: set[str] = set()
        settings = SessionConfig(width=24, height=16, **config)  # type: ignore[arg-type]
        self.runner = Runner(settings, RobotConfig(), pace, self._show, self.times_ns.append)

    def _show(self, session: Session) -> None:
        self.threads.add(threading.current_thread().name)
        self.moments.append(session.moment)

    def answer(self, command: Command = AHEAD) -> None:
        """Answer the last frame, and wait for the next."""
        shown = self.moments[-1]
        self.runner.command(command, shown.frame.stamp_ns)
        until(lambda: self.moments[-1] is not shown or self.runner.status().over)


@contextmanager
def running(pace: PaceConfig, **config: object) -> Iterator[World]:
    world = World(pace, **config)
    world.runner.start()
    try:
        yield world
    finally:
        assert world.runner.end(10.0)


def until(ready: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 20.0
    while not ready():
        assert time.monotonic() < end_s
        time.sleep(0.001)


def test_in_lockstep_only_the_answer_to_the_last_frame_moves_the_world():
    with running(LOCKSTEP, seed=2002) as world:
        until(lambda: bool(world.moments))
        for stamp_ns in (None, 0, world.moments[0].frame.stamp_ns + 1):
            world.runner.command(AHEAD, stamp_ns)
        until(lambda: len(world.moments) >= 2)
        first, again = (moment.frame for moment in world.moments)
        assert again.stamp_ns - first.stamp_ns == 2_000_000_000, "unanswered, it begins anew"
        assert np.array_equal(again.image, first.image)
        assert world.runner.status().awaited_s is not None
        for _ in range(5):
            world.answer()
        assert world.moments[-1].number == 5
        assert world.moments[-1].seen.state.speed_mps > 0.0
        count = len(world.moments)
        time.sleep(1.2)
        assert len(world.moments) == count, "other frames are not"
        assert world.times_ns == []
        assert world.threads == {"world"}


def test_in_lockstep_a_pause_holds_an_answer_back():
    with running(LOCKSTEP, seed=2002) as world:
        until(lambda: bool(world.moments))
        world.answer()
        world.runner.pause(True)
        world.runner.command(AHEAD, world.moments[-1].frame.stamp_ns)
        time.sleep(0.3)
        assert world.moments[-1].number == 1
        world.runner.pause(False)
        until(lambda: world.moments[-1].number == 2)


def test_courses_follow_each_other_until_the_last():
    with running(LOCKSTEP, playlist="static:2000 static:2001") as world:
        until(lambda: bool(world.moments))
        while not world.runner.status().over:
            world.answer()
        ends = [moment for moment in world.moments if moment.seen.finished is not None]
        assert [end.entry.seed for end in ends] == [2000, 2001]
        assert world.runner.reset(10.0)
        again = world.moments[-1]
        assert (again.entry.seed, again.number) == (2001, 0)
        world.answer()
        assert world.moments[-1].number == 1, "after a reset it goes on"


def test_a_command_that_comes_while_a_course_opens_is_not_for_it(monkeypatch):
    opened = Session._open

    def slowly(session: Session, entry: object) -> object:
        moment = opened(session, entry)
        for world in worlds:
            world.runner.command(AHEAD, None)
        return moment

    worlds: list[World] = []
    monkeypatch.setattr(Session, "_open", slowly)
    with running(PaceConfig(realtime_factor=30.0), playlist="static:2000 static:2001") as world:
        until(lambda: bool(world.moments))
        worlds.append(world)
        while world.moments[-1].seen.finished is None:
            world.runner.command(AHEAD, None)
            time.sleep(0.001)
        until(lambda: world.moments[-1].entry.seed == 2001 and world.moments[-1].number > 20)
        assert all(m.seen.state.speed_mps == 0.0 for m in world.moments if m.entry.seed == 2001)


def test_the_clock_is_told_between_frames():
    with running(PaceConfig(realtime_factor=2.0), seed=2002) as world:
        until(lambda: len(world.moments) >= 6)
    shown = [moment.frame.stamp_ns for moment in world.moments]
    assert [moment.number for moment in world.moments] == list(range(len(shown)))
    between = [at for at in world.times_ns if at < shown[-1]]
    assert len(between) == 4 * (len(shown) - 1)
    assert not set(between) & set(shown)
    assert sorted(between + shown) == [shown[0] + n * 10_000_000 for n in range(5 * len(shown) - 4)]


def test_paused_from_the_start_it_shows_nothing():
    with running(PaceConfig(paused=True), seed=2002) as world:
        time.sleep(0.3)
        assert world.moments == []
        assert world.runner.status().paused
        world.runner.pause(False)
        until(lambda: len(world.moments) >= 3)
        world.runner.pause(True)
        time.sleep(0.2)
        count = len(world.moments)
        time.sleep(0.3)
        assert len(world.moments) == count
        assert world.runner.reset(10.0)
        assert len(world.moments) == count + 1
        assert world.moments[-1].number == 0


def test_what_ends_the_thread_is_told():
    class BrokenError(Exception):
        pass

    def fail(_: Session) -> None:
        raise BrokenError

    config = SessionConfig(seed=2002, width=24, height=16)
    runner = Runner(config, RobotConfig(), PaceConfig(paused=True), fail, lambda _: None)
    runner.start()
    try:
        runner.check()
        runner.pause(False)
        until(lambda: not any(thread.name == "world" for thread in threading.enumerate()))
        with pytest.raises(BrokenError):
            runner.check()
    finally:
        assert runner.end(10.0)
