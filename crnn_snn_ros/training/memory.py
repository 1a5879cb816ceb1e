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
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from crnn_snn_ros.data.dataset import Sequence as Drive
from crnn_snn_ros.io.atomic import replacing
from crnn_snn_ros.training.config import TrainConfig
from crnn_snn_ros.training.convert.fold import fold_bn
from crnn_snn_ros.training.network import Network, Output

SEEN_AT_ONCE = 64  # frames; what does not fit into the cache of a CPU takes longer
WHOLE = 2**31  # windows of a drive after which its stream goes on to another


class Tail(Network):
    """The first recurrent layer of a network and all after it: the same layers, not copies.

    Args:
        network: Whose.

    Attributes:
        source: Name of the layer before them, whose activations are their frames.
        counts: Whether those are counts, as of an eye on integers, though all after it be float.
    """

    def __init__(self, network: Network) -> None:
        eye = network.eye
        rest = {name: layer for name, layer in network.nodes.items() if name not in eye}
        super().__init__(network.input_shape, rest)
        self.quantized = network.quantized
        self.source = eye[-1]
        self._source_scale = network.scales()[self.source].detach()
        seeing = (layer.on_integers for name, layer in network.neurons() if name in eye)
        self.counts = network.quantized or all(seeing)

    def scales(self) -> dict[str, Tensor]:
        """As of the whole network."""
        return super().scales() | {self.source: self._source_scale}

    def forward(self, pixels: Tensor, carry: dict[str, Tensor] | None = None) -> Output:
        """Run N streams over T frames of features, (N, T, C, H, W)."""
        seen = pixels.float()
        if self.counts and not self.quantized:
            seen = seen * self._source_scale
        return self.run({self.source: seen}, carry or {})


def long_windows(config: TrainConfig) -> TrainConfig:
    """How the tail of a network is trained, where ``config`` says how the whole of it is."""
    return replace(config, window=config.memory_window, streams=config.memory_streams, piece=WHOLE)


@torch.no_grad()
def features(
    network: Network, drives: Sequence[Drive], folder: Path, *, mirror: bool
) -> list[Drive]:
    """The same drives as the recurrent layers of a network see them.

    Args:
        network: Whose convolutions look.
        drives: At what.
        folder: Where the features are kept, which are not held in memory; what is there already, of
            the same convolutions and the same frames, is not looked at again.
        mirror: Give every drive a second time, mirrored, as the network sees that.
    """
    tail = Tail(network)
    front = Network(network.input_shape, {name: network.nodes[name] for name in network.eye}).eval()
    if not network.quantized:
        front = fold_bn(front)
    front.quantized = tail.counts
    eye = blake2b(str(front.quantized).encode())
    for value in front.state_dict().values():
        eye.update(value.cpu().numpy().tobytes())
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for drive in drives:
        for mirrored in (False, True)[: 1 + mirror]:
            frames = np.ascontiguousarray(drive.frames)
            digest = blake2b(eye.digest() + bytes([mirrored]), digest_size=16)
            digest.update(frames.view(np.uint8).reshape(-1).data)
            path = folder / f"{digest.hexdigest()}.npy"
            if not path.exists():
                with replacing(path) as temporary, temporary.open("wb") as file:
                    np.save(file, _see_all(front, tail.source, frames, mirrored))
            seen_so = drive
            if mirrored:
                ways = None if drive.way_costs is None else drive.way_costs[:, ::-1]
                seen_so = replace(drive, steering_rad=-drive.steering_rad, way_costs=ways)
            kept = np.load(path, mmap_mode="r")
            found.append(replace(seen_so, frames=kept, ranges_m=None))
    return found


def _see_all(front: Network, source: str, frames: np.ndarray, mirrored: bool) -> np.ndarray:
    """Half floats, which hold every count of a pool exactly."""
    parts = [
        _see(front, source, frames[start : start + SEEN_AT_ONCE], mirrored)
        for start in range(0, len(frames), SEEN_AT_ONCE)
    ]
    return np.concatenate(parts).astype(np.float16)


def _see(front: Network, source: str, frames: np.ndarray, mirrored: bool) -> np.ndarray:
    pixels = np.array(frames[..., ::-1] if mirrored else frames)
    device = next(front.parameters()).device
    seen = front(torch.from_numpy(pixels)[None].to(device)).activations[source]
    return np.asarray(seen[0].cpu().numpy())
