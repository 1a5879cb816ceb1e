"""What ``crnn-snn replay`` writes: metrics, report, predictions bags, video."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.core.mount import CameraMount
from crnn_snn_ros.core.types import Frame, Moved
from crnn_snn_ros.evaluation.comparison import apart
from crnn_snn_ros.evaluation.cutting import cut_errors, encoding_errors, encoding_rows
from crnn_snn_ros.evaluation.findings import Findings
from crnn_snn_ros.evaluation.moments import Moment, shown_at, worst_moments
from crnn_snn_ros.evaluation.pictures import annotate
from crnn_snn_ros.evaluation.predictions import write_predictions
from crnn_snn_ros.evaluation.raster import raster
from crnn_snn_ros.evaluation.recording import Recording
from crnn_snn_ros.evaluation.video import Video, writing
from crnn_snn_ros.io.atomic import replacing
from crnn_snn_ros.io.preprocess import InputContract, see_all
from crnn_snn_ros.pipeline import COLLISION, Pipeline

METRICS, REPORT, PREDICTIONS = "metrics.json", "report.html", "predictions"
CUT_FRAMES = 24
RASTERS = 4
VIDEO_PX = 640

Picture = NDArray[np.uint8]
Reader = Callable[[], Iterable[Frame]]  # a drive's frames, from the first replayed one on


@dataclass(frozen=True)
class Replayed:
    """A replay that is done, and how to read its drives again."""

    name: str  # of the model, to show
    header: Mapping[str, Any]  # of the model file
    pipeline: Pipeline
    recording: Recording
    summary: Mapping[str, Any]
    readers: Sequence[Reader]  # one for each drive

    @property
    def trained(self) -> bool:
        """Whether the collision output ever saw a label."""
        return self.pipeline.model.heads[COLLISION].trained


def refuse_existing(folder: Path, models: int = 1) -> None:
    """Refuse early what could not be written in the end.

    Raises:
        DataError: there are predictions already.
    """
    for number in range(1, models + 1):
        if (place := _predictions(folder, number)).exists():
            raise DataError(f"{place} exists: remove it or choose another --out")


def write_metrics(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write ``metrics.json``.

    Raises:
        OSError: the disk refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / METRICS) as temporary:
        temporary.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def write_bags(
    folder: Path, recording: Recording, about: Mapping[str, str], number: int = 1
) -> None:
    """Write what was predicted as bags: one named ``predictions``, or a folder of them.

    Args:
        folder: Where to.
        recording: Of the replay.
        about: Notes kept in the bags.
        number: Of the model; those of the second are called ``predictions_2``.

    Raises:
        DataError: a bag exists or cannot be written.
    """
    place = _predictions(folder, number)
    for drive, name in enumerate(recording.drives):
        path = place if len(recording.drives) == 1 else place / f"{drive:04d}_{name}"
        write_predictions(path, recording, drive, about)


def write_pictures(models: Sequence[Replayed], *, folder: Path | None, video: Path | None) -> None:
    """Read the drives once more, for the report and the video.

    Args:
        models: The replay, or those of several models on the same drives, to be compared.
        folder: Where the report goes; None: no report.
        video: Where the video of the first model goes; None: no video.

    Raises:
        ImportError: the report's libraries are missing.
        DataError: a drive cannot be read again, or the video not be written.
    """
    if folder is None:
        _look_again(models[0], set(), video, 0)
        return
    from crnn_snn_ros.evaluation.report import page
    from crnn_snn_ros.evaluation.report.compare_report import compare_report
    from crnn_snn_ros.evaluation.report.replay_report import replay_report

    plans = [_plan(done) for done in models]
    recordings = [done.recording for done in models]
    gaps = apart(recordings[0], recordings[1]) if len(models) > 1 else []
    wanted = {row for plan in plans for row in plan.rows()} | set(_rows_of(gaps))
    seen = _look_again(models[0], wanted, video, max(_motion(done) for done in models))
    found = [_findings(done, plan, seen) for done, plan in zip(models, plans, strict=True)]
    report = replay_report(found[0]) if len(found) == 1 else compare_report(found, gaps)
    page.write(folder / REPORT, report)


def _predictions(folder: Path, number: int) -> Path:
    return folder / (PREDICTIONS if number == 1 else f"{PREDICTIONS}_{number}")


class _Plan(NamedTuple):
    """Which frames the report of a model must see again."""

    moments: list[Moment]
    samples: list[int]  # to be cut
    stream: list[int]  # to be encoded in other ways
    busiest: int

    def rows(self) -> list[int]:
        return [*_rows_of(self.moments), *self.samples, *self.stream, self.busiest]


def _plan(done: Replayed) -> _Plan:
    recording = done.recording
    threshold = float(done.summary["threshold"])
    config = done.pipeline.config
    return _Plan(
        worst_moments(recording, config, threshold, collision=done.trained),
        _samples(len(recording)),
        encoding_rows(recording),
        int(np.argmax(recording.rows["spikes"])),
    )


def _rows_of(moments: Sequence[Moment]) -> list[int]:
    return [row for m in moments for row in (m.before, m.at, m.after)]


class Seen(NamedTuple):
    """A frame, and those before it that a network may compare it with, the oldest first."""

    image: Picture
    before: tuple[Picture, ...]
    mount: CameraMount | None = None
    moved: tuple[Moved | None, ...] | None = None  # of those before, and of the frame

    def input(self, contract: InputContract) -> NDArray[np.int8]:
        """What a network is given, (C, H, W)."""
        before = self.before[-contract.motion :] if contract.motion else ()
        moves = None if self.moved is None else self.moved[-len(before) - 1 :]
        *_, pixels = see_all((*before, self.image), contract, self.mount, moves)
        return pixels


def _motion(done: Replayed) -> int:
    return done.pipeline.model.contract.motion


def _findings(done: Replayed, plan: _Plan, seen: Mapping[int, Seen]) -> Findings:
    model, recording = done.pipeline.model, done.recording

    def pixels(row: int) -> NDArray[np.int8]:
        return seen[row].input(model.contract)

    return Findings(
        model=model,
        header=done.header,
        model_name=done.name,
        recording=recording,
        summary=done.summary,
        moments=plan.moments,
        images={row: frame.image for row, frame in seen.items()},
        rasters=[
            raster(model, recording, row, pixels(row), title)
            for row, title in _raster_rows(recording, plan.moments, plan.busiest)
        ],
        cut_errors=cut_errors(done.pipeline, recording, {row: pixels(row) for row in plan.samples}),
        cut_frames=len(plan.samples),
        encodings=encoding_errors(model, [pixels(row) for row in plan.stream]),
    )


def _samples(frames: int) -> list[int]:
    spread = np.linspace(0, frames - 1, min(CUT_FRAMES, frames))
    return [int(row) for row in np.unique(spread.round())]


def _raster_rows(
    recording: Recording, moments: Sequence[Moment], busiest: int
) -> list[tuple[int, str]]:
    times = recording.times_s()
    chosen = {m.at: f"{m.kind}, {times[m.at]:.2f} s" for m in moments[: RASTERS - 1]}
    chosen.setdefault(busiest, f"most spikes, {times[busiest]:.2f} s")
    return list(chosen.items())


def _look_again(
    done: Replayed, wanted: set[int], video: Path | None, motion: int
) -> dict[int, Seen]:
    """Rows that are wanted, each with ``motion`` frames before it; all are drawn into a video."""
    found: dict[int, Seen] = {}
    before: deque[Frame] = deque(maxlen=motion)
    with ExitStack() as stack:
        film: Video | None = None
        if video is not None:
            rate_hz = done.pipeline.model.frame_rate_hz
            film = stack.enter_context(writing(video, rate_hz))
        for row, frame in _all_frames(done, None if film is not None else wanted):
            if done.recording.rows["was_reset"][row]:
                before.clear()
            if row in wanted:
                moves = tuple(one.moved for one in (*before, frame))
                images = tuple(one.image for one in before)
                found[row] = Seen(frame.image, images, frame.mount, moves)
            before.append(frame)
            if film is not None:
                time_s = (frame.stamp_ns - int(done.recording.rows["stamp_ns"][0])) / 1e9
                shown = shown_at(
                    done.recording, row, collision=done.trained, text=f"{time_s:7.2f} s"
                )
                film.add(annotate(frame.image, shown, VIDEO_PX))
    return found


def _all_frames(done: Replayed, wanted: set[int] | None) -> Iterator[tuple[int, Frame]]:
    """Row number and frame; of each drive up to the last wanted one (None: all)."""
    drive = done.recording.rows["drive"]
    for number, reader in enumerate(done.readers):
        first, end = (int(n) for n in np.searchsorted(drive, [number, number + 1]))
        if wanted is not None:
            end = max((row + 1 for row in wanted if first <= row < end), default=first)
        if end == first:
            continue
        row = first
        for frame in reader():
            yield row, frame
            row += 1
            if row == end:
                break
        if row < end:
            raise DataError(f"drive {done.recording.drives[number]} changed while it was replayed")
