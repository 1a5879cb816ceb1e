"""A replay and a driven course, small and whole, for tests of what is written of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from test_replay import frames, pipeline
from training_samples import (
    STEERING_PER_COLUMN,
    bar_path,
    checkpoint,
    random_network,
    small_config,
)

from crnn_snn_ros.core.types import Frame
from crnn_snn_ros.evaluation.driven import DrivenCourse
from crnn_snn_ros.evaluation.driven import driven as to_driven
from crnn_snn_ros.evaluation.metrics import summarise
from crnn_snn_ros.evaluation.replay import replay
from crnn_snn_ros.evaluation.replay_output import Replayed
from crnn_snn_ros.io.model_file import HeadInfo, header, save
from crnn_snn_ros.io.preprocess import see_all
from crnn_snn_ros.pipeline import Pipeline
from crnn_snn_ros.sim.generate import Difficulty, generate
from crnn_snn_ros.sim.suites import Outcome
from crnn_snn_ros.sim.trace import Row, make_trace
from crnn_snn_ros.training.float_loop import FloatLoop

FRAMES = 160
COUNTS = (FRAMES, 60)


@cache
def replayed() -> Replayed:
    """Two drives of a random network whose collision output was trained, as it says."""
    built = _with_collision(pipeline(seed=1))
    network = FloatLoop(checkpoint(random_network(small_config(), seed=1)))
    made = None
    for number, count in enumerate(COUNTS):
        made = replay(frames(count), built, network, recording=made, name=f"drive<{number}>")
        columns, widths = bar_path(count, seed=0)
        made.label(number, (12 - columns) * STEERING_PER_COLUMN, (widths > 5).astype(float))
    assert made is not None
    # A network that was never trained says 0.5 or so: spread it, that there is something to see.
    spread = 1 / (1 + np.exp(-3 * (made.rows["snn"][:, 1] - np.median(made.rows["snn"][:, 1]))))
    made.rows["snn"][:, 1] = made.rows["qann"][:, 1] = spread
    readers = [partial(_again, count) for count in COUNTS]
    summary = summarise(made, built.config, resamples=50)
    return Replayed("bar.snn", card(built), built, made, summary, readers)


@cache
def rival() -> Replayed:
    """The same drives through a network that steers with the right sign and a quarter too far."""
    first = replayed()
    made = deepcopy(first.recording)
    made.rows["snn"][:, 0] = made.rows["qann"][:, 0] = 1.25 * made.rows["truth"][:, 0]
    made.rows["settle_steps"] += 2
    summary = summarise(made, first.pipeline.config, resamples=50)
    return replace(first, name="rival.snn", recording=made, summary=summary)


def image_of(done: Replayed, row: int) -> Any:
    """The camera image of a row."""
    drive = done.recording.rows["drive"][row]
    first = int(np.searchsorted(done.recording.rows["drive"], drive))
    return list(done.readers[drive]())[row - first].image


def input_of(done: Replayed, row: int) -> Any:
    """What the network was given of a row."""
    (pixels,) = see_all([image_of(done, row)], done.pipeline.model.contract)
    return pixels


def card(built: Pipeline) -> dict[str, Any]:
    """A model's header, by way of a file."""
    with TemporaryDirectory() as folder:
        save(f"{folder}/bar.snn", built.model)
        return header(f"{folder}/bar.snn")


def driven(seed: int = 3, outcome: str = "contact") -> DrivenCourse:
    """Some metres of a corridor, with pictures."""
    course = generate("corridor", seed, Difficulty(movers=(1, 2)))
    images = [frame.image for frame in frames(101)]
    x, y, yaw = course.start
    rows = []
    for number in range(len(images)):
        time_s = number / 20
        place = (x + time_s * math.cos(yaw), y + time_s * math.sin(yaw), yaw, 1.0, 0.0)
        said = (0.1 * math.sin(time_s), time_s / 5, True, 5 + number % 3, 100)
        rows.append(Row(round(1e9 * (1 + time_s)), *place, *said, 1.0, 0.0))
    ended = Outcome(seed, course.kind, outcome, 5.0, 5.0, "")
    trace = make_trace("movers", ended, rows, images)
    return to_driven(trace, course)


def _again(count: int) -> Iterable[Frame]:
    return frames(count)


def _with_collision(built: Pipeline) -> Pipeline:
    heads = {name: HeadInfo(info.unit, True) for name, info in built.model.heads.items()}
    model = replace(built.model, heads=heads)
    return Pipeline(model, built.engine, built.config)
