"""Policies judged on courses: how often they get through, what they hit, how fast they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import NamedTuple, Protocol

import numpy as np

from crnn_snn_ros.core.command import ControlConfig
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.mount import STANDARD_FOV_DEG, CameraMount
from crnn_snn_ros.core.types import Command
from crnn_snn_ros.io.preprocess import InputContract
from crnn_snn_ros.io.processes import HERE, Workers, spread
from crnn_snn_ros.pipeline import FrameLoop, kept_pipeline
from crnn_snn_ros.sim.course import Course
from crnn_snn_ros.sim.expert import Expert, ExpertConfig
from crnn_snn_ros.sim.generate import NARROW, Difficulty, generate
from crnn_snn_ros.sim.looks import Look
from crnn_snn_ros.sim.robot import RobotConfig
from crnn_snn_ros.sim.rollouts import Doubt
from crnn_snn_ros.sim.sight import Sight
from crnn_snn_ros.sim.simulator import SUCCESSES, Observation, Simulator


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
        return generate(kind_of(seed), seed, self.difficulty)

    def look(self, seed: int) -> Look:
        """The look of a seed."""
        return Look.from_seed(seed, self.held_out_looks)


def kind_of(seed: int) -> str:
    """The kind of the course of a seed, in every suite."""
    return _MIX[seed % len(_MIX)]


_MIX = ("corridor", "corridor", "room", "corridor", "open")
SUITES = {
    "static": Suite(Difficulty()),
    "movers": Suite(Difficulty(movers=(0, 2))),
    "rush": Suite(Difficulty(movers=(1, 2), mover_mps=(0.25, 0.7))),
    "crowd": Suite(Difficulty(movers=(3, 4))),
    "narrow": Suite(NARROW),
    "looks": Suite(Difficulty(movers=(0, 2)), held_out_looks=True),
}
TRAIN_SEEDS = range(1000, 5000)  # those of VALIDATION_SEEDS are left out
VALIDATION_SEEDS = range(2000, 2400)
DAGGER_SEEDS = range(6000, 10000)
TEST_SEEDS = range(50000, 50100)
RATE_HZ = 20.0  # frames a second


class Straight:
    """Full speed ahead, whatever comes: the least that a policy must beat."""

    def __init__(self, speed_mps: float = 1.0) -> None:
        self._command = Command(speed_mps, 0.0)

    def reset(self) -> None:
        """Nothing: it remembers nothing."""

    def act(self, _: Observation) -> Command:
        """The same command as ever."""
        return self._command


class PipelinePolicy:
    """A network at the wheel: the very pipeline that the node runs.

    Args:
        pipeline: of the network.
        memory: False: the network forgets what it saw after every frame. (Not the control law.)
        steers: False: its speeds without its steering, which is what its caution alone is worth.
    """

    def __init__(self, pipeline: FrameLoop, *, memory: bool = True, steers: bool = True) -> None:
        self._pipeline = pipeline
        self._memory = memory
        self._steers = steers
        self.reset()

    def reset(self) -> None:
        """Clear the network's memory."""
        self._state = self._pipeline.initial_state()

    def act(self, observation: Observation) -> Command:
        """Answer one frame."""
        if observation.frame is None:
            raise ConfigError("a network needs frames: give the simulator a look")
        if not self._memory:
            self._state = self._state._replace(carry=self._pipeline.initial_carry())
        answer, self._state = self._pipeline.step(observation.frame, self._state)
        if self._steers:
            return answer.command
        # The next frame is seen as by a robot that did not turn, so the state must not say it did.
        control = self._state.control._replace(angular_radps=0.0)
        self._state = self._state._replace(control=control)
        return answer.command._replace(angular_radps=0.0)


@dataclass(frozen=True)
class ModelDriver:
    """Makes a ``PipelinePolicy`` of a model file; loads it once in each process.

    Args:
        path: of the model.
        control: how its predictions become commands.
        engine, device: as for ``load_pipeline``.
        memory, steers: as for ``PipelinePolicy``.
    """

    path: str
    control: ControlConfig
    engine: str = "auto"
    device: str = "cpu"
    memory: bool = True
    steers: bool = True

    def __call__(self, _: Simulator) -> PipelinePolicy:
        """The policy for one course."""
        pipeline = kept_pipeline(self.path, self.engine, self.device, self.control)
        return PipelinePolicy(pipeline, memory=self.memory, steers=self.steers)


def driving(speed_mps: float = 1.0, drive: str = "differential") -> ControlConfig:
    """How predictions become commands in the simulator.

    Steering means to the model what it means to the expert whose labels it learns, and the base
    takes what it is told.

    Args:
        speed_mps: where no collision is expected.
        drive: kind of base.
    """
    expert = ExpertConfig()
    turns = drive == "differential"
    return ControlConfig(
        drive=drive,
        v_max_mps=speed_mps,
        yaw_gain=expert.yaw_gain,
        max_steering_rad=expert.max_steering_rad,
        steering_smoothing_s=0.0,
        acceleration_mps2=1.5,
        yaw_acceleration_radps2=20.0,
        stop_threshold=0.95,
        go_threshold=0.9,
        go_frames=1,
        turn_after_s=0.4 if turns else 0.0,
    )


def expert(simulator: Simulator) -> Policy:
    """The privileged expert."""
    return Expert(simulator.course, simulator.robot)


def teacher(simulator: Simulator, fov_deg: float = STANDARD_FOV_DEG) -> Expert:
    """Who drives and labels for training: an expert that sees what a camera could know.

    It keeps more room than a network that imitates it needs in the end, and takes what moves to go
    straight on: where it will turn back no network could learn.

    Args:
        simulator: of the course.
        fov_deg: horizontal field of view of those that are taught.
    """
    config = ExpertConfig(margin_m=0.1, doubt=Doubt(0.05, 0.1), foresight=False)
    return Expert(simulator.course, simulator.robot, config, Sight(math.radians(fov_deg)))


def straight(_: Simulator) -> Policy:
    """Straight ahead at 1 m/s."""
    return Straight()


# They need no frames. Who teaches networks that see otherwise: ``partial(teacher, fov_deg=...)``.
BLIND: dict[str, PolicyFactory] = {"expert": expert, "teacher": teacher, "straight": straight}


@dataclass(frozen=True)
class Setup:
    """What is the same on all courses of a comparison."""

    robot: RobotConfig = field(default_factory=RobotConfig)
    camera: tuple[int, int] = (96, 64)  # width, height, pixels
    rate_hz: float = RATE_HZ
    draw: bool = True  # False: no frames, for policies that need none
    mount: CameraMount | None = None  # of the camera; None: each look has its own
    fov_deg: float = STANDARD_FOV_DEG  # about which the cameras of looks are

    @classmethod
    def of(cls, contract: InputContract, rate_hz: float, mount: CameraMount | None = None) -> Setup:
        """With cameras for which a network is made."""
        camera = contract.width, contract.height
        return cls(camera=camera, rate_hz=rate_hz, mount=mount, fov_deg=contract.fov_deg)

    def seen(self, look: Look) -> Look:
        """A look through its camera."""
        return look.with_lens(self.fov_deg).through(self.mount)


class Outcome(NamedTuple):
    """How one run ended."""

    seed: int
    kind: str
    finished: str
    distance_m: float
    time_s: float
    path: str  # digest of every pose: equal where two runs were the same, bit for bit

    @property
    def succeeded(self) -> bool:
        """Whether it ended as it should."""
        return self.finished in SUCCESSES


class Run:
    """A run on its way."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._path = blake2b(digest_size=16)

    def add(self, seen: Observation) -> None:
        """One step more."""
        self._path.update(np.array(seen.state, np.float64).tobytes())

    def outcome(self, last: Observation) -> Outcome:
        """How it ended."""
        assert last.finished is not None
        return Outcome(
            self._course.seed,
            self._course.kind,
            last.finished,
            last.distance_m,
            last.time_s,
            self._path.hexdigest(),
        )


def run_course(
    policy: PolicyFactory, course: Course, look: Look | None, setup: Setup | None = None
) -> Outcome:
    """One policy on one course, from the start to the end."""
    setup = setup or Setup()
    shown = look if setup.draw else None
    with Simulator(course, shown, setup.robot, setup.camera, setup.rate_hz) as simulator:
        driver = policy(simulator)
        driver.reset()
        run = Run(course)
        seen = simulator.observation
        while seen.finished is None:
            seen = simulator.step(driver.act(seen))
            run.add(seen)
    return run.outcome(seen)


def run_suite(
    policy: PolicyFactory,
    suite: str,
    seeds: Iterable[int],
    setup: Setup | None = None,
    workers: Workers = HERE,
    progress: Callable[[Outcome], object] | None = None,
) -> list[Outcome]:
    """One policy on many courses, in the order of the seeds whoever runs them.

    Args:
        policy: makes the driver of a course; with other processes it must be picklable (a
            function of a module, or a ``ModelDriver``).
        suite: a key of ``SUITES``.
        seeds: of the courses.
        setup: robot and camera.
        workers: who drives.
        progress: called with each outcome, in the order of the seeds.

    Raises:
        ConfigError: no such suite, or nothing can be drawn on this machine.
    """
    if suite not in SUITES:
        raise ConfigError(f"suite is '{suite}'; it must be one of {', '.join(SUITES)}")
    return spread(partial(_run_seed, policy, suite, setup or Setup()), seeds, workers, progress)


def _run_seed(policy: PolicyFactory, suite: str, setup: Setup, seed: int) -> Outcome:
    asked = SUITES[suite]
    look = setup.seen(asked.look(seed)) if setup.draw else None
    return run_course(policy, asked.course(seed), look, setup)
