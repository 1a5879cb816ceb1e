"""A recorded drive through the pipeline at full speed, beside the QANN and the float network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core import qann
from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.core.types import Frame
from crnn_snn_ros.evaluation.recording import UNKNOWN, Estimate, Recording
from crnn_snn_ros.evaluation.synops import OperationCounter
from crnn_snn_ros.pipeline import Pipeline, read_driver
from crnn_snn_ros.training.float_loop import FloatLoop


def replay(
    frames: Iterable[Frame],
    pipeline: Pipeline,
    float_loop: FloatLoop | None = None,
    progress: Callable[[int], object] | None = None,
    *,
    recording: Recording | None = None,
    name: str = "drive",
) -> Recording:
    """Run one drive from empty state.

    Args:
        frames: The drive, in order.
        pipeline: Of the model to judge.
        float_loop: Of the network before quantization, where there is one to compare with.
        progress: Called after each frame with the number done of this drive.
        recording: Of the drives before, to which this one is added; frame by frame, so that after
            an interruption it holds what was done.
        name: Of this drive.

    Returns:
        The recording.

    Raises:
        DataError: the float network takes another input than the model.
    """
    if recording is None:
        recording = Recording(pipeline.model.graph, pipeline.model.frame_rate_hz)
    recording.begin(name)
    reference = _Qann(pipeline)
    original = None if float_loop is None else _Float(float_loop, pipeline)
    counter = OperationCounter(pipeline.model.graph)
    recording.dense_operations = counter.dense()
    state = pipeline.initial_state()
    for number, frame in enumerate(frames, 1):
        start = time.perf_counter()
        answer, after = pipeline.step(frame, state)
        recording.pipeline_s += time.perf_counter() - start
        silent = answer.was_reset or not pipeline.engine.spikes
        entered = {} if silent else state.carry.counts
        operations = counter.count(answer.network.activity, entered)
        recording.input_operations = operations.multiplications
        prediction = answer.prediction
        recording.add(
            stamp_ns=frame.stamp_ns,
            was_reset=answer.was_reset,
            settled=prediction.settled,
            settle_steps=prediction.settle_steps,
            spikes=prediction.spikes,
            snn=(prediction.steering_rad, prediction.collision_probability),
            qann=reference.step(answer.pixels, answer.was_reset),
            float=UNKNOWN if original is None else original.step(answer.pixels, answer.was_reset),
            command=answer.command,
            layer_spikes=[int(answer.network.activity[n].sum()) for n in recording.layers],
            layer_additions=[operations.by_layer[layer] for layer in recording.layers],
            carry=recording.pack_carry(entered),
        )
        state = after
        if progress is not None:
            progress(number)
    return recording


class _Qann:
    """The int64 reference as a stream."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._model = pipeline.model
        self._carry = qann.initial_carry(self._model.graph)

    def step(self, pixels: NDArray[np.int8], reset: bool) -> Estimate:
        if reset:
            self._carry = qann.initial_carry(self._model.graph)
        out, self._carry = qann.run_frame(self._model.graph, pixels[None], self._carry)
        return Estimate(*read_driver(self._model, out.heads))


class _Float:
    """The float network as a stream."""

    def __init__(self, loop: FloatLoop, pipeline: Pipeline) -> None:
        if loop.contract != pipeline.model.contract:
            raise DataError(
                f"the float checkpoint takes {loop.contract}, the model "
                f"{pipeline.model.contract}; give the one it was made from"
            )
        self._loop = loop
        self._carry = loop.initial_carry()

    def step(self, pixels: NDArray[np.int8], reset: bool) -> Estimate:
        result, self._carry = self._loop.infer(pixels, {} if reset else self._carry)
        said = self._loop.predict(result)
        return Estimate(said.steering_rad, said.collision_probability)
