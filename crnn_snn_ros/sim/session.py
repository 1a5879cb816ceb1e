"""Courses driven one after another, in one time that never runs back.

    playlist --> Simulator of the course --> Moment, Moment, ... , the last with how it ended
                      ^ command                        (a gap of time, then the next course)

No ROS, no thread and no clock are in here: whoever calls ``advance`` decides when time passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from types import TracebackType
from typing import NamedTuple

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.mount import STANDARD_FOV_DEG, MountConfig
from crnn_snn_ros.core.settings import setting
from crnn_snn_ros.core.types import STOP, Command, Frame
from crnn_snn_ros.io.model_file import Model
from crnn_snn_ros.sim.course import Course
from crnn_snn_ros.sim.looks import Look
from crnn_snn_ros.sim.robot import RobotConfig
from crnn_snn_ros.sim.simulator import Observation, Simulator
from crnn_snn_ros.sim.suites import SUITES, Outcome, Run

_MOST_SEED = 1_000_000_000


class Entry(NamedTuple):
    """One course of a playlist; written ``suite:seed``."""

    suite: str
    seed: int

    def __str__(self) -> str:
        return f"{self.suite}:{self.seed}"


@dataclass(frozen=True)
class SessionConfig(MountConfig):
    """Which courses, what sees them, and when a base stops by itself.

    Without a mount each course draws one, as the rest of its looks.

    Raises:
        ConfigError: a value is outside its range, or a word of the playlist means nothing.
    """

    suite: str = setting("static", "what the courses ask for", choices=tuple(SUITES))
    seed: int = setting(
        2000, "seed of the first course; the next one has the next", (0, _MOST_SEED)
    )
    courses: int = setting(0, "courses to drive, then the world stands; 0: no end", (0, 1_000_000))
    playlist: str = setting(
        "", "courses by name instead, in order: words like movers:2001; then the world stands"
    )
    width: int = setting(96, "of the camera's image, pixels", (8, 4096))
    height: int = setting(64, "of the camera's image, pixels", (8, 4096))
    fov_deg: float = setting(
        STANDARD_FOV_DEG,
        "horizontal field of view, about which the cameras that courses draw are, degrees",
        (10.0, 170.0),
    )
    rate_hz: float = setting(20.0, "frames and steps of the world a second", (1.0, 200.0))
    gap: float = setting(
        2.0,
        "time that passes between two courses, s; over the node's reset_gap, so that it forgets",
        (0.1, 60.0),
    )
    command_timeout: float = setting(
        0.5, "the base stops where no command came for this long, s; 0: never", (0.0, 60.0)
    )

    def __post_init__(self) -> None:
        """Validate."""
        super().__post_init__()
        parse_playlist(self.playlist)

    def entries(self) -> Iterator[Entry]:
        """The courses, in order."""
        if self.playlist.strip():
            return iter(parse_playlist(self.playlist))
        seeds = (Entry(self.suite, seed) for seed in count(self.seed))
        return islice(seeds, self.courses) if self.courses else seeds


def pictures_for(model: Model) -> dict[str, int | float]:
    """The settings with which a world shows a model pictures as it is made for."""
    contract = model.contract
    return {
        "width": contract.width,
        "height": contract.height,
        "fov_deg": float(contract.fov_deg),
        "rate_hz": float(model.frame_rate_hz),
    }


def parse_playlist(text: str) -> tuple[Entry, ...]:
    """Read words like ``movers:2001``, separated by blanks.

    Raises:
        ConfigError: a word names no course.

    Example:
        >>> parse_playlist("static:2000 movers:7")
        (Entry(suite='static', seed=2000), Entry(suite='movers', seed=7))
    """
    return tuple(_entry(word) for word in text.split())


def _entry(word: str) -> Entry:
    suite, _, seed = word.partition(":")
    digits = seed.isascii() and seed.isdigit() and len(seed) <= len(str(_MOST_SEED))
    if suite not in SUITES or not digits or int(seed) > _MOST_SEED:
        raise ConfigError(
            f"playlist has '{word}'; a course is SUITE:SEED, as in movers:2001, "
            f"with a suite of {', '.join(SUITES)}"
        )
    return Entry(suite, int(seed))


class Moment(NamedTuple):
    """One frame of a session."""

    entry: Entry
    frame: Frame  # stamped in the session's time
    seen: Observation  # in the course's own time
    number: int  # of the frame, from 0 where the course begins
    first_ns: int  # stamp of that frame


class Session:
    """A robot that is put on one course after the other.

    Args:
        config: courses and camera.
        robot: the base.

    Raises:
        ConfigError: nothing can be drawn on this machine.

    Example::

        with Session(SessionConfig(playlist="static:2000 movers:2001"), RobotConfig()) as session:
            while (moment := session.advance()) is not None:
                session.command(answer(moment.frame))
    """

    def __init__(self, config: SessionConfig, robot: RobotConfig) -> None:
        self._config = config
        self._robot = robot
        self._entries = config.entries()
        self._simulator: Simulator | None = None
        self._time_ns = 0  # added to the stamps of the present course
        self._restart()
        self._moment = self._open(next(self._entries))

    @property
    def moment(self) -> Moment:
        """The last one."""
        return self._moment

    @property
    def simulator(self) -> Simulator:
        """That of the present course."""
        if self._simulator is None:
            raise ConfigError("the session is closed")
        return self._simulator

    @property
    def course(self) -> Course:
        """The present one."""
        return self.simulator.course

    @property
    def look(self) -> Look:
        """What the present course looks like."""
        return self._look

    @property
    def outcome(self) -> Outcome | None:
        """How the present course ended; None while it goes on."""
        seen = self._moment.seen
        return self._run.outcome(seen) if seen.finished is not None else None

    def command(self, command: Command) -> None:
        """Tell the base; it counts from the last frame on, until the next one or the timeout."""
        self._command, self._told_s = command, self._moment.seen.time_s

    def advance(self) -> Moment | None:
        """Let one frame's time pass; after the end of a course, begin the next one.

        Returns:
            The next moment, or None where the last course is over.
        """
        if self._moment.seen.finished is None:
            seen = self.simulator.step(self._in_force())
            self._run.add(seen)
            self._moment = self._show(seen, self._moment.number + 1)
            return self._moment
        entry = next(self._entries, None)
        if entry is None:
            return None
        self._moment = self._open(entry)
        return self._moment

    def reset(self) -> Moment:
        """Begin the present course anew, a gap later."""
        self._pass_gap()
        self._moment = self._show(self.simulator.reset(), 0)
        return self._moment

    def close(self) -> None:
        """Free what draws."""
        if self._simulator is not None:
            self._simulator.close()
            self._simulator = None

    def _open(self, entry: Entry) -> Moment:
        if self._simulator is not None:
            self._pass_gap()
            self.close()
        suite, config = SUITES[entry.suite], self._config
        look = suite.look(entry.seed).with_lens(config.fov_deg)
        self._look = look.through(config.mount(config.fov_deg))
        self._simulator = Simulator(
            suite.course(entry.seed),
            self._look,
            self._robot,
            (config.width, config.height),
            config.rate_hz,
        )
        self._entry = entry
        return self._show(self._simulator.observation, 0)

    def _pass_gap(self) -> None:
        """The next course's first frame comes a gap after the last frame of this one."""
        past = self._moment
        self._time_ns += past.frame.stamp_ns + round(1e9 * self._config.gap) - past.first_ns
        self._restart()

    def _restart(self) -> None:
        self._command, self._told_s = STOP, 0.0

    def _in_force(self) -> Command:
        silent_s = self._moment.seen.time_s - self._told_s
        timeout_s = self._config.command_timeout
        return STOP if 0.0 < timeout_s <= silent_s + 1e-9 else self._command

    def _show(self, seen: Observation, number: int) -> Moment:
        if seen.frame is None:
            raise ConfigError("a session needs frames: give its simulator a look")
        frame = seen.frame._replace(stamp_ns=seen.frame.stamp_ns + self._time_ns)
        if number == 0:
            self._run = Run(self.course)
        first_ns = self._moment.first_ns if number else frame.stamp_ns
        return Moment(self._entry, frame, seen, number, first_ns)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
