"""Small networks and drives for tests of training and conversion."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crnn_snn_ros.core.verify import random_video
from crnn_snn_ros.data.bag_writer import BagWriter
from crnn_snn_ros.data.dataset import Sequence
from crnn_snn_ros.io.preprocess import InputContract, preprocess
from crnn_snn_ros.training.checkpoint import Checkpoint, Origin
from crnn_snn_ros.training.config import NetworkConfig
from crnn_snn_ros.training.layers import ConvBranch, HeadLayer, NeuronLayer
from crnn_snn_ros.training.network import Crnn
from crnn_snn_ros.training.random_network import quantized

CONTRACT = InputContract(width=12, height=8, colour="grey")
START_NS = 1_700_000_000_000_000_000
RATE_HZ = 20.0
STEERING_PER_COLUMN = 0.05  # rad


def small_config(**changes: Any) -> NetworkConfig:
    fields: dict[str, Any] = {
        "input_shape": (CONTRACT.channels, CONTRACT.height, CONTRACT.width),
        "stem_channels": 6,
        "block_channels": (8,),
        "hidden": (8,),
    }
    return NetworkConfig(**(fields | changes))


@torch.no_grad()
def random_network(config: NetworkConfig, seed: int = 0, gain: float = 1.0) -> Crnn:
    """A float network whose every parameter is drawn, batch norms and heads too."""
    torch.manual_seed(seed)
    network = Crnn(config)
    for _, layer in network.layers():
        if isinstance(layer, NeuronLayer):
            layer.bias.normal_(0.0, 0.3)
            if layer.recurrent is not None:
                layer.recurrent.uniform_(-gain, gain)
            for branch in layer.branches:
                if isinstance(branch, ConvBranch):
                    norm = branch.norm
                    norm.weight.uniform_(0.5, 1.5)
                    norm.bias.normal_(0.0, 0.2)
                    norm.running_mean.normal_(0.0, 0.2)
                    norm.running_var.uniform_(0.5, 2.0)
        elif isinstance(layer, HeadLayer):
            layer.weight.normal_()
            layer.bias.normal_()
    return network.eval()


def quantized_network(config: NetworkConfig, seed: int = 0, gain: float = 1.0) -> Crnn:
    """The same, folded, calibrated on generated video, and quantized: ready for ``convert``."""
    return quantized(random_network(config, seed, gain), seed)


def video(shape: tuple[int, int, int], frames: int, seed: int = 0) -> torch.Tensor:
    """Generated pixels, float (1, T, C, H, W)."""
    return torch.from_numpy(np.stack(list(random_video(shape, frames, seed)))[None]).float()


def checkpoint(network: Crnn, **changes: Any) -> Checkpoint:
    channels, height, width = network.config.input_shape
    fields: dict[str, Any] = {
        "network": network,
        "origin": Origin(
            InputContract(width, height, "rgb" if channels == 3 else "grey"),
            RATE_HZ,
            {"data": {"bags": [{"name": "bar", "about": {"licence": "CC0-1.0"}}]}},
        ),
        "trained_heads": ("steering",),
        "metrics": {"validation": {"validation_loss": 0.25}},
    }
    return Checkpoint(**(fields | changes))


def bar_image(column: float, width: int) -> NDArray[np.uint8]:
    """A bright bar on a dark ground, 16x24: its place says where to steer, its width how near."""
    columns = np.arange(24)
    image = np.full((16, 24, 3), 30, np.uint8)
    image[:, np.abs(columns + 0.5 - column) <= width / 2] = 220
    return image


def bar_path(frames: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Columns and widths of a bar that wanders."""
    rng = np.random.default_rng(seed)
    columns = 12 + 8 * np.sin(np.cumsum(rng.uniform(0.1, 0.5, frames)))
    widths = np.where(np.sin(np.cumsum(rng.uniform(0.05, 0.4, frames))) > 0, 7, 3)
    return columns, widths.astype(np.int64)


def bar_bag(path: Path, frames: int = 60, seed: int = 0) -> Path:
    """A drive whose images say all: /image, /steering (rad), /collision (0 or 1)."""
    columns, widths = bar_path(frames, seed)
    with BagWriter(path, {"source": "a bar", "licence": "CC0-1.0"}) as bag:
        for number in range(frames):
            stamp_ns = START_NS + round(number * 1e9 / RATE_HZ)
            bag.image("/image", stamp_ns, bar_image(columns[number], widths[number]))
            bag.float32("/steering", stamp_ns, (12 - columns[number]) * STEERING_PER_COLUMN)
            bag.float32("/collision", stamp_ns, float(widths[number] > 5))
    return path


def bar_drive(frames: int = 60, seed: int = 0) -> Sequence:
    """The same in memory."""
    columns, widths = bar_path(frames, seed)
    pixels = [preprocess(bar_image(*at), CONTRACT) for at in zip(columns, widths, strict=True)]
    return Sequence(
        name="bar",
        frames=np.stack(pixels),
        stamps_ns=START_NS + np.arange(frames) * 50_000_000,
        steering_rad=((12 - columns) * STEERING_PER_COLUMN).astype(np.float32),
        collision=(widths > 5).astype(np.float32),
    )


def blinded(drive: Sequence, *labels: str) -> Sequence:
    """The same drive without some of its labels."""
    changes = {label: np.full_like(getattr(drive, label), math.nan) for label in labels}
    return dataclasses.replace(drive, **changes)
