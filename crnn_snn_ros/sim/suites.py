"""Policies judged on courses: how often they get through, what they hit, how fast they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache, partial
from multiprocessing import get_context
from typing import NamedTuple, Protocol

from crnn_snn_ros.core.command import ControlConfig
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.types import Command
from crnn_snn_ros.pipeline import Pipeline, load_pipeline
from crnn_snn_ros.sim.course import Course
from crnn_snn_ros.sim.expert import Expert
from crnn_snn_ros.sim.generate import NARROW, Difficulty, generate
from crnn_snn_ros.sim.looks import Look
from crnn_snn_ros.sim.robot import RobotConfig
from crnn_snn_ros.sim.simulator import CONTACT, SUCCESSES, TIMEOUT, Observation, Simulator


class Policy(Protocol):
    """What drives."""

    def reset(self) -> None:
        """Forget the run before."""

    def act(self, observation: Observation) -> Command:
        """The command for the next frame's time."""


PolicyFactory = Callable[[Simulator], Policy]


@dataclass(frozen=True)
class Suite:
    """Courses that ask for one thing.

    The kinds of course follow the seed, three corridors to a room and an open ground, so that any
    run of seeds has its share of each.
    """

    difficulty: Difficulty
    held_out_looks: bool = False

    def course(self, seed: int) -> Course:
        """The course of a seed."""
        return generate(_MIX[seed % len(_MIX)], seed, self.difficulty)

    def look(self, seed: int) -> Look:
        """The look of a seed."""
        return Look.from_seed(seed, self.held_out_looks)


_MIX = ("corridor", "corridor", "room", "corridor", "open")
SUITES = {
    "static": Suite(Difficulty()),
    "movers": Suite(Difficulty(movers=(1, 2))),
    "narrow": Suite(NARROW),
    "looks": Suite(Difficulty(movers=(0, 2)), held_out_looks=True),
}
TRAIN_SEEDS = range(1000, 5000)  # those of VALIDATION_SEEDS are left out
VALIDATION_SEEDS = range(2000, 2400)
DAGGER_SEEDS = range(6000, 10000)
TEST_SEEDS = range(50000, 50100)


class Straight:
    """Full speed ahead, whatever comes: the least that a policy must beat."""

    def __init__(self, speed_mps: float = 1.0) -> None:
        self._command = Command(speed_mps, 0.0)

    def reset(self) -> None:
        """Nothing: it remembers nothing."""

    def act(self, _: Observation) -> Command:
        """The same command as ever."""
        return self._command


class Unsteered:
    """A policy's speeds without its steering: what its caution alone is worth."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def reset(self) -> None:
        """Reset the policy."""
        self._policy.reset()

    def act(self, observation: Observation) -> Command:
        """The policy's command, straight ahead."""
        return self._policy.act(observation)._replace(angular_radps=0.0)


class PipelinePolicy:
    """A network at the wheel: the very pipeline that the node runs."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.reset()

    def reset(self) -> None:
        """Clear the network's memory."""
        self._state = self._pipeline.initial_state()

    def act(self, observation: Observation) -> Command:
        """Answer one frame."""
        if observation.frame is None:
            raise ConfigError("a network needs frames: give the simulator a look")
        answer, self._state = self._pipeline.step(observation.frame, self._state)
        return answer.command


@dataclass(frozen=True)
class ModelDriver:
    """Makes a ``PipelinePolicy`` of a model file; loads it once in each process.

    Args:
        path: of the model.
        control: how its predictions become commands.
        engine, device: as for ``load_pipeline``.
    """

    path: str
    control: ControlConfig
    engine: str = "auto"
    device: str = "cpu"

    def __call__(self, _: Simulator) -> PipelinePolicy:
        """The policy for one course."""
        return PipelinePolicy(_loaded(self))


@lru_cache(maxsize=2)
def _loaded(driver: ModelDriver) -> Pipeline:
    return load_pipeline(driver.path, driver.engine, driver.device, driver.control)


def expert(simulator: Simulator) -> Policy:
    """The privileged expert."""
    return Expert(simulator.course, simulator.robot)


def straight(_: Simulator) -> Policy:
    """Straight ahead at 1 m/s."""
    return Straight()


BLIND: dict[str, PolicyFactory] = {"expert": expert, "straight": straight}  # they need no frames


@dataclass(frozen=True)
class Setup:
    """What is the same on all courses of a comparison."""

    robot: RobotConfig = field(default_factory=RobotConfig)
    camera: tuple[int, int] = (96, 64)  # width, height, pixels
    rate_hz: float = 20.0
    draw: bool = True  # False: no frames, for policies that need none


class Outcome(NamedTuple):
    """How one run ended."""

    seed: int
    kind: str
    finished: str
    distance_m: float
    time_s: float

    @property
    def succeeded(self) -> bool:
        """Whether it ended as it should."""
        return self.finished in SUCCESSES


def run_course(
    policy: PolicyFactory, course: Course, look: Look | None, setup: Setup | None = None
) -> Outcome:
    """One policy on one course, from the start to the end."""
    setup = setup or Setup()
    shown = look if setup.draw else None
    with Simulator(course, shown, setup.robot, setup.camera, setup.rate_hz) as simulator:
        driver = policy(simulator)
        driver.reset()
        seen = simulator.observation
        while seen.finished is None:
            seen = simulator.step(driver.act(seen))
    return Outcome(course.seed, course.kind, seen.finished, seen.distance_m, seen.time_s)


def run_suite(
    policy: PolicyFactory,
    suite: str,
    seeds: Iterable[int],
    setup: Setup | None = None,
    processes: int = 1,
    progress: Callable[[Outcome], object] | None = None,
) -> list[Outcome]:
    """One policy on many courses, in the order of the seeds however many processes there are.

    Args:
        policy: makes the driver of a course; with several processes it must be picklable (a
            function of a module, or a ``ModelDriver``).
        suite: a key of ``SUITES``.
        seeds: of the courses.
        setup: robot and camera.
        processes: how many to spread the courses over; 1 runs them here.
        progress: called with each outcome, in the order of the seeds.

    Raises:
        ConfigError: no such suite, or nothing can be drawn on this machine.
    """
    if suite not in SUITES:
        raise ConfigError(f"suite is '{suite}'; it must be one of {', '.join(SUITES)}")
    return spread(partial(_run_seed, policy, suite, setup or Setup()), seeds, processes, progress)


def spread(
    run: Callable[[int], Outcome],
    seeds: Iterable[int],
    processes: int,
    progress: Callable[[Outcome], object] | None,
) -> list[Outcome]:
    """Run seeds over processes (1: here); outcomes in the order of the seeds, as they come."""
    with ExitStack() as stack:
        outcomes: Iterator[Outcome] = map(run, seeds)
        if processes > 1:
            # Not forked: a copy of a process that has drawn, or started threads, may hang.
            pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
            outcomes = stack.enter_context(pool).map(run, seeds)
        done = []
        for outcome in outcomes:
            done.append(outcome)
            if progress is not None:
                progress(outcome)
        return done


def _run_seed(policy: PolicyFactory, suite: str, setup: Setup, seed: int) -> Outcome:
    asked = SUITES[suite]
    look = asked.look(seed) if setup.draw else None
    return run_course(policy, asked.course(seed), look, setup)


class Summary(NamedTuple):
    """Figures of a suite; a pair ``*_ci95`` is a 95 % interval."""

    courses: int
    success: float
    success_ci95: tuple[float, float]  # Wilson
    collisions: int
    collisions_per_km: float
    collisions_per_km_ci95: tuple[float, float]  # Byar's approximation to Poisson's
    mean_speed: float  # m/s, distance over time of all runs together
    mean_speed_ci95: tuple[float, float]  # normal, over courses
    timeouts: float
    timeouts_ci95: tuple[float, float]  # Wilson


def summarize(outcomes: Sequence[Outcome]) -> Summary:
    """Figures of some runs.

    Raises:
        ConfigError: there are none.
    """
    if not outcomes:
        raise ConfigError("no course was driven, so there is nothing to summarize")
    count = len(outcomes)
    succeeded = sum(outcome.succeeded for outcome in outcomes)
    hits = sum(outcome.finished == CONTACT for outcome in outcomes)
    late = sum(outcome.finished == TIMEOUT for outcome in outcomes)
    distance = sum(outcome.distance_m for outcome in outcomes)
    time_s = sum(outcome.time_s for outcome in outcomes)
    speed = distance / time_s
    # Of a ratio of sums: each course counts by its time.
    residuals = [outcome.distance_m - speed * outcome.time_s for outcome in outcomes]
    spread = 1.96 * math.sqrt(sum(r * r for r in residuals)) / time_s
    low, high = byar(hits)
    per_km = 1000.0 / max(distance, 1e-9)
    return Summary(
        count,
        succeeded / count,
        wilson(succeeded, count),
        hits,
        hits * per_km,
        (low * per_km, high * per_km),
        speed,
        (speed - spread, speed + spread),
        late / count,
        wilson(late, count),
    )


def wilson(successes: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval of a proportion.

    Example:
        >>> [round(end, 3) for end in wilson(98, 100)]
        [0.93, 0.994]
    """
    share = successes / count
    middle = share + z * z / (2 * count)
    reach = z * math.sqrt(share * (1.0 - share) / count + z * z / (4 * count * count))
    whole = 1.0 + z * z / count
    return max((middle - reach) / whole, 0.0), min((middle + reach) / whole, 1.0)


def byar(events: int, z: float = 1.96) -> tuple[float, float]:
    """Byar's approximation to the exact interval of a Poisson count."""
    low = 0.0
    if events:
        low = events * (1.0 - 1.0 / (9 * events) - z / (3 * math.sqrt(events))) ** 3
    more = events + 1
    return max(low, 0.0), more * (1.0 - 1.0 / (9 * more) + z / (3 * math.sqrt(more))) ** 3
