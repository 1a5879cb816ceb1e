"""What a driven course leaves behind: the plain input of the closed-loop report.

The simulator in this process and a node over DDS both fill a ``DriveLog``, frame by frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.sim.course import Course

Floats = NDArray[np.float64]
COLUMNS = (
    "time_s",
    "x_m",
    "y_m",
    "yaw_rad",
    "speed_mps",
    "steering_rad",
    "collision_probability",
    "settle_steps",
)


class Snapshot(NamedTuple):
    """What the camera saw at one time."""

    time_s: float
    image: NDArray[np.uint8]  # (H, W, 3), RGB
    steering_rad: float  # predicted
    collision_probability: float
    settled: bool


@dataclass(frozen=True)
class DrivenCourse:
    """One run on one course.

    Raises:
        DataError: there is no frame, a column is missing or of another length, or time runs back.
    """

    name: str  # such as "movers 2003, snn"
    course: Course | None  # None: no map is known
    columns: Mapping[str, Floats]  # (n,) for each of COLUMNS; NaN where it is not known
    snapshots: Sequence[Snapshot]
    outcome: str  # such as "goal" or "contact"
    succeeded: bool
    robot_radius_m: float = 0.18

    def __post_init__(self) -> None:
        """Validate."""
        missing = set(COLUMNS) - set(self.columns)
        if missing:
            raise DataError(f"drive {self.name} lacks the column {sorted(missing)[0]}")
        lengths = {len(self.columns[name]) for name in COLUMNS}
        if len(lengths) != 1 or lengths == {0}:
            raise DataError(f"drive {self.name} has columns of lengths {sorted(lengths)}")
        if (np.diff(self.columns["time_s"]) < 0).any():
            raise DataError(f"drive {self.name}: its time runs back")

    @property
    def distance_m(self) -> float:
        """Length of the path between the frames."""
        steps = np.hypot(np.diff(self.columns["x_m"]), np.diff(self.columns["y_m"]))
        return float(np.nansum(steps))

    @property
    def time_s(self) -> float:
        """From the first frame to the last."""
        times = self.columns["time_s"]
        return float(times[-1] - times[0])


@dataclass
class DriveLog:
    """Gathers a run frame by frame.

    Args:
        name: Of the run.
        course: That is driven.
        every_s: How often a camera frame is kept, for the filmstrip.
        robot_radius_m: Of the footprint, for the map.
    """

    name: str
    course: Course | None = None
    every_s: float = 1.0
    robot_radius_m: float = 0.18
    _rows: list[tuple[float, ...]] = field(default_factory=list)
    _snapshots: list[Snapshot] = field(default_factory=list)
    _last: Snapshot | None = None

    def add(
        self,
        time_s: float,
        pose: tuple[float, float, float],
        speed_mps: float,
        *,
        steering_rad: float = np.nan,
        collision_probability: float = np.nan,
        settle_steps: float = np.nan,
        settled: bool = True,
        image: NDArray[np.uint8] | None = None,
    ) -> None:
        """Add one frame.

        Args:
            time_s: Since the start.
            pose: x m, y m, yaw rad, at that time.
            speed_mps: Of the robot.
            steering_rad: Predicted.
            collision_probability: Predicted.
            settle_steps: Time-steps that the frame needed.
            settled: False: the frame was cut.
            image: What the camera saw, uint8 (H, W, 3), RGB; kept every ``every_s`` and last.
        """
        told = (steering_rad, collision_probability, settle_steps)
        self._rows.append((time_s, *pose, speed_mps, *told))
        if image is None:
            return
        self._last = Snapshot(time_s, image, steering_rad, collision_probability, settled)
        if not self._snapshots or time_s >= self._snapshots[-1].time_s + self.every_s - 1e-6:
            self._snapshots.append(self._last)

    def finish(self, outcome: str, succeeded: bool) -> DrivenCourse:
        """The run, when it is over.

        Raises:
            DataError: no frame was added.
        """
        table = np.array(self._rows, dtype=float).reshape(-1, len(COLUMNS))
        snapshots = list(self._snapshots)
        if self._last is not None and snapshots[-1] is not self._last:
            snapshots.append(self._last)  # of a collision, the most telling one
        columns = {name: table[:, i] for i, name in enumerate(COLUMNS)}
        return DrivenCourse(
            self.name, self.course, columns, snapshots, outcome, succeeded, self.robot_radius_m
        )
