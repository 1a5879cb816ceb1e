"""The expert: it knows how what it sees will move, and tries out what to do.

It sees the shapes that a ray from the robot reaches: all around, or where it teaches a network that
looks ahead, only what a camera with a memory could know, and then it takes what moves to go
straight on. It rolls out paths of every steering
angle, at a fixed speed however fast the robot is (a path that grew with the present speed could not
be read from a picture), and takes a soft minimum of their costs around the best one, so that its
steering changes smoothly with the view. Only then does it choose how fast to go.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from crnn_snn_ros.core.types import Command
from crnn_snn_ros.core.ways import ANGLES, MOST_RAD, soft_minimum
from crnn_snn_ros.sim.course import Course
from crnn_snn_ros.sim.floor import furnished
from crnn_snn_ros.sim.geometry import Floats
from crnn_snn_ros.sim.robot import RobotConfig, RobotState
from crnn_snn_ros.sim.rollouts import Arcs, Doubt, View
from crnn_snn_ros.sim.sight import Sight
from crnn_snn_ros.sim.simulator import Observation

_WAY_MARGIN_M = 0.08  # beside the robot, on the way to a corridor's goal
_TEMPERATURE = 0.04  # of the soft minimum of its costs, which it knows
_TURNS = np.linspace(-np.pi, np.pi, 49)  # on the spot, rad
_STOPPING_S = np.linspace(0.1, 1.3, 9)  # when a speed must have kept its room
_HELD_S = np.array([0.4, 0.8, 1.3])  # it will not hold a steering for all that time


@dataclass(frozen=True)
class ExpertConfig:
    """What the expert aims at.

    The steering is in the units of the node: yaw rate = steering * yaw_gain for a differential
    drive, the wheels' angle for a car.
    """

    speed_mps: float = 1.0  # where the way is free
    rollout_mps: float = 1.0  # at least this, whatever the present speed
    horizon_s: float = 2.2
    samples: int = 12  # of a path
    max_steering_rad: float = MOST_RAD
    yaw_gain: float = 2.0
    clearance_m: float = 0.8  # more room than this is worth no more
    margin_m: float = 0.06  # less room than this is as bad as contact
    doubt: Doubt | None = None  # more than that from movers
    foresight: bool = True  # of where movers turn back
    squeeze_m: float = 0.015  # room that it makes do with at the least speed
    straight: float = 0.06  # cost of a rad of steering
    slow_mps: float = 0.4  # of the paths that are tried where there is no good one at speed
    slow_cost: float = 0.3  # cost of such a path
    astray: float = 0.35  # cost of coming no nearer to a corridor's goal
    spot_cost: float = 0.5  # cost of turning on the spot


class _Outlook(NamedTuple):
    """What an expert can do from one place, and what that would cost."""

    view: View
    state: RobotState
    fast: Floats  # (ANGLES,) of paths at speed
    slow: Floats  # (ANGLES,) of slow ones, without what slowness costs
    turns: Floats  # (len(_TURNS),) on the spot


class _Decision(NamedTuple):
    outlook: _Outlook
    steering_rad: float
    speed_mps: float


class Labels(NamedTuple):
    """What a camera frame is labelled with."""

    steering_rad: float  # the expert's, positive to the left
    collision: float  # share of the speeds up to its full one that would soon cost it its room
    speed_mps: float  # the expert's
    way_costs: tuple[float, ...]  # WAYS of them, what each would cost; see ``core.ways``


class Expert:
    """Steering, speed and labels for one robot on one course.

    Args:
        course: what it may look at.
        robot: the base that it drives.
        config: what it aims at.
        sight: what it sees; None: to every side.
    """

    def __init__(
        self,
        course: Course,
        robot: RobotConfig,
        config: ExpertConfig | None = None,
        sight: Sight | None = None,
    ) -> None:
        self.course = course
        self.robot = robot
        self.config = config or ExpertConfig()
        self._sight = sight
        self._last: tuple[RobotState, float, _Decision] | None = None
        most = self.config.max_steering_rad
        self._steering = np.linspace(-most, most, ANGLES)
        self._times = np.linspace(0.0, self.config.horizon_s, self.config.samples + 1)[1:]
        self._floor = furnished(course, _WAY_MARGIN_M)
        self._to_goal = self._floor.to_goal() if course.route else None
        # How long a path steers before it goes straight on: a bend, a swerve, a nudge.
        self._holds = np.array([self.config.horizon_s, 1.1, 0.55])
        self._discount = np.linspace(1.0, 0.5, self.config.samples)
        self._speeds = self.config.speed_mps * np.linspace(0.0, 1.0, 6)
        self._paths, self._groups = self._all_paths()

    def reset(self) -> None:
        """Forget what was seen."""
        self._last = None
        if self._sight is not None:
            self._sight.reset()

    def act(self, observation: Observation) -> Command:
        """What the expert would do."""
        _, steering, speed = self._decide(observation.state, observation.time_s)
        return Command(speed, self.yaw_rate(steering, speed))

    def labels(self, state: RobotState, time_s: float) -> Labels:
        """What the expert would do there and then.

        The collision label is what the control law makes the expert's speed of: the probability
        that a speed drawn from 0 to full leads, on the way that the expert chose, too near to
        something. Neither it nor the steering depends on how the robot moves, which a picture does
        not show. Stored states can be labelled again at any time.

        Args:
            state: of the robot.
            time_s: places the movers.
        """
        outlook, steering, speed = self._decide(state, time_s)
        costs = tuple(self._way_costs(outlook).tolist())
        return Labels(steering, 1.0 - speed / self.config.speed_mps, speed, costs)

    def time_to_contact_s(
        self, state: RobotState, time_s: float, horizon_s: float = 1.5, least_mps: float = 0.5
    ) -> float:
        """When the robot would touch something that is seen, were it to go on as it does.

        Looked for in its tube of motion: at its yaw rate and its speed, but at least at
        ``least_mps`` (one that stands has no tube).

        Args:
            state: of the robot.
            time_s: places the movers.
            horizon_s: how far to look ahead.
            least_mps: least speed of the tube.

        Returns:
            s, infinite where it touches nothing in the horizon.
        """
        view = self._decide(state, time_s).outlook.view
        times = np.linspace(0.0, horizon_s, 31)
        tube = Arcs(np.full(1, max(state.speed_mps, least_mps)),
                    np.array([state.yaw_rate_radps]), times, times[-1:])  # fmt: skip
        hit = np.flatnonzero(view.room(tube.of(state), times, 0.0)[0] <= 0.0)
        return float(times[hit[0]]) if len(hit) else math.inf

    def _decide(self, state: RobotState, time_s: float) -> _Decision:
        """What it sees and does; whoever drives and labels at once asks twice in a row."""
        if self._last is None or self._last[:2] != (state, time_s):
            view = View(self.course, state, self.robot, time_s, self._sight, self.config.doubt,
                        foresight=self.config.foresight)  # fmt: skip
            outlook = self._look_out(view, state)
            self._last = state, time_s, _Decision(outlook, *self._command(outlook))
        return self._last[2]

    def _command(self, outlook: _Outlook) -> tuple[float, float]:
        """Steering, rad, and speed, m/s."""
        steering, on_the_spot = self._choose(outlook)
        if on_the_spot:
            return steering, 0.0
        speed = self._speed(outlook.view, outlook.state, steering)
        if speed == 0.0 and self.robot.drive == "differential":
            steering = self._toward(_best(outlook.turns)[0])
        return steering, speed

    def yaw_rate(self, steering_rad: float, speed_mps: float) -> float:
        """Yaw rate of a steering angle."""
        if self.robot.drive == "ackermann":
            return speed_mps * math.tan(steering_rad) / self.robot.wheelbase_m
        return steering_rad * self.config.yaw_gain

    def _choose(self, outlook: _Outlook) -> tuple[float, bool]:
        """Steering, rad, and whether it is for turning on the spot."""
        config = self.config
        cost = outlook.fast
        best = int(cost.argmin())
        if cost[best] > config.slow_cost:  # no good way at speed: look for a tighter one
            cost = np.minimum(cost, config.slow_cost + outlook.slow)
            best = int(cost.argmin())
        if cost[best] > config.spot_cost and self.robot.drive == "differential":
            turn, spot_cost = _best(outlook.turns)
            if spot_cost < cost[best]:
                return self._toward(turn), True
        return soft_minimum(cost, self._steering, _TEMPERATURE), False

    def _all_paths(self) -> tuple[Arcs, tuple[slice, slice, slice]]:
        """Paths at speed, slow ones, and out of here after a turn on the spot; which are which.

        Those ahead begin with each steering, each held for as long as each of the holds. All are
        looked at in one go: few long rows cost less than many short ones.
        """
        speeds = self.config.rollout_mps, self.config.slow_mps
        holds = np.tile(self._holds, len(self._steering))
        ahead = [
            np.repeat([self.yaw_rate(s, speed) for s in self._steering], len(self._holds))
            for speed in speeds
        ]
        still, count = np.zeros(len(_TURNS)), len(holds)
        paths = Arcs(
            np.repeat([*speeds, self.config.slow_mps], (count, count, len(_TURNS))),
            np.concatenate([*ahead, still]),
            self._times,
            np.concatenate([holds, holds, still]),
            np.concatenate([np.zeros(2 * count), _TURNS]),
        )
        return paths, (slice(count), slice(count, 2 * count), slice(2 * count, None))

    def _look_out(self, view: View, state: RobotState) -> _Outlook:
        costs = self._cost(view, self._paths.of(state))
        fast, slow, turns = (costs[group] for group in self._groups)
        turning = self.config.spot_cost + 0.25 * np.abs(_TURNS)
        return _Outlook(view, state, self._ahead(fast), self._ahead(slow), turns + turning)

    def _ahead(self, costs: Floats) -> Floats:
        """(ANGLES,) cost of the best of the paths that begin with each steering."""
        best = costs.reshape(len(self._steering), -1).min(axis=1)
        return np.asarray(best + self.config.straight * np.abs(self._steering))

    def _way_costs(self, outlook: _Outlook) -> Floats:
        """(WAYS,), see ``core.ways``: angles, each at the better of two speeds; best turns."""
        angles = np.minimum(outlook.fast, self.config.slow_cost + outlook.slow)
        right, left = outlook.turns[_TURNS <= 0.0].min(), outlook.turns[_TURNS >= 0.0].min()
        return np.concatenate([[right], angles, [left]])

    def _toward(self, turn_rad: float) -> float:
        """Steering of a turn on the spot, gentler near its end."""
        most = self.config.max_steering_rad
        return min(max(2.0 * turn_rad, -most), most)

    def _cost(self, view: View, paths: Floats) -> Floats:
        """(P, T, 3) paths -> (P,): contact, the sooner the worse, want of room, a shut view."""
        config = self.config
        room = view.room(paths, self._times, max(config.clearance_m, config.margin_m))
        cramped = 1.0 - np.clip(room, 0.0, config.clearance_m) / config.clearance_m
        touching = room < self._margin(view)
        first = np.where(touching.any(axis=1), touching.argmax(axis=1), room.shape[1])
        sooner = 1.0 - first / room.shape[1]
        want = (cramped**2 * self._discount).mean(axis=1)
        closed = view.closed(paths[:, -1, 2])
        astray = self._astray(paths)
        return np.asarray(want + 2.0 * sooner + 0.25 * closed + config.astray * astray)

    def _astray(self, paths: Floats) -> Floats:
        """How little nearer to a corridor's goal paths end than they could: (P,), 0 to 2."""
        if self._to_goal is None:
            return np.zeros(len(paths))
        far = self._to_goal[self._floor.cells(paths[:, [0, -1], :2])]
        long = np.hypot(*(paths[:, -1, :2] - paths[:, 0, :2]).T)
        reach = np.empty(len(paths))
        for group in self._groups:
            reach[group] = max(long[group].max(), 0.1)
        with np.errstate(invalid="ignore"):  # out of reach of the goal before and after
            gained = np.clip((far[:, 0] - far[:, 1]) / reach, -1.0, 1.0)
        return np.asarray(1.0 - np.nan_to_num(gained, nan=-1.0))

    def _margin(self, view: View) -> float:
        """Room to keep: less where there is less already, or it could never leave."""
        return min(self.config.margin_m, max(view.here - 0.01, 0.005))

    def _speed(self, view: View, state: RobotState, steering: float) -> float:
        """The fastest speed at which the chosen steering keeps its room."""
        config = self.config
        speeds, times, holds = self._speeds, _STOPPING_S, _HELD_S
        fast = np.repeat(speeds, len(holds))
        rates = np.array([self.yaw_rate(steering, max(s, 0.1)) for s in fast])
        paths = Arcs(fast, rates, times, np.tile(holds, len(speeds))).of(state)
        room = view.room(paths, times, max(config.margin_m, config.squeeze_m))
        safe = room.min(axis=1).reshape(len(speeds), len(holds)).max(axis=1)
        enough = np.flatnonzero(safe > self._margin(view))
        if len(enough) and enough[-1] > 0:
            return float(speeds[enough[-1]])
        # It squeezes through a gap with less room than it likes, rather than stand before it.
        return float(speeds[1] if safe[1] > config.squeeze_m else speeds[int(safe.argmax())])


def _best(costs: Floats) -> tuple[float, float]:
    """The best turn on the spot, rad, and its cost."""
    best = int(costs.argmin())
    return float(_TURNS[best]), float(costs[best])
