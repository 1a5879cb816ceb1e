"""The loop of a network that is not converted yet: what it drives like before it spikes."""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crnn_snn_ros.core.command import ControlConfig
from crnn_snn_ros.core.engines.base import FrameResult
from crnn_snn_ros.core.types import Prediction
from crnn_snn_ros.io.identity import Identity, identity_if_any
from crnn_snn_ros.pipeline import FrameLoop, read_heads
from crnn_snn_ros.training.checkpoint import Checkpoint, load
from crnn_snn_ros.training.convert.fold import fold_bn
from crnn_snn_ros.training.model_card import steering_unit


class FloatLoop(FrameLoop):
    """The loop of a checkpoint, in its own arithmetic. It counts no time-steps and no spikes.

    Args:
        checkpoint: float, or quantized.
        config: how its predictions become commands.
    """

    def __init__(self, checkpoint: Checkpoint, config: ControlConfig | None = None) -> None:
        origin = checkpoint.origin
        super().__init__(origin.contract, origin.frame_rate_hz, config or ControlConfig())
        network = checkpoint.network.eval()
        self._network = deepcopy(network) if network.quantized else fold_bn(network)
        self._network.freeze()

    @property
    def quantized(self) -> bool:
        """Whether its arithmetic is that of the quantized network."""
        return self._network.quantized

    def initial_carry(self) -> dict[str, Tensor]:
        """See ``FrameLoop``."""
        return {}

    @torch.no_grad()
    def infer(
        self, pixels: NDArray[np.int8], carry: dict[str, Tensor]
    ) -> tuple[FrameResult, dict[str, Tensor]]:
        """See ``FrameLoop``; heads are in their units."""
        output = self._network(torch.from_numpy(pixels[None, None]), carry)
        result = FrameResult(
            heads=output.heads,
            counts={},
            activity={},
            settle_steps=torch.zeros(1, dtype=torch.int64),
            settled=torch.ones(1, dtype=torch.bool),
            trace=None,
        )
        return result, output.carry

    def predict(self, result: FrameResult) -> Prediction:
        """See ``FrameLoop``."""
        values = {name: head.double().reshape(-1).numpy() for name, head in result.heads.items()}
        return Prediction(*read_heads(values, steering_unit(self._network.config)), True, 0, 0)


def load_float_loop(path: str | Path, config: ControlConfig | None = None) -> FloatLoop:
    """The loop of a checkpoint file.

    Raises:
        DataError: the file is missing, damaged, or not a checkpoint.
    """
    return FloatLoop(load(Path(path)), config)


def kept_float_loop(path: str | Path, config: ControlConfig | None = None) -> FloatLoop:
    """The same, loaded once in a process while the file stays what it is.

    Raises:
        DataError: likewise.
    """
    return _kept(str(path), config, identity_if_any(Path(path)))


@lru_cache(maxsize=2)
def _kept(path: str, config: ControlConfig | None, _: Identity | None) -> FloatLoop:
    torch.set_num_threads(1)  # processes that drive beside each other would wait for threads
    return load_float_loop(path, config)
