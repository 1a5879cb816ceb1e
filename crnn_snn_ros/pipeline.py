"""The whole flow, frame -> command: the one loop body of the node, the replay and the simulator.

    Frame -> see -> spiking network -> Prediction -> control -> Command
              ^ greys before  ^ carry of the frame before  ^ filter state

State is an argument and a result, so that a stream can be replayed, compared and reset at will.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from crnn_snn_ros.core.command import ControlConfig, ControlState, control
from crnn_snn_ros.core.engines import S_ANALOG, make_engine
from crnn_snn_ros.core.engines.base import Carry, Engine, FrameResult
from crnn_snn_ros.core.errors import ConfigError, ConversionError
from crnn_snn_ros.core.graph import Graph
from crnn_snn_ros.core.moving import STILL, Moving, move
from crnn_snn_ros.core.types import RESET_GAP_S, Command, Frame, Prediction, elapsed_s
from crnn_snn_ros.core.verify import random_video, verify
from crnn_snn_ros.core.ways import SCALES, WAYS, Floats, choose
from crnn_snn_ros.io.identity import Identity, identity_if_any
from crnn_snn_ros.io.model_file import Model, read
from crnn_snn_ros.io.preprocess import InputContract, Past, see

STEERING, COLLISION = "steering", "collision"
CHECK_FRAMES = 6


class PipelineState(NamedTuple):
    """All that crosses from one frame to the next."""

    carry: Any  # of the network; a ``Carry`` where it spikes
    control: ControlState
    stamp_ns: int | None  # of the frame before; None before the first
    past: Past = ()  # what the next frame is seen with
    moving: Moving = STILL  # of the robot by its own commands, up to the frame before


class Answer(NamedTuple):
    """What one frame led to."""

    prediction: Prediction
    command: Command
    was_reset: bool  # recurrent state was cleared before this frame (first, gap, time ran back)
    network: FrameResult  # all that the spiking network did
    pixels: NDArray[np.int8]  # what it was given, (C, H, W)


class FrameLoop(ABC):
    """Frame -> Answer for one camera, whatever the network.

    Args:
        contract: what the network takes as its input.
        frame_rate_hz: of the frames that it was trained on.
        config: how its predictions become commands.
        reset_gap_s: frames further apart than this do not belong together.
    """

    def __init__(
        self,
        contract: InputContract,
        frame_rate_hz: float,
        config: ControlConfig,
        reset_gap_s: float = RESET_GAP_S,
    ) -> None:
        self.contract = contract
        self.frame_rate_hz = frame_rate_hz
        self.config = config
        self.reset_gap_s = reset_gap_s

    @abstractmethod
    def initial_carry(self) -> Any:
        """The network's memory before the first frame of a stream."""

    @abstractmethod
    def infer(self, pixels: NDArray[np.int8], carry: Any) -> tuple[FrameResult, Any]:
        """One frame (C, H, W) through the network, and its memory for the next."""

    @abstractmethod
    def predict(self, result: FrameResult) -> Prediction:
        """What the network's outcome means."""

    def initial_state(self) -> PipelineState:
        """State before the first frame of a stream."""
        return PipelineState(self.initial_carry(), ControlState(), None)

    def step(self, frame: Frame, state: PipelineState) -> tuple[Answer, PipelineState]:
        """Answer one frame.

        A gap over ``reset_gap_s``, or a stamp that is not later than the last, starts the stream
        anew: the network's memory would be of another place. A frame that does not say how the
        robot has moved is taken to be of the robot that these answers drive.

        Raises:
            DataError: the image does not fit the network's input contract.
        """
        since_s = self.elapsed_s(frame.stamp_ns, state)
        if since_s is None:
            state = self.initial_state()
        moving = STILL
        if since_s is not None:
            told = Command(state.control.linear_mps, state.control.angular_radps)
            moving = move(state.moving, told, since_s)
        moved = moving.moved if frame.moved is None else frame.moved
        pixels, past = see(frame.image, self.contract, state.past, frame.mount, moved)
        result, carry = self.infer(pixels, state.carry)
        prediction = self.predict(result)
        dt_s = 1.0 / self.frame_rate_hz if since_s is None else since_s
        command, control_state = control(prediction, state.control, dt_s, self.config)
        answer = Answer(prediction, command, since_s is None, result, pixels)
        return answer, PipelineState(carry, control_state, frame.stamp_ns, past, moving)

    def elapsed_s(self, stamp_ns: int, state: PipelineState) -> float | None:
        """Seconds from the frame before to one of that time; None where the stream starts anew."""
        if state.stamp_ns is None:
            return None
        return elapsed_s(state.stamp_ns, stamp_ns, self.reset_gap_s)


class Pipeline(FrameLoop):
    """The loop of a spiking network.

    Args:
        model: the network and what is known of it.
        engine: runs its graph.
        config, reset_gap_s: as for ``FrameLoop``.
        card: header of the file that the model was read from; empty of one that is in no file.

    Raises:
        ConfigError: the model has not the heads of a driver.
    """

    def __init__(
        self,
        model: Model,
        engine: Engine,
        config: ControlConfig,
        reset_gap_s: float = RESET_GAP_S,
        card: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(model.contract, model.frame_rate_hz, config, reset_gap_s)
        self.model = model
        self.engine = engine
        self.card = dict(card or {})
        _require_driver(model)

    def initial_carry(self) -> Carry:
        """See ``FrameLoop``."""
        return self.engine.initial_carry()

    def infer(self, pixels: NDArray[np.int8], carry: Carry) -> tuple[FrameResult, Carry]:
        """See ``FrameLoop``."""
        return self.engine.step(torch.from_numpy(pixels[None]), carry)

    def predict(self, result: FrameResult) -> Prediction:
        """See ``FrameLoop``."""
        said = read_driver(self.model, result.heads)
        return Prediction(
            steering_rad=said.steering_rad,
            collision_probability=said.collision_probability,
            settled=bool(result.settled[0]),
            settle_steps=int(result.settle_steps[0]),
            spikes=sum(int(fired.sum()) for fired in result.activity.values()),
        )


class Said(NamedTuple):
    """What the heads of a driver say of a frame."""

    steering_rad: float
    collision_probability: float


def scaled(graph: Graph, heads: Mapping[str, Any]) -> dict[str, Floats]:
    """Accumulators of the heads (1, outputs), tensors or arrays, in their units, (outputs,)."""
    return {
        head.name: np.array(heads[head.name][0].tolist()) * head.scale for head in graph.heads()
    }


def read_driver(model: Model, heads: Mapping[str, Any]) -> Said:
    """What the accumulators of a driver's heads (1, outputs) mean."""
    return read_heads(scaled(model.graph, heads), model.heads[STEERING].unit)


def read_heads(values: Mapping[str, Floats], unit: str) -> Said:
    """What the heads (outputs,) of a driver mean.

    Args:
        values: in their units.
        unit: of steering: rad of an angle, one of ``SCALES`` of ways, among which it is chosen.
    """
    steering = values[STEERING]
    chosen = float(steering[0]) if len(steering) == 1 else choose(steering, SCALES[unit])
    return Said(chosen, sigmoid(float(values[COLLISION][0])))


def _require_driver(model: Model) -> None:
    outputs = {head.name: len(head.bias) for head in model.graph.heads()}
    for name, allowed in {STEERING: (1, WAYS), COLLISION: (1,)}.items():
        if name not in outputs:
            raise ConfigError(f"model has no head '{name}', so it cannot drive a robot")
        if outputs[name] not in allowed:
            wanted = " or ".join(map(str, allowed))
            raise ConfigError(
                f"head '{name}' has {outputs[name]} outputs, a driver has {wanted} there"
            )
    unit = model.heads[STEERING].unit
    if outputs[STEERING] == WAYS and unit not in SCALES:
        raise ConfigError(f"head '{STEERING}' tells of ways by '{unit}', not by {sorted(SCALES)}")


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
    reset_gap_s: float = RESET_GAP_S,
    encoding: str = S_ANALOG,
) -> Pipeline:
    """Load a model and build its engine, checked on this machine against the int64 reference.

    The check runs generated frames, because a GPU or ARM library may silently pick a convolution
    that is not exact.

    Raises:
        ModelFileError: the file cannot be trusted.
        ConfigError: no such engine or device, or the model has not the heads of a driver.
        ConversionError: the engine is not exact on this machine.
    """
    model, card = read(path)
    spiking = make_engine(engine, model.graph, device, encoding)
    frames = random_video(model.graph.input_shape, CHECK_FRAMES)
    fault = verify(model.graph, {engine: spiking}, frames).first_difference
    if fault is not None:
        raise ConversionError(
            f"engine '{engine}' on {spiking.device} is not exact here ({fault}); "
            "choose another engine or device"
        )
    return Pipeline(model, spiking, config or ControlConfig(), reset_gap_s, card)


def kept_pipeline(
    path: str | Path, engine: str, device: str, config: ControlConfig | None = None
) -> Pipeline:
    """``load_pipeline``, once in a process while the file stays what it is.

    Raises:
        CrnnSnnError: as there.
    """
    return _kept(str(path), engine, device, config, identity_if_any(Path(path)))


@lru_cache(maxsize=8)
def _kept(
    path: str, engine: str, device: str, config: ControlConfig | None, _: Identity | None
) -> Pipeline:
    return load_pipeline(path, engine, device, config)
