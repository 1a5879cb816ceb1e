"""What fewer time-steps would cost, and what the older encoding costs however many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from crnn_snn_ros.core import m_analog, qann
from crnn_snn_ros.core.engines import make_engine
from crnn_snn_ros.core.engines.base import Carry
from crnn_snn_ros.evaluation.recording import Recording
from crnn_snn_ros.io.model_schema import Model
from crnn_snn_ros.pipeline import STEERING, Pipeline, read_driver, read_heads

ENCODING_STEPS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 64)
ENCODING_FRAMES = 8
MOST_OPERATIONS = 10**10  # of m-analog, in a report: some seconds

Input = NDArray[np.int8]  # of a network, (C, H, W)


class EncodingErrors(NamedTuple):
    """Mean |steering - the QANN's|, rad, of a stream in which every frame has T time-steps."""

    steps: Sequence[int]  # T
    s_analog: Sequence[float]  # the current of a frame is charged at its first time-step only
    m_analog: Sequence[float]  # at every one, and the output is read as a rate
    frames: int


def cut_errors(
    pipeline: Pipeline, recording: Recording, inputs: Mapping[int, Input]
) -> dict[str, list[float]]:
    """Mean distance of the outputs to the settled ones when frames are cut after T time-steps.

    Args:
        pipeline: Of the replay.
        recording: Of the replay, which has the state that entered each frame.
        inputs: Frames as the network sees them, by row number.

    Returns:
        Steering, rad, and collision probability, each from T = 1 on to where all have settled.
    """
    longest = max((int(recording.rows["settle_steps"][row]) for row in inputs), default=0)
    errors: dict[str, list[list[float]]] = {
        "steering, rad": [[] for _ in range(longest)],
        "collision probability": [[] for _ in range(longest)],
    }
    for row, pixels in inputs.items():
        counts = {n: torch.from_numpy(c) for n, c in recording.unpack_carry(row).items()}
        carry = Carry(counts, torch.ones(1, dtype=torch.bool))
        frame = torch.from_numpy(pixels[None])
        outputs = [_outputs(pipeline, frame, carry, cut) for cut in (*range(1, longest + 1), None)]
        for t, cut in enumerate(outputs[:-1]):
            for name, told, settled in zip(errors, cut, outputs[-1], strict=True):
                errors[name][t].append(abs(told - settled))
    return {name: [float(np.mean(e)) for e in by_step] for name, by_step in errors.items()}


def encoding_rows(recording: Recording) -> list[int]:
    """Frames that follow each other, from the middle of the first drive, few for a large network.

    They are enough to see what an encoding does, and m-analog is slow.
    """
    last = len(recording.of_drive(0))
    cost = max(1, recording.dense_operations) * sum(ENCODING_STEPS)
    count = min(max(1, MOST_OPERATIONS // cost), ENCODING_FRAMES, last)
    first = (last - count) // 2
    return list(range(first, first + count))


def encoding_errors(
    model: Model, frames: Sequence[Input], steps: Sequence[int] = ENCODING_STEPS
) -> EncodingErrors:
    """Both encodings of arXiv 2408.09403 on a stream from empty state, at several T.

    Args:
        model: The network.
        frames: At least one, in order, as the network sees them.
        steps: The T to try, each for the whole stream.
    """
    engine = make_engine("folded", model.graph)
    wanted, carry = [], qann.initial_carry(model.graph)
    for frame in frames:
        out, carry = qann.run_frame(model.graph, frame[None], carry)
        wanted.append(read_driver(model, out.heads).steering_rad)
    errors: tuple[list[float], list[float]] = [], []
    for count in steps:
        spiking = engine.initial_carry()
        trains: m_analog.Trains = {}
        told: tuple[list[float], list[float]] = [], []
        for frame in frames:
            pixels = torch.from_numpy(np.array(frame[None]))  # those of a drive are read-only
            result, spiking = engine.step(pixels, spiking, num_steps=count)
            told[0].append(read_driver(model, result.heads).steering_rad)
            heads, trains = m_analog.run_frame(model.graph, frame, trains, count)
            told[1].append(read_heads(heads, model.heads[STEERING].unit).steering_rad)
        for error, values in zip(errors, told, strict=True):
            error.append(float(np.mean(np.abs(np.subtract(values, wanted)))))
    return EncodingErrors(tuple(steps), *errors, len(frames))


def _outputs(
    pipeline: Pipeline, frame: torch.Tensor, carry: Carry, cut: int | None
) -> tuple[float, float]:
    heads = pipeline.engine.step(frame, carry, num_steps=cut)[0].heads
    return read_driver(pipeline.model, heads)
