"""Curves for TensorBoard, where it is installed: the extra [train]."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.training.layers import NeuronLayer
from crnn_snn_ros.training.log import Epoch
from crnn_snn_ros.training.network import Network


class Board:
    """A folder of events: a point of every curve after each epoch of a run, both phases in a row.

    Args:
        folder: To write into.
        known: Epochs that a run which was cut off has behind it; what it wrote later is hidden.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, known: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                f"--tensorboard: {error}; pip install 'crnn_snn_ros[train]'"
            ) from None
        self._epochs = known
        self._writer: Any = SummaryWriter(str(folder), purge_step=known + 1)

    @torch.no_grad()
    def add(self, epoch: Epoch, rate: float, network: Network) -> None:
        """Draw what is known after an epoch; ``rate`` is its last learning rate."""
        self._epochs += 1
        points: dict[str, float | None] = {
            "learning_rate": rate,
            **{name: getattr(epoch, name) for name in epoch._fields[3:]},
        }
        for name, value in points.items():
            if value is not None:
                self._writer.add_scalar(f"{epoch.phase}/{name}", value, self._epochs)
        scales = network.scales()
        for name, layer in network.layers() if network.quantized else ():
            if isinstance(layer, NeuronLayer):
                thresholds = layer.integers(scales).threshold.cpu()
                self._writer.add_histogram(f"threshold/{name}", thresholds, self._epochs)
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
