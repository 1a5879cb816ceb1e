"""What ``crnn-snn replay`` writes: metrics, report, predictions bags, video."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crnn_snn_ros.core.engines.base import Carry
from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.core.types import Frame
from crnn_snn_ros.evaluation.moments import Moment, shown_at, worst_moments
from crnn_snn_ros.evaluation.pictures import annotate
from crnn_snn_ros.evaluation.predictions import write_predictions
from crnn_snn_ros.evaluation.raster import raster
from crnn_snn_ros.evaluation.recording import Recording
from crnn_snn_ros.evaluation.video import Video, writing
from crnn_snn_ros.io.atomic import replacing
from crnn_snn_ros.io.preprocess import preprocess
from crnn_snn_ros.pipeline import COLLISION, STEERING, Pipeline, sigmoid

METRICS, REPORT, PREDICTIONS = "metrics.json", "report.html", "predictions"
CUT_FRAMES = 24
RASTERS = 4
VIDEO_PX = 640

Picture = NDArray[np.uint8]
Reader = Callable[[], Iterable[Frame]]  # a drive's frames, from the first replayed one on


@dataclass(frozen=True)
class Replayed:
    """A replay that is done, and how to read its drives again."""

    pipeline: Pipeline
    recording: Recording
    summary: Mapping[str, Any]
    readers: Sequence[Reader]  # one for each drive


def refuse_existing(folder: Path) -> None:
    """Refuse early what could not be written in the end.

    Raises:
        DataError: there are predictions already.
    """
    if (folder / PREDICTIONS).exists():
        raise DataError(f"{folder / PREDICTIONS} exists: remove it or choose another --out")


def write_metrics(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write ``metrics.json``.

    Raises:
        OSError: the disk refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / METRICS) as temporary:
        temporary.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def write_bags(folder: Path, recording: Recording, about: Mapping[str, str]) -> None:
    """Write what was predicted as bags: one named ``predictions``, or a folder of them.

    Raises:
        DataError: a bag exists or cannot be written.
    """
    place = folder / PREDICTIONS
    for number, name in enumerate(recording.drives):
        path = place if len(recording.drives) == 1 else place / f"{number:04d}_{name}"
        write_predictions(path, recording, number, about)


def write_pictures(
    done: Replayed,
    header: Mapping[str, Any],
    model_name: str,
    *,
    folder: Path | None,
    video: Path | None,
) -> None:
    """Read the drives once more, for the report and the video.

    Args:
        done: The replay.
        header: Of the model file.
        model_name: To show.
        folder: Where the report goes; None: no report.
        video: Where the video goes; None: no video.

    Raises:
        ImportError: the report's libraries are missing.
        DataError: a drive cannot be read again, or the video not be written.
    """
    if folder is not None:
        from crnn_snn_ros.evaluation.report import page, replay_report
    recording, config = done.recording, done.pipeline.config
    threshold = float(done.summary["threshold"])
    moments = []
    if folder is not None:
        moments = worst_moments(recording, config, threshold, collision=trained(done.pipeline))
    samples = _samples(len(recording)) if folder is not None else []
    wanted = {row for m in moments for row in (m.before, m.at, m.after)} | set(samples)
    busiest = int(np.argmax(recording.rows["spikes"]))
    images = _look_again(done, wanted | ({busiest} if folder is not None else set()), video)
    if folder is None:
        return
    chosen = _raster_rows(recording, moments, busiest)
    rasters = [raster(done.pipeline.model, recording, row, images[row], title)
               for row, title in chosen]  # fmt: skip
    found = replay_report.Findings(
        done.pipeline.model,
        header,
        model_name,
        recording,
        done.summary,
        moments,
        images,
        rasters,
        cut_errors(done.pipeline, recording, {row: images[row] for row in samples}),
        len(samples),
    )
    page.write(folder / REPORT, replay_report.replay_report(found))


def cut_errors(
    pipeline: Pipeline, recording: Recording, images: Mapping[int, Picture]
) -> dict[str, list[float]]:
    """Mean distance of the outputs to the settled ones when frames are cut after T time-steps.

    Args:
        pipeline: Of the replay.
        recording: Of the replay, which has the state that entered each frame.
        images: Frames by row number.

    Returns:
        Steering, rad, and collision probability, each from T = 1 on to where all have settled.
    """
    longest = max((int(recording.rows["settle_steps"][row]) for row in images), default=0)
    errors: dict[str, list[list[float]]] = {
        "steering, rad": [[] for _ in range(longest)],
        "collision probability": [[] for _ in range(longest)],
    }
    for row, image in images.items():
        counts = {n: torch.from_numpy(c) for n, c in recording.unpack_carry(row).items()}
        carry = Carry(counts, torch.ones(1, dtype=torch.bool))
        frame = torch.from_numpy(preprocess(image, pipeline.model.contract)[None])
        outputs = [_outputs(pipeline, frame, carry, cut) for cut in (*range(1, longest + 1), None)]
        for t, cut in enumerate(outputs[:-1]):
            for name, told, settled in zip(errors, cut, outputs[-1], strict=True):
                errors[name][t].append(abs(told - settled))
    return {name: [float(np.mean(e)) for e in by_step] for name, by_step in errors.items()}


def trained(pipeline: Pipeline) -> bool:
    """Whether the collision output ever saw a label."""
    return pipeline.model.heads[COLLISION].trained


def _outputs(
    pipeline: Pipeline, frame: torch.Tensor, carry: Carry, cut: int | None
) -> tuple[float, float]:
    scales = {head.name: head.scale for head in pipeline.model.graph.heads()}
    heads = pipeline.engine.step(frame, carry, num_steps=cut)[0].heads
    value = {name: float(heads[name][0, 0]) * scales[name] for name in (STEERING, COLLISION)}
    return value[STEERING], sigmoid(value[COLLISION])


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


def _look_again(done: Replayed, wanted: set[int], video: Path | None) -> dict[int, Picture]:
    """Images of the rows that are wanted; all are drawn upon if there is a video to write."""
    found: dict[int, Picture] = {}
    with ExitStack() as stack:
        film: Video | None = None
        if video is not None:
            rate_hz = done.pipeline.model.frame_rate_hz
            film = stack.enter_context(writing(video, rate_hz))
        for row, frame in _all_frames(done, None if film is not None else wanted):
            if row in wanted:
                found[row] = frame.image
            if film is not None:
                time_s = (frame.stamp_ns - int(done.recording.rows["stamp_ns"][0])) / 1e9
                judged = trained(done.pipeline)
                shown = shown_at(done.recording, row, collision=judged, text=f"{time_s:7.2f} s")
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
