"""The recurrent layers alone, over long windows: what to remember, and for how long.

drives --convolutions, once--> features --long windows--> recurrent layers and heads

Only the recurrent layers hand anything on from frame to frame, but back-propagation through time
costs the convolutions too, for every frame of its window; and in short windows, that begin without
a past, a network learns to remember little. Here the convolutions are run over all drives once, and
stay as they are; the layers after them learn from whole drives, many times faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from crnn_snn_ros.data.dataset import Sequence as Drive
from crnn_snn_ros.training.config import TrainConfig
from crnn_snn_ros.training.network import Network, Output

SEEN_AT_ONCE = 256  # frames
WHOLE = 2**31  # windows of a drive after which its stream goes on to another


class Tail(Network):
    """The first recurrent layer of a network and all after it: the same layers, not copies.

    Args:
        network: Whose.

    Attributes:
        source: Name of the layer before them, whose activations are their frames.
    """

    def __init__(self, network: Network) -> None:
        eye = network.eye
        rest = {name: layer for name, layer in network.nodes.items() if name not in eye}
        super().__init__(network.input_shape, rest)
        self.quantized = network.quantized
        self.source = eye[-1]
        self._source_scale = network.scales()[self.source].detach()

    def scales(self) -> dict[str, Tensor]:
        """As of the whole network."""
        return super().scales() | {self.source: self._source_scale}

    def forward(self, pixels: Tensor, carry: dict[str, Tensor] | None = None) -> Output:
        """Run N streams over T frames of features, (N, T, C, H, W)."""
        return self.run({self.source: pixels.float()}, carry or {})


def long_windows(config: TrainConfig) -> TrainConfig:
    """How the tail of a network is trained, where ``config`` says how the whole of it is."""
    return replace(config, window=config.memory_window, streams=config.memory_streams, piece=WHOLE)


@torch.no_grad()
def features(network: Network, drives: Sequence[Drive], path: Path, *, mirror: bool) -> list[Drive]:
    """The same drives as the recurrent layers of a network see them.

    Args:
        network: Whose convolutions look.
        drives: At what.
        path: File to keep the features in, which are not held in memory.
        mirror: Give every drive a second time, mirrored, as the network sees that.
    """
    tail = Tail(network)
    front = Network(network.input_shape, {name: network.nodes[name] for name in network.eye}).eval()
    front.quantized = network.quantized
    views = [(drive, mirrored) for drive in drives for mirrored in (False, True)[: 1 + mirror]]
    kept: np.memmap | None = None
    at, found = 0, []
    for drive, mirrored in views:
        for start in range(0, len(drive.frames), SEEN_AT_ONCE):
            seen = _see(front, tail.source, drive.frames[start : start + SEEN_AT_ONCE], mirrored)
            if kept is None:  # half floats hold every count of a pool exactly
                total = sum(len(drive) for drive, _ in views)
                kept = np.lib.format.open_memmap(path, "w+", np.float16, (total, *seen.shape[1:]))
            kept[at + start : at + start + len(seen)] = seen
        assert kept is not None
        seen_so = drive
        if mirrored:
            ways = None if drive.aversions is None else drive.aversions[:, ::-1]
            seen_so = replace(drive, steering_rad=-drive.steering_rad, aversions=ways)
        found.append(replace(seen_so, frames=kept[at : at + len(drive)], ranges_m=None))
        at += len(drive)
    return found


def _see(front: Network, source: str, frames: np.ndarray, mirrored: bool) -> np.ndarray:
    pixels = np.array(frames[..., ::-1] if mirrored else frames)
    device = next(front.parameters()).device
    seen = front(torch.from_numpy(pixels)[None].to(device)).activations[source]
    return np.asarray(seen[0].cpu().numpy())
