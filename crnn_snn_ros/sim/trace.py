"""What happened on one course, frame by frame: for reports, and to compare two drives.

A trace is one ``.npz`` file, without pickle:

| array | shape, dtype | |
|---|---|---|
| ``rows`` | (N,), ``ROW`` | one row a frame, the frame of the end included |
| ``thumbnails`` | (K, H, W, 3) uint8 | RGB, some of the frames as the network saw them |
| ``thumbnail_rows`` | (K,) int64 | which rows they are of, ascending; the last row is among them |
| ``about`` | () str | JSON: ``version``, ``suite``, and the fields of ``suites.Outcome`` |

The course itself is not in it: suite and seed name it, and ``draw`` makes it again.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.io.atomic import replacing
from crnn_snn_ros.pipeline import Answer, FrameLoop
from crnn_snn_ros.sim.maps import draw_map
from crnn_snn_ros.sim.simulator import Observation, Simulator
from crnn_snn_ros.sim.suites import SUITES, Outcome, Run, Setup

VERSION = 1
EVERY = 10  # frames from one thumbnail to the next


class Row(NamedTuple):
    """One frame: where the robot was, what the network said of it, what the base was told."""

    stamp_ns: int
    x_m: float  # of the axle, in the course's coordinates
    y_m: float
    yaw_rad: float
    speed_mps: float
    yaw_rate_radps: float
    steering_rad: float  # predicted, positive to the left
    collision_probability: float
    settled: bool
    settle_steps: int
    spikes: int
    linear_mps: float  # commanded
    angular_radps: float


_TYPES = {int: "<i8", float: "<f8", bool: "?"}
ROW = np.dtype([(name, _TYPES[kind]) for name, kind in get_type_hints(Row).items()])


@dataclass(frozen=True, eq=False)
class Trace:
    """One drive; arrays as in the table above."""

    suite: str
    outcome: Outcome
    rows: NDArray[np.void]
    thumbnails: NDArray[np.uint8]
    thumbnail_rows: NDArray[np.int64]

    @property
    def times_s(self) -> NDArray[np.float64]:
        """(N,): seconds since the course began."""
        stamps = self.rows["stamp_ns"]
        return np.asarray((stamps - stamps[0]) / 1e9)

    def save(self, path: Path) -> None:
        """Write it.

        Raises:
            OSError: the disk refuses.
        """
        about = {"version": VERSION, "suite": self.suite, **self.outcome._asdict()}
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                rows=self.rows,
                thumbnails=self.thumbnails,
                thumbnail_rows=self.thumbnail_rows,
                about=np.array(json.dumps(about)),
            )


def make_trace(
    suite: str, outcome: Outcome, rows: Iterable[Row], images: Iterable[NDArray[np.uint8]]
) -> Trace:
    """A trace of rows and their pictures; every ``EVERY``-th picture is kept, and the last.

    Args:
        suite: of the course.
        outcome: how it ended.
        rows: one a frame, at least one.
        images: (H, W, 3) uint8, of the same frames.
    """
    table = np.array([tuple(row) for row in rows], ROW)
    last = len(table) - 1
    kept = {n: image for n, image in enumerate(images) if n % EVERY == 0 or n == last}
    return Trace(
        suite, outcome, table, np.stack(list(kept.values())), np.array(list(kept), np.int64)
    )


def trace_course(pipeline: FrameLoop, suite: str, seed: int, setup: Setup | None = None) -> Trace:
    """Drive one course in this process and note everything.

    The drive is that of ``suites.run_course``; beyond it, the frame of the end is answered as well,
    as a node would, though nobody follows that answer.

    Raises:
        ConfigError: nothing can be drawn on this machine.
    """
    setup = setup or Setup()
    course, look = SUITES[suite].course(seed), setup.seen(SUITES[suite].look(seed))
    rows, images = [], []
    with Simulator(course, look, setup.robot, setup.camera, setup.rate_hz) as simulator:
        state, run = pipeline.initial_state(), Run(course)
        seen = simulator.observation
        while True:
            assert seen.frame is not None  # a look was given
            answer, state = pipeline.step(seen.frame, state)
            rows.append(_row(seen.frame.stamp_ns, seen, answer))
            images.append(seen.frame.image)
            if seen.finished is not None:
                break
            seen = simulator.step(answer.command)
            run.add(seen)
    return make_trace(suite, run.outcome(seen), rows, images)


def _row(stamp_ns: int, seen: Observation, answer: Answer) -> Row:
    state, said = seen.state, answer.prediction
    return Row(
        stamp_ns, state.x_m, state.y_m, state.yaw_rad, state.speed_mps, state.yaw_rate_radps,
        said.steering_rad, said.collision_probability, said.settled, said.settle_steps,
        said.spikes, *answer.command,
    )  # fmt: skip


def load_trace(path: Path) -> Trace:
    """Read a trace.

    Raises:
        DataError: it is missing, damaged, or of another version.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file):  # else it is no .npz at all
            file.seek(0)
            stored = np.load(file, allow_pickle=False)
            about = dict(json.loads(str(stored["about"])))
            arrays = [stored[name] for name in ("rows", "thumbnails", "thumbnail_rows")]
        version = about.pop("version")
        if version != VERSION:
            raise DataError(f"{path}: trace of version {version}; this program reads {VERSION}")
        suite, outcome = str(about.pop("suite")), Outcome(**about)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as a trace: {error}") from None
    _check(path, *arrays)
    return Trace(suite, outcome, *arrays)


def _check(path: Path, rows: Any, thumbnails: Any, numbers: Any) -> None:
    fits = (
        (rows.dtype == ROW and rows.ndim == 1 and len(rows) > 0)
        and (thumbnails.dtype == np.uint8 and thumbnails.ndim == 4 and thumbnails.shape[3] == 3)
        and numbers.shape == thumbnails.shape[:1]
        and all(0 <= number < len(rows) for number in numbers)
    )
    if not fits:
        raise DataError(f"{path}: the arrays of this trace do not fit together")


def draw(trace: Trace, metre_px: float = 40.0, until: int | None = None) -> NDArray[np.uint8]:
    """The course from above with the way that the robot took; movers stand where they were then.

    Args:
        trace: of the drive.
        metre_px: scale, pixels to a metre.
        until: row up to which to draw; None draws all of it.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    rows = trace.rows if until is None else trace.rows[: until + 1]
    path = np.stack([rows["x_m"], rows["y_m"]], axis=1)
    course = SUITES[trace.suite].course(trace.outcome.seed)
    time_s = float(trace.times_s[len(rows) - 1])
    return draw_map(course, path, time_s, metre_px=metre_px)
