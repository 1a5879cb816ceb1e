"""Drives of the simulator anew, by the commands that drove them: another camera, other looks.

The same commands lead the same way, to the last bit. So what one network drove can teach another
that sees differently, with what the teacher of today says about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.core.types import Command
from crnn_snn_ros.data.bags import read_info, read_messages
from crnn_snn_ros.data.data_config import BagConfig
from crnn_snn_ros.data.messages import TWIST_STAMPED
from crnn_snn_ros.io.processes import HERE, Workers, spread
from crnn_snn_ros.sim.record import (
    SOURCE,
    SPLIT,
    Drive,
    Recording,
    record_course,
    require_fits,
    write_data_file,
)
from crnn_snn_ros.sim.simulator import Observation, Simulator
from crnn_snn_ros.sim.suites import SUITES, Outcome, Setup, run_course


class Recorded:
    """A policy that does what was done.

    Args:
        commands: that drove, one for each frame.
        what: they are of, for messages.
    """

    def __init__(self, commands: list[Command], what: Path) -> None:
        self._commands, self._what = commands, what
        self.reset()

    def reset(self) -> None:
        """Begin with the first command."""
        self._left = iter(self._commands)

    def act(self, _: Observation) -> Command:
        """The command of this frame.

        Raises:
            DataError: the drive was over by then.
        """
        command = next(self._left, None)
        if command is None:
            raise self.another()
        return command

    def require_end(self) -> None:
        """Raise a DataError unless nothing is left to do."""
        if next(self._left, None) is not None:
            raise self.another()

    def another(self) -> DataError:
        """What to say of a drive that ends elsewhere than it did."""
        return DataError(
            f"bag {self._what} was driven on another course than its suite and seed mean today; "
            "leave it out"
        )


class _Driven(NamedTuple):
    """A recorded drive."""

    suite: str
    seed: int
    split: str
    policy: Recorded


def redrive(
    bags: Iterable[BagConfig],
    setup: Setup,
    recording: Recording,
    workers: Workers = HERE,
    progress: Callable[[Outcome | None], object] | None = None,
) -> list[Outcome | None]:
    """Record drives anew, each for what it was for, and write ``data.yaml`` of all in the folder.

    Args:
        bags: drives that ``record`` wrote; what they are for as the data file says, else they do.
        setup: robot and camera of today.
        recording: where the new bags go, and how. Noise was in the commands.
        workers: who drives.
        progress: called with each outcome, or None of a drive that was there already.

    Raises:
        DataError: a bag cannot be read or written, is no drive of the simulator, or its course is
            another one today.
        ConfigError: nothing can be drawn on this machine, two drives have one name, or as
            ``record.require_fits``.
    """
    bags = list(bags)
    names = [bag.path.name for bag in bags]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"several drives are called {', '.join(twice)}; redrive them apart")
    require_fits(recording, setup)
    run = partial(_redrive, setup, recording)
    outcomes = spread(
        run, bags, workers, progress, made=lambda bag: (recording.folder / bag.path.name,)
    )
    write_data_file(recording, setup)
    return outcomes


def _redrive(setup: Setup, recording: Recording, bag: BagConfig) -> Outcome | None:
    if (recording.folder / bag.path.name).exists():
        return None
    driven = _read(bag.path, setup.rate_hz)
    if Drive(recording, driven.suite, driven.seed).bag.name != bag.path.name:
        raise DataError(
            f"bag {bag.path} is not called {driven.suite}_{driven.seed}, after its course"
        )

    def driver(_: Simulator) -> Recorded:
        return driven.policy

    course = SUITES[driven.suite].course(driven.seed)
    blind = replace(setup, draw=False)
    run_course(driver, course, None, blind)  # before anything is written
    driven.policy.require_end()
    recording = replace(recording, split=bag.split or driven.split, noise_radps=0.0)
    return record_course(driver, driven.suite, setup, recording, driven.seed)


def _read(bag: Path, rate_hz: float) -> _Driven:
    about = read_info(bag).about
    suite, seed = about.get("suite"), about.get("seed", "")
    if about.get("source") != SOURCE or suite not in SUITES or not seed.isdecimal():
        raise DataError(f"bag {bag} is no drive of this simulator: it does not say of which course")
    messages = list(read_messages(bag, "/cmd_vel", (TWIST_STAMPED,)))
    if len(messages) > 1:
        took_s = 1e-9 * (messages[-1].stamp_ns - messages[0].stamp_ns)
        recorded_hz = (len(messages) - 1) / max(took_s, 1e-9)
        if abs(recorded_hz / rate_hz - 1.0) > 0.01:
            raise DataError(
                f"bag {bag} has {recorded_hz:.3g} frames a second, "
                f"frame_rate_hz of the data file is {rate_hz:g}"
            )
    twists = (message.content.twist for message in messages)
    commands = [Command(twist.linear.x, twist.angular.z) for twist in twists]
    return _Driven(suite, int(seed), about.get(SPLIT, "train"), Recorded(commands, bag))
