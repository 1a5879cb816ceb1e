"""A driven course as the closed-loop report takes it: plain columns and pictures.

The simulator in this process and a node over DDS both leave a ``sim.trace.Trace``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.sim.course import Course

if TYPE_CHECKING:
    from crnn_snn_ros.sim.trace import Trace

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


def driven(trace: Trace, course: Course | None, robot_radius_m: float = 0.18) -> DrivenCourse:
    """A trace of the simulator as the report takes it.

    Args:
        trace: Of one run.
        course: That was driven, for the map.
        robot_radius_m: Of the footprint, for the map.
    """
    rows, times = trace.rows, trace.times_s
    columns = {name: np.asarray(rows[name], float) for name in COLUMNS if name != "time_s"}
    outcome = trace.outcome
    return DrivenCourse(
        name=f"{trace.suite} {outcome.seed} ({outcome.kind})",
        course=course,
        columns={"time_s": times, **columns},
        snapshots=[
            Snapshot(
                float(times[n]),
                image,
                float(rows["steering_rad"][n]),
                float(rows["collision_probability"][n]),
                bool(rows["settled"][n]),
            )
            for n, image in zip(trace.thumbnail_rows, trace.thumbnails, strict=True)
        ],
        outcome=outcome.finished,
        succeeded=outcome.succeeded,
        robot_radius_m=robot_radius_m,
    )
