"""The whole flow, frame -> command: the one loop body of the node, the replay and the simulator.

    Frame -> preprocess -> spiking network -> Prediction -> control -> Command
                             ^ carry of the frame before        ^ filter state

State is an argument and a result, so that a stream can be replayed, compared and reset at will.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import torch

from crnn_snn_ros.core.command import ControlConfig, ControlState, control
from crnn_snn_ros.core.engines import make_engine
from crnn_snn_ros.core.engines.base import Carry, Engine, FrameResult
from crnn_snn_ros.core.errors import ConfigError, ConversionError
from crnn_snn_ros.core.types import Command, Frame, Prediction
from crnn_snn_ros.core.verify import random_video, verify
from crnn_snn_ros.io.model_file import Model, load
from crnn_snn_ros.io.preprocess import preprocess

STEERING, COLLISION = "steering", "collision"
CHECK_FRAMES = 6


class PipelineState(NamedTuple):
    """All that crosses from one frame to the next."""

    carry: Carry
    control: ControlState
    stamp_ns: int | None  # of the frame before; None before the first


class Answer(NamedTuple):
    """What one frame led to."""

    prediction: Prediction
    command: Command
    was_reset: bool  # recurrent state was cleared before this frame (first, gap, time ran back)
    network: FrameResult  # all that the spiking network did


class Pipeline:
    """Frame -> Answer for one camera."""

    def __init__(
        self, model: Model, engine: Engine, config: ControlConfig, reset_gap_s: float = 1.0
    ) -> None:
        self.model = model
        self.engine = engine
        self.config = config
        self.reset_gap_s = reset_gap_s
        self._scales = {head.name: head.scale for head in model.graph.heads()}
        missing = {STEERING, COLLISION} - self._scales.keys()
        if missing:
            raise ConfigError(f"model has no head '{missing.pop()}', so it cannot drive a robot")

    def initial_state(self) -> PipelineState:
        """State before the first frame of a stream."""
        return PipelineState(self.engine.initial_carry(), ControlState(), None)

    def step(self, frame: Frame, state: PipelineState) -> tuple[Answer, PipelineState]:
        """Answer one frame.

        A gap over ``reset_gap_s``, or a stamp that is not later than the last, starts the stream
        anew: the network's memory would be of another place.

        Raises:
            DataError: the image does not fit the model's input contract.
        """
        elapsed_s = self._elapsed_s(frame, state)
        if elapsed_s is None:
            state = self.initial_state()
        pixels = preprocess(frame.image, self.model.contract)
        result, carry = self.engine.step(torch.from_numpy(pixels[None]), state.carry)
        prediction = self._predict(result)
        dt_s = 1.0 / self.model.frame_rate_hz if elapsed_s is None else elapsed_s
        command, control_state = control(prediction, state.control, dt_s, self.config)
        answer = Answer(prediction, command, elapsed_s is None, result)
        return answer, PipelineState(carry, control_state, frame.stamp_ns)

    def _elapsed_s(self, frame: Frame, state: PipelineState) -> float | None:
        """Seconds since the frame before, or None where the stream starts anew."""
        if state.stamp_ns is None:
            return None
        elapsed_s = (frame.stamp_ns - state.stamp_ns) / 1e9
        return elapsed_s if 0.0 < elapsed_s <= self.reset_gap_s else None

    def _predict(self, result: FrameResult) -> Prediction:
        value = {name: float(result.heads[name][0, 0]) * s for name, s in self._scales.items()}
        return Prediction(
            steering_rad=value[STEERING],
            collision_probability=sigmoid(value[COLLISION]),
            settled=bool(result.settled[0]),
            settle_steps=int(result.settle_steps[0]),
            spikes=sum(int(fired.sum()) for fired in result.activity.values()),
        )


def sigmoid(logit: float) -> float:
    """Probability of a logit, without overflow at either end."""
    if logit >= 0.0:
        return 1.0 / (1.0 + math.exp(-logit))
    return math.exp(logit) / (1.0 + math.exp(logit))


def load_pipeline(
    path: str | Path,
    engine: str = "auto",
    device: str = "auto",
    config: ControlConfig | None = None,
    reset_gap_s: float = 1.0,
) -> Pipeline:
    """Load a model and build its engine, checked on this machine against the int64 reference.

    The check runs generated frames, because a GPU or ARM library may silently pick a convolution
    that is not exact.

    Raises:
        ModelFileError: the file cannot be trusted.
        ConfigError: no such engine or device, or the model has not the heads of a driver.
        ConversionError: the engine is not exact on this machine.
    """
    model = load(path)
    spiking = make_engine(engine, model.graph, device)
    frames = random_video(model.graph.input_shape, CHECK_FRAMES)
    fault = verify(model.graph, {engine: spiking}, frames).first_difference
    if fault is not None:
        raise ConversionError(
            f"engine '{engine}' on {spiking.device} is not exact here ({fault}); "
            "choose another engine or device"
        )
    return Pipeline(model, spiking, config or ControlConfig(), reset_gap_s)
