"""Where a training stands, in one file: to go on from it as if nothing had happened.

safetensors with a JSON header, as checkpoints are; written whole or not at all, so that a process
may be killed at any moment. It is gone when the training has ended.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.data.dataset import Sequence as Drive
from crnn_snn_ros.io.atomic import replacing
from crnn_snn_ros.training.network import Crnn

Tensors = dict[str, Tensor]

FORMAT = "crnn_snn training state 1"
NAME = "state.safetensors"
FREE = ("save_seconds", "tensorboard", "device")  # may differ when a run goes on


class State(NamedTuple):
    """All that changes in a training."""

    phase: str
    of: dict[str, Any]  # what was asked for: ``described``
    facts: dict[str, Any]  # JSON
    tensors: dict[str, Tensor]


def write(path: Path, state: State) -> None:
    """Write a state, whole or not at all.

    Raises:
        OSError: the disk refuses.
    """
    header = {"format": FORMAT, "phase": state.phase, "of": state.of, "facts": state.facts}
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.tensors.items()}
    with replacing(path) as temporary:
        temporary.write_bytes(to_bytes(tensors, metadata={"crnn_snn": json.dumps(header)}))


def read(path: Path) -> State | None:
    """Read a state; None where there is none.

    Raises:
        DataError: it is damaged, or of another version.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("crnn_snn", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if header.get("format") != FORMAT:
            raise ValueError(f"format is {header.get('format')!r:.60}, expected {FORMAT!r}")
        return State(header["phase"], header["of"], header["facts"], tensors)
    except (OSError, SafetensorError, ValueError, KeyError, AttributeError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> DataError:
    """What to say of a state that cannot be used."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(f"{path}: not a state to go on from ({reason:.200}); remove it and train anew")


def described(
    network: Mapping[str, Any],
    config: Mapping[str, Any],
    drives: Mapping[str, Sequence[Drive]],
    start: Crnn | None,
) -> dict[str, Any]:
    """What a training was asked for, as JSON: every option and digests of what it starts from."""
    asked: dict[str, Any] = {**network, **{k: v for k, v in config.items() if k not in FREE}}
    for split, parts in drives.items():
        labels_of = hashlib.sha256()
        for drive in parts:
            for labels in (
                drive.stamps_ns, drive.steering_rad, drive.collision, drive.ranges_m,
                drive.way_costs,
            ):  # fmt: skip
                labels_of.update(b"" if labels is None else np.ascontiguousarray(labels).tobytes())
        asked[f"the labels of {split}"] = labels_of.hexdigest()
    asked["from"] = None if start is None else digest(start)
    return plain(asked)


def digest_of(asked: Mapping[str, Any]) -> str:
    """Of all that a training was asked for, as ``described``."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def digest(network: nn.Module) -> str:
    """Of all that a network knows."""
    found = hashlib.sha256()
    for value in network.state_dict().values():
        found.update(value.cpu().numpy().tobytes())
    return found.hexdigest()


def plain(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The same as it is read back from JSON."""
    told: dict[str, Any] = json.loads(json.dumps(asked))
    return told


def require_same(path: Path, asked: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with other options than a training began with.

    Raises:
        ConfigError: naming the first that differs.
    """
    for name in sorted(asked.keys() | now.keys()):
        before, after = asked.get(name), now.get(name)
        if before != after:
            raise ConfigError(
                f"{path} is of a training with another {name} ({before!s:.60}, now {after!s:.60}); "
                "go on with the same options, or train into another folder"
            )


def named(part: str, tensors: Tensors) -> Tensors:
    """Tensors of one part of many."""
    return {f"{part}.{name}": value for name, value in tensors.items()}


def parts(tensors: Tensors) -> dict[str, Tensors]:
    """The parts out of which ``named`` made one."""
    found: dict[str, Tensors] = {}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        found.setdefault(part, {})[rest] = value
    return found


def moments(optimizer: torch.optim.Optimizer) -> Tensors:
    """What an optimizer remembers of every parameter."""
    found: Tensors = {}
    for number, remembered in optimizer.state_dict()["state"].items():
        found |= named(str(number), remembered)
    return found


def restore_moments(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Let an optimizer remember what ``moments`` gave."""
    whole = optimizer.state_dict()
    whole["state"] = {int(number): values for number, values in parts(tensors).items()}
    optimizer.load_state_dict(whole)
