"""A recorded drive through the pipeline at full speed, beside the QANN and the float network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from crnn_snn_ros.core import qann
from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.core.types import Frame
from crnn_snn_ros.evaluation.synops import OperationCounter
from crnn_snn_ros.io.preprocess import preprocess
from crnn_snn_ros.pipeline import COLLISION, STEERING, Answer, Pipeline, sigmoid
from crnn_snn_ros.training.network import Crnn


class Estimate(NamedTuple):
    """What one network says of one frame."""

    steering_rad: float
    collision_probability: float


@dataclass
class Recording:
    """Everything that a replay produced, frame by frame."""

    stamps_ns: list[int] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    snn: list[Estimate] = field(default_factory=list)
    qann: list[Estimate] = field(default_factory=list)
    float_net: list[Estimate] = field(default_factory=list)
    operations: list[int] = field(default_factory=list)  # additions caused by spikes
    input_operations: int = 0  # products of the analog input, every frame
    dense_operations: int = 0  # of the same network as an ordinary one, every frame
    pipeline_s: float = 0.0  # time from frame to command, all frames


def replay(
    frames: Iterable[Frame],
    pipeline: Pipeline,
    float_net: Crnn | None = None,
    progress: Callable[[int], object] | None = None,
) -> Recording:
    """Run one drive from empty state.

    Args:
        frames: The drive, in order.
        pipeline: Of the model to judge.
        float_net: The network before quantization, where there is one to compare with.
        progress: Called after each frame with the number done.
    """
    recording = Recording()
    reference = _Qann(pipeline)
    original = None if float_net is None else _Float(float_net, pipeline)
    counter = OperationCounter(pipeline.model.graph)
    recording.dense_operations = counter.dense()
    state = pipeline.initial_state()
    for frame in frames:
        start = time.perf_counter()
        answer, after = pipeline.step(frame, state)
        recording.pipeline_s += time.perf_counter() - start
        silent = answer.was_reset or not pipeline.engine.spikes
        entered = {} if silent else state.carry.counts
        operations = counter.count(answer.network.activity, entered)
        state = after
        recording.stamps_ns.append(frame.stamp_ns)
        recording.answers.append(answer)
        prediction = answer.prediction
        recording.snn.append(Estimate(prediction.steering_rad, prediction.collision_probability))
        recording.operations.append(operations.additions)
        recording.input_operations = operations.multiplications
        pixels = preprocess(frame.image, pipeline.model.contract)
        recording.qann.append(reference.step(pixels, answer.was_reset))
        if original is not None:
            recording.float_net.append(original.step(pixels, answer.was_reset))
        if progress is not None:
            progress(len(recording.answers))
    return recording


class _Qann:
    """The int64 reference as a stream."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._graph = pipeline.model.graph
        self._scales = {head.name: head.scale for head in self._graph.heads()}
        self._carry = qann.initial_carry(self._graph)

    def step(self, pixels: NDArray[np.int8], reset: bool) -> Estimate:
        if reset:
            self._carry = qann.initial_carry(self._graph)
        out, self._carry = qann.run_frame(self._graph, pixels[None], self._carry)
        value = {name: float(out.heads[name][0, 0]) * s for name, s in self._scales.items()}
        return Estimate(value[STEERING], sigmoid(value[COLLISION]))


class _Float:
    """The float network as a stream."""

    def __init__(self, network: Crnn, pipeline: Pipeline) -> None:
        if network.config.input_shape != pipeline.model.graph.input_shape:
            raise DataError(
                f"the float checkpoint takes {network.config.input_shape}, "
                f"the model {pipeline.model.graph.input_shape}; give the one it was made from"
            )
        self._network = network.eval()
        self._carry: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def step(self, pixels: NDArray[np.int8], reset: bool) -> Estimate:
        out = self._network(torch.from_numpy(pixels[None, None]), {} if reset else self._carry)
        self._carry = out.carry
        return Estimate(float(out.heads[STEERING]), sigmoid(float(out.heads[COLLISION])))
