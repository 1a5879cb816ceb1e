"""Many drives through one or several models, over processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.evaluation.drives import Drive
from crnn_snn_ros.evaluation.recording import Recording
from crnn_snn_ros.evaluation.replay import replay
from crnn_snn_ros.io.processes import HERE, Workers, spread
from crnn_snn_ros.pipeline import Pipeline, kept_pipeline
from crnn_snn_ros.training.float_loop import FloatLoop, kept_float_loop


class Candidate(NamedTuple):
    """What any process needs to make a model's networks."""

    model: Path
    engine: str = "auto"
    device: str = "auto"
    float_checkpoint: Path | None = None  # to compare with

    def pipeline(self) -> Pipeline:
        """Of the model; made once in a process.

        Raises:
            CrnnSnnError: as ``load_pipeline``.
        """
        return kept_pipeline(self.model, self.engine, self.device)

    def original(self) -> FloatLoop | None:
        """The float network, if there is one.

        Raises:
            DataError: the checkpoint is missing or damaged.
            ConfigError: it is quantized.
        """
        path = self.float_checkpoint
        if path is None:
            return None
        loop = kept_float_loop(path)
        if loop.quantized:
            raise ConfigError(f"{path} is quantized; give float.safetensors")
        return loop


def replay_drives(
    candidates: Sequence[Candidate],
    drives: Sequence[Drive],
    workers: Workers = HERE,
    progress: Callable[[int], object] | None = None,
    recordings: Sequence[Recording] | None = None,
) -> list[Recording]:
    """Replay all drives with each candidate.

    Args:
        candidates: The models.
        drives: Each starts from empty state.
        workers: Who replays; the recordings do not depend on it, except for their times.
        progress: Called with a number of frames that were done.
        recordings: One for each candidate, empty, to be filled: after an interruption they hold
            what was done, by this process to the last frame, else to the last whole drive.

    Returns:
        The recordings.

    Raises:
        CrnnSnnError: a drive or a model is not what it should be.
    """
    filled = list(recordings or map(empty_recording, candidates))
    tasks = [(number, drive) for number in range(len(candidates)) for drive in drives]
    if not workers.elsewhere:
        for number, drive in tasks:
            _replay(candidates[number], drive, filled[number], progress)
        return filled

    def add(done: tuple[int, Recording]) -> None:
        number, recording = done
        filled[number].extend(recording)
        if progress is not None:
            progress(len(recording))

    spread(partial(_task, tuple(candidates)), tasks, workers, add)
    return filled


def empty_recording(candidate: Candidate) -> Recording:
    """A recording of no drive yet."""
    model = candidate.pipeline().model
    return Recording(model.graph, model.frame_rate_hz)


def _task(candidates: tuple[Candidate, ...], task: tuple[int, Drive]) -> tuple[int, Recording]:
    torch.set_num_threads(1)
    number, drive = task
    return number, _replay(candidates[number], drive, empty_recording(candidates[number]), None)


def _replay(
    candidate: Candidate,
    drive: Drive,
    recording: Recording,
    progress: Callable[[int], object] | None,
) -> Recording:
    before = len(recording)
    told = None if progress is None else partial(_one, progress)
    replay(
        drive.frames(),
        candidate.pipeline(),
        candidate.original(),
        told,
        recording=recording,
        name=drive.bag.name,
    )
    if len(recording) == before:
        raise DataError(f"bag {drive.bag}: {drive.topic} has no frame to replay")
    return recording


def _one(progress: Callable[[int], object], _: int) -> None:
    progress(1)
