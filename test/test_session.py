"""Courses one after another: order, time, the base's own stop, and memory."""

from __future__ import annotations

import resource
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sim_support import needs_pictures

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.mount import CameraMount
from crnn_snn_ros.core.types import STOP, Command
from crnn_snn_ros.sim.robot import RobotConfig
from crnn_snn_ros.sim.session import Entry, Session, SessionConfig, parse_playlist
from crnn_snn_ros.sim.simulator import CONTACT, Simulator
from crnn_snn_ros.sim.suites import SUITES

AHEAD = Command(1.0, 0.0)
SMALL = {"width": 24, "height": 16}
ENTRIES = st.builds(Entry, st.sampled_from(sorted(SUITES)), st.integers(0, 1_000_000_000))


@given(st.lists(ENTRIES, min_size=1))
def test_a_playlist_is_read_as_it_is_written(entries):
    text = " ".join(map(str, entries))
    assert list(parse_playlist(text)) == entries
    assert list(SessionConfig(playlist=text, courses=1, suite="looks").entries()) == entries


@pytest.mark.parametrize("word", ["static", "static:", "easy:1", "static:-1", "static:1e3",
                                  "static:1000000001", ":5", "static:²", "static:1:2"])  # fmt: skip
def test_words_that_name_no_course_are_refused(word):
    with pytest.raises(ConfigError, match="a course is SUITE:SEED"):
        SessionConfig(playlist=f"static:1 {word}")


def test_without_a_playlist_seeds_follow_each_other():
    few = list(SessionConfig(suite="narrow", seed=7, courses=3).entries())
    assert few == [Entry("narrow", 7), Entry("narrow", 8), Entry("narrow", 9)]
    endless = SessionConfig(seed=7).entries()
    assert [next(endless).seed for _ in range(200)] == list(range(7, 207))


def drive(session: Session, command: Command, most: int = 10_000) -> list:
    """Moments until the course ends, or so many."""
    moments = [session.moment]
    while moments[-1].seen.finished is None and len(moments) < most:
        session.command(command)
        moments.append(session.advance())
    return moments


@needs_pictures
def test_one_mount_on_all_courses():
    told = {"camera_height": 0.2, "camera_pitch": 0.1, "camera_fov": 1.2}
    own = []
    for mounted in ({}, told):
        with Session(SessionConfig(suite="static", **mounted, **SMALL), RobotConfig()) as session:
            own.append((session.moment.frame, session.look))
    (drawn, look), (given, other) = own
    assert drawn.mount == look.camera.mount
    assert given.mount == other.camera.mount == CameraMount(0.2, 0.1, 1.2) != drawn.mount
    assert (given.image != drawn.image).any()


@needs_pictures
def test_a_course_is_driven_as_by_the_simulator_and_time_never_runs_back():
    config = SessionConfig(playlist="static:2000 movers:2002", gap=1.5, **SMALL)
    stamps = []
    with Session(config, RobotConfig()) as session:
        for entry in config.entries():
            suite = SUITES[entry.suite]
            moments = drive(session, AHEAD)
            course, look = suite.course(entry.seed), suite.look(entry.seed)
            with Simulator(course, look, camera=(24, 16)) as simulator:
                seen = [simulator.observation]
                while seen[-1].finished is None:
                    seen.append(simulator.step(AHEAD))
            assert [m.seen[1:] for m in moments] == [s[1:] for s in seen]
            assert [m.entry for m in moments] == [entry] * len(seen)
            assert [m.number for m in moments] == list(range(len(seen)))
            shift = moments[0].frame.stamp_ns - seen[0].frame.stamp_ns
            assert {
                m.frame.stamp_ns - s.frame.stamp_ns for m, s in zip(moments, seen, strict=True)
            } == {shift}
            assert {m.first_ns for m in moments} == {moments[0].frame.stamp_ns}
            outcome = session.outcome
            assert outcome.finished == CONTACT
            assert (outcome.seed, outcome.kind) == (course.seed, course.kind)
            assert (outcome.distance_m, outcome.time_s) == (seen[-1].distance_m, seen[-1].time_s)
            stamps += [m.frame.stamp_ns for m in moments]
            following = session.advance()
        assert following is None
        assert session.advance() is None
        last, again = session.moment, session.reset()
        assert again.frame.stamp_ns - last.frame.stamp_ns == 1_500_000_000
        assert (again.entry, again.number, again.seen.time_s) == (last.entry, 0, 0.0)
    gaps = [b - a for a, b in pairwise(stamps)]
    assert min(gaps) > 0
    assert sorted(gaps)[-2:] == [50_000_000, 1_500_000_000]


@needs_pictures
@pytest.mark.parametrize("timeout_s", [0.0, 0.4])
def test_the_base_stops_when_commands_cease(timeout_s):
    config = SessionConfig(seed=2002, command_timeout=timeout_s, **SMALL)
    with Session(config, RobotConfig(lag_s=0.0)) as session:
        drive(session, AHEAD, most=20)
        told_s = session.moment.seen.time_s - 0.05  # with the frame before
        speeds = {}
        for _ in range(14):
            before = session.moment.seen
            seen = session.advance().seen
            speeds[round(before.time_s - told_s, 3)] = seen.state.speed_mps - before.state.speed_mps
        slowing = [silent_s for silent_s, change in speeds.items() if change < 0.0]
        assert (min(slowing) == pytest.approx(0.4)) if timeout_s else (slowing == [])
        session.command(AHEAD)
        assert session.advance().seen.state.speed_mps > 0.0
        session.reset()
        assert session.advance().seen.state.speed_mps == 0.0, "an old command counts no more"


@needs_pictures
def test_courses_leave_memory_flat():
    """Twelve after three to warm up; sixty were measured by hand."""
    page = resource.getpagesize()
    config = SessionConfig(suite="movers", seed=1000, courses=15)
    with Session(config, RobotConfig()) as session:
        for number in range(15):
            drive(session, AHEAD if number % 2 else STOP, most=60)
            while session.moment.seen.finished is None:
                session.command(AHEAD)
                session.advance()
            if number == 2:
                before = int(Path("/proc/self/statm").read_text().split()[1])
            session.advance()
        after = int(Path("/proc/self/statm").read_text().split()[1])
    grown_mib = (after - before) * page / 2**20
    assert grown_mib < 25.0, f"{grown_mib:.0f} MiB over 12 courses"


@needs_pictures
def test_a_closed_session_draws_no_more():
    session = Session(SessionConfig(**SMALL), RobotConfig())
    session.close()
    session.close()
    with pytest.raises(ConfigError, match="closed"):
        session.advance()
