"""Drives as an eye sees them: what the layers after it learn from, while it stays as it is.

bag --frames, a few at a time--> eye of a checkpoint --counts or activations--> cache --> drives

An eye looks at one frame at a time, so it need not look twice. What it hands on is smaller than the
frame by far: where only the layers after it learn, frames need not be kept at all, and the looking
is spread over processes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from multiprocessing import parent_process
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from crnn_snn_ros.core.device import choose_device
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.data.data_config import DataConfig
from crnn_snn_ros.data.dataset import SEEN_AT_ONCE, load_sequences
from crnn_snn_ros.data.dataset import Sequence as Drive
from crnn_snn_ros.io.atomic import replacing
from crnn_snn_ros.io.identity import Identity, identity_if_any
from crnn_snn_ros.io.preprocess import InputContract
from crnn_snn_ros.io.processes import HERE, Workers
from crnn_snn_ros.training.checkpoint import Checkpoint, load
from crnn_snn_ros.training.config import NetworkConfig, TrainConfig
from crnn_snn_ros.training.convert.fold import fold_bn
from crnn_snn_ros.training.memory import Tail
from crnn_snn_ros.training.network import Crnn, Network


class Eye:
    """The layers of a network before its first recurrent one, a copy of them.

    Args:
        network: Whose.

    Attributes:
        shape: Of what it hands on of a frame, (C, H, W).
        key: Digest of all that it is.
    """

    def __init__(self, network: Network) -> None:
        tail = Tail(network)
        layers = {name: network.nodes[name] for name in network.eye}
        front = copy.deepcopy(Network(network.input_shape, layers)).eval()
        self._eye = front if network.quantized else fold_bn(front)
        self._eye.quantized = tail.counts
        self._source = tail.source
        digest = blake2b(str(tail.counts).encode(), digest_size=16)
        for value in self._eye.state_dict().values():
            digest.update(value.cpu().numpy().tobytes())
        self.key = digest.hexdigest()
        self._eye.freeze()
        self.shape = self(np.zeros((1, *network.input_shape), np.int8)).shape[1:]

    @torch.no_grad()
    def __call__(self, frames: NDArray[np.int8]) -> NDArray[np.float16]:
        """Of frames (N, C, H, W) the features (N, C', H', W'), half floats.

        They hold every count of a pool exactly.
        """
        device = next(self._eye.parameters()).device
        seen = self._eye(torch.from_numpy(frames)[None].to(device)).activations[self._source]
        return np.asarray(seen[0].cpu().numpy(), np.float16)

    def views(self, frames: NDArray[np.int8], *, mirror: bool) -> NDArray[np.float16]:
        """The same, (N, 1 or 2, C', H', W'): with ``mirror`` of every frame's mirror image too."""
        looks = [frames, np.ascontiguousarray(frames[..., ::-1])][: 1 + mirror]
        return np.stack([self(look) for look in looks], axis=1)


@dataclass(frozen=True)
class EyeOfCheckpoint:
    """``data.dataset.Features``: the views of the eye of a checkpoint, loaded once in each process.

    Args:
        path: Of the checkpoint.
        mirror: See the mirror images too.
        device: On which each process looks: auto, cpu or cuda.
    """

    path: str
    mirror: bool
    device: str

    @property
    def key(self) -> str:
        """See ``Features``."""
        return f"{self._eye.key} {self.mirror}"

    @property
    def shape(self) -> tuple[int, ...]:
        """See ``Features``: (views, C, H, W)."""
        return (1 + self.mirror, *self._eye.shape)

    def __call__(self, frames: NDArray[np.int8]) -> NDArray[np.float16]:
        """See ``Features``."""
        return self._eye.views(frames, mirror=self.mirror)

    @property
    def _eye(self) -> Eye:
        return _kept(self.path, self.device, identity_if_any(Path(self.path)))


@lru_cache(maxsize=1)
def _kept(path: str, device: str, _: Identity | None) -> Eye:
    if parent_process() is not None:  # those beside it would wait for its threads
        torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False  # integers must stay exact
    return Eye(load(Path(path)).network.to(choose_device(device)))


def load_both(
    data: DataConfig, cache: Path, eye: Path | None, config: TrainConfig, workers: Workers = HERE
) -> tuple[list[Drive], list[Drive]]:
    """The drives of both splits of a data set, as recorded or as the eye of a checkpoint sees them.

    Args:
        data: The data set.
        cache: Folder in which frames are kept, or what the eye makes of them.
        eye: Checkpoint, float or quantized; None: as recorded.
        config: Of the training: where the eye looks, and whether every drive to train on is to be
            there a second time as it sees it mirrored.
        workers: Who decodes, and looks.

    Returns:
        Those to train on, and those to validate on.

    Raises:
        ConfigError, DataError: as ``load_sequences`` and ``checkpoint.load``.
    """
    if eye is None:
        frames, held_out = (
            load_sequences(data, split, cache, workers) for split in ("train", "validation")
        )
        return frames, held_out
    learned, judged = (
        load_sequences(
            data, split, cache, workers, EyeOfCheckpoint(str(eye), mirror, config.device)
        )
        for split, mirror in (("train", config.augment.mirror), ("validation", False))
    )
    return _by_view(learned), _by_view(judged)


def look_at(
    network: Network, drives: Sequence[Drive], folder: Path, *, mirror: bool
) -> list[Drive]:
    """Drives that are there already, as the eye of a network in training sees them.

    Args:
        network: Whose eye.
        drives: At what.
        folder: Where the features are kept, which are not held in memory.
        mirror: Give every drive a second time, mirrored, as the network sees that.
    """
    eye = Eye(network)
    folder.mkdir(parents=True, exist_ok=True)
    seen = []
    for number, drive in enumerate(drives):
        parts = [
            eye.views(np.array(drive.frames[at : at + SEEN_AT_ONCE]), mirror=mirror)
            for at in range(0, len(drive), SEEN_AT_ONCE)
        ]
        path = folder / f"{number}.npy"
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, np.concatenate(parts))
        seen.append(replace(drive, frames=np.load(path, mmap_mode="r")))
    return _by_view(seen)


def _by_view(drives: Iterable[Drive]) -> list[Drive]:
    """Drives of several views (N, views, C, H, W) as a drive for each, the second one mirrored."""
    found = []
    for drive in drives:
        for view in range(drive.frames.shape[1]):
            seen = replace(drive, frames=drive.frames[:, view], ranges_m=None)
            if view > 0:
                ways = None if drive.way_costs is None else drive.way_costs[:, ::-1]
                seen = replace(seen, steering_rad=-drive.steering_rad, way_costs=ways)
            found.append(seen)
    return found


def begin_with_eye(
    taught: Checkpoint, config: NetworkConfig, contract: InputContract, seed: int
) -> Crnn:
    """A network with the eye of another one, that knows nothing else.

    Args:
        taught: Whose eye.
        config: Of the network.
        contract: How it is to see.
        seed: Of what it begins with after its eye.

    Raises:
        ConfigError: the eye was taught to see otherwise, or has other convolutions or pools.
    """
    its, ours = asdict(taught.origin.contract), asdict(contract)
    others = [f"{name} {its[name]} for {what}" for name, what in ours.items() if its[name] != what]
    if others:
        raise ConfigError(
            f"the eye to begin with was taught to see otherwise ({', '.join(others)}): give the "
            "same --width, --height, --fov-deg, --motion, --mount, --steady, --floor and --wheels, "
            "or the same `input` in the data file"
        )
    torch.manual_seed(seed)
    network = Crnn(config)
    network.take_eye(taught.network)
    if network.eye[-1] != taught.network.eye[-1]:
        raise ConfigError(
            "the eye to begin with and this network do not both end in a pool: give --no-pool to "
            "both, or to none"
        )
    return network


def training_beside_eye(config: TrainConfig) -> TrainConfig:
    """How what is after an eye is trained, which itself stays as it is until quantization.

    Raises:
        ConfigError: nothing would be learned before that.
    """
    if config.memory_epochs == 0:
        raise ConfigError(
            "beside an eye only the recurrent layers learn before quantization: give "
            "--memory-epochs of at least 1"
        )
    return replace(config, float_epochs=0)


def stays(network: Crnn, config: TrainConfig) -> bool:
    """Whether the eye of a network stays as it is for good: on integers, and never taught again."""
    eye = set(network.eye)
    seeing = [layer.on_integers for name, layer in network.neurons() if name in eye]
    return all(seeing) and config.float_epochs == config.qat_epochs == 0
