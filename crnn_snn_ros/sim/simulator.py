"""The closed world: a command in, the next camera frame and what the robot's body knows out."""

from __future__ import annotations

import math
from types import TracebackType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.types import Command, Frame
from crnn_snn_ros.sim.course import Course
from crnn_snn_ros.sim.geometry import cast, segment_distance
from crnn_snn_ros.sim.looks import Lens, Look
from crnn_snn_ros.sim.robot import RobotConfig, RobotState, step
from crnn_snn_ros.sim.scene import Scene

GOAL, DISTANCE, TIMEOUT, CONTACT = "goal", "distance", "timeout", "contact"
SUCCESSES = (GOAL, DISTANCE)
MOST_SUBSTEP_S = 0.0125
SCAN_REACH_M = 8.0
_START_NS = 1_000_000_000  # a stamp of zero means "no stamp" to some


class Observation(NamedTuple):
    """What is known at one moment of a run."""

    frame: Frame | None  # None where the simulator was told not to draw
    state: RobotState
    time_s: float
    distance_m: float  # driven so far
    collided: bool
    finished: str | None  # None while the run goes on, else GOAL, DISTANCE, TIMEOUT or CONTACT

    @property
    def succeeded(self) -> bool:
        """Whether the run ended as it should."""
        return self.finished in SUCCESSES


class Simulator:
    """One robot on one course.

    Contact is exact plane geometry between the footprint and every shape, at every sub-step. It is
    not left to a physics engine: whatever the robot touches ends the run, so no force matters, and
    the same commands give the same contact on every machine.

    Args:
        course: where it drives.
        look: what it sees; None draws nothing, and frames are None.
        robot: the base.
        camera: width and height of the frames, pixels.
        rate_hz: frames and commands a second.

    Raises:
        ConfigError: the rate is not positive, or nothing can be drawn on this machine.

    Example::

        with Simulator(course, Look.from_seed(course.seed)) as simulator:
            seen = simulator.reset()
            while seen.finished is None:
                seen = simulator.step(Command(0.5, 0.0))
    """

    def __init__(
        self,
        course: Course,
        look: Look | None,
        robot: RobotConfig | None = None,
        camera: tuple[int, int] = (96, 64),
        rate_hz: float = 20.0,
    ) -> None:
        if not 0.5 <= rate_hz <= 1000.0:
            raise ConfigError(f"simulator rate_hz is {rate_hz}; it must lie in [0.5, 1000]")
        self.course = course
        self.look = look
        self.robot = robot or RobotConfig()
        self.rate_hz = rate_hz
        self._substeps = math.ceil(1.0 / (rate_hz * MOST_SUBSTEP_S))
        movers = [mover.speed_mps for mover in course.movers]
        self._fastest_mps = max(movers, default=0.0) + self.robot.max_speed_mps
        # The front of a long footprint swings as well.
        self._fastest_mps += self.robot.length_m * self.robot.max_yaw_rate_radps
        self._scene = Scene(course, look, *camera) if look is not None else None
        self._lens = Lens(look.camera, look.seed) if look is not None else None
        self.reset()

    def reset(self) -> Observation:
        """Put the robot back to the start, at rest, at time zero."""
        self._count = 0
        self._time_s = 0.0
        self._distance_m = 0.0
        self._state = RobotState(*self.course.start)
        self._room_m = 0.0  # at least so much, were it measured
        self._observation = self._observe(collided=False)
        return self._observation

    @property
    def observation(self) -> Observation:
        """The last one."""
        return self._observation

    def step(self, command: Command) -> Observation:
        """Drive for one frame's time, or less where the robot touches something.

        A run that is over stays as it is.
        """
        if self._observation.finished is not None:
            return self._observation
        dt_s = 1.0 / (self.rate_hz * self._substeps)
        self._count += 1
        collided = False
        for number in range(self._substeps):
            before = self._state
            self._state = step(before, command, dt_s, self.robot)
            self._distance_m += 0.5 * (before.speed_mps + self._state.speed_mps) * dt_s
            self._time_s = (self._count - 1) / self.rate_hz + (number + 1) * dt_s
            # Nothing can have come nearer by more than both have moved since it was measured.
            self._room_m -= self._fastest_mps * dt_s
            if self._room_m <= 0.0:
                self._room_m = self.clearance_m()
            collided = self._room_m <= 0.0
            if collided:
                break
        self._observation = self._observe(collided)
        return self._observation

    def clearance_m(self) -> float:
        """Distance between the footprint and what is nearest; not above 0 at contact."""
        start, end = footprint(self._state, self.robot)
        apart = segment_distance(start, end, self.course.at(self._time_s))
        return float(apart.min()) - self.robot.radius_m

    def scan(self, rays: int = 180, field_rad: float = 2.0 * math.pi) -> NDArray[np.float64]:
        """Ranges of a laser scanner over the footprint's middle, from right to left.

        Args:
            rays: how many, spread evenly over the field, its ends included unless it is a circle.
            field_rad: symmetric about straight ahead.

        Returns:
            (rays,), m, ``SCAN_REACH_M`` where nothing is near enough.
        """
        x, y, yaw = self.camera_pose()
        circle = field_rad >= 2.0 * math.pi - 1e-9
        angles = yaw + np.linspace(-field_rad / 2, field_rad / 2, rays, endpoint=not circle)
        shapes = self.course.at(self._time_s)
        return cast(np.array([x, y]), angles, shapes, SCAN_REACH_M)[0]

    def camera_pose(self) -> tuple[float, float, float]:
        """Middle of the footprint, x m, y m, and heading, rad."""
        (ax, ay), (bx, by) = footprint(self._state, self.robot)
        return (ax + bx) / 2, (ay + by) / 2, self._state.yaw_rad

    def _observe(self, collided: bool) -> Observation:
        frame = None
        if self._scene is not None and self._lens is not None and self.look is not None:
            image = self._lens(self._scene.render(self.camera_pose(), self._time_s), self._count)
            frame = Frame(_START_NS + round(1e9 * self._time_s), image, self.look.camera.mount)
        return Observation(
            frame, self._state, self._time_s, self._distance_m, collided, self._end(collided)
        )

    def _end(self, collided: bool) -> str | None:
        if collided:
            return CONTACT
        if self.course.route:
            if self.course.progress_m(self._state.x_m, self._state.y_m) >= self.course.goal_m:
                return GOAL
        elif self._distance_m >= self.course.goal_m:
            return DISTANCE
        return TIMEOUT if self._time_s >= self.course.timeout_s - 1e-9 else None

    def change_look(self, look: Look) -> None:
        """Let the course look otherwise from the next frame on; see ``Scene.repaint``."""
        if self._scene is not None:
            self.look = look
            self._scene.repaint(look)
            self._lens = Lens(look.camera, look.seed)

    def close(self) -> None:
        """Free what draws; the simulator is of no use afterwards."""
        if self._scene is not None:
            self._scene.close()

    def __enter__(self) -> Simulator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def footprint(
    state: RobotState, robot: RobotConfig
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of the segment that, grown by the robot's radius, is its footprint: (2,), (2,), m."""
    rear = np.array([state.x_m, state.y_m])
    ahead = np.array([math.cos(state.yaw_rad), math.sin(state.yaw_rad)])
    return rear, rear + robot.length_m * ahead
