"""Training checkpoints: safetensors with a JSON header, never unpickled."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor
from torch.overrides import TorchFunctionMode

from crnn_snn_ros.core.errors import CrnnSnnError, DataError
from crnn_snn_ros.io.atomic import replacing
from crnn_snn_ros.io.preprocess import InputContract
from crnn_snn_ros.training.config import WAYS_SCALES, NetworkConfig
from crnn_snn_ros.training.convert.fold import without_norm
from crnn_snn_ros.training.network import HEADS, Crnn

FORMAT = "crnn_snn checkpoint 1"
_KINDS = {torch.float32: "F32", torch.int64: "I64"}
_DAMAGE = (
    OSError,
    SafetensorError,
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    RuntimeError,
    OverflowError,
)  # what a header of the wrong form makes the code below stumble over


@dataclass(frozen=True)
class Origin:
    """What a network was trained on and how; travels into the model file."""

    contract: InputContract
    frame_rate_hz: float
    provenance: dict[str, Any]  # data, command, seed, versions: JSON


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A network with all that its conversion must know."""

    network: Crnn
    origin: Origin
    trained_heads: tuple[str, ...]  # heads for which there were labels
    metrics: dict[str, Any]  # JSON
    asked: str = ""  # digest of all that its training was asked for; empty: nobody knows


def beginnings(start: Checkpoint | None) -> dict[str, Any]:
    """What a provenance says of the network that a training began with, and so on back."""
    if start is None:
        return {}
    before = start.origin.provenance
    told = ("command", "crnn_snn_ros", "start")
    return {"start": {name: before[name] for name in told if name in before}}


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        OSError: the disk refuses.
    """
    network = checkpoint.network
    header = {
        "format": FORMAT,
        "network": asdict(network.config),
        "quantized": network.quantized,
        "on_integers": [] if network.quantized else list(network.on_integers),
        "contract": asdict(checkpoint.origin.contract),
        "frame_rate_hz": checkpoint.origin.frame_rate_hz,
        "trained_heads": list(checkpoint.trained_heads),
        "provenance": checkpoint.origin.provenance,
        "metrics": checkpoint.metrics,
        "asked": checkpoint.asked,
    }
    tensors = {name: value.detach().cpu() for name, value in network.state_dict().items()}
    with replacing(path) as temporary:
        temporary.write_bytes(to_bytes(tensors, metadata={"crnn_snn": json.dumps(header)}))


def load(path: Path) -> Checkpoint:
    """Read a checkpoint. What its header claims is compared with its tensors before any is read.

    Raises:
        DataError: it is missing, damaged, or not a checkpoint of this program.
    """
    try:
        if not path.is_file():
            raise DataError("is a folder" if path.is_dir() else "there is no such file")
        with safe_open(path, framework="pt") as file:
            header = _header(file.metadata())
            network = _empty_network(header)
            _check_tensors(file, network.state_dict())
            tensors = {name: file.get_tensor(name) for name in network.state_dict()}
        network.load_state_dict(tensors, assign=True)
        damaged = [name for name, value in tensors.items() if not value.isfinite().all()]
        if damaged:
            raise DataError(f"'{damaged[0]}' is not finite; train again with a lower learning rate")
        contract = InputContract(**header["contract"])
        rate = header["frame_rate_hz"]
        if type(rate) not in (int, float) or not 0.0 < rate < math.inf:
            raise DataError(f"frame_rate_hz is {rate!r:.40}, expected a positive number")
        origin = Origin(contract, rate, dict(header["provenance"]))
        heads = tuple(head for head in HEADS if head in header["trained_heads"])
        asked = str(header.get("asked", ""))
        return Checkpoint(network.eval(), origin, heads, dict(header["metrics"]), asked)
    except CrnnSnnError as error:
        raise DataError(f"{path}: {error}") from error
    except _DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path}: not a readable checkpoint ({reason:.200}); train again"
        ) from error


def _header(metadata: dict[str, str] | None) -> dict[str, Any]:
    header: Any = json.loads((metadata or {}).get("crnn_snn", "{}"))
    found = header.get("format") if isinstance(header, dict) else header
    if found != FORMAT:
        raise DataError(
            f"format is {found!r:.60}, expected {FORMAT!r}; "
            "give a checkpoint that 'crnn-snn train' wrote (a .snn model holds integers only)"
        )
    fields: dict[str, Any] = header
    return fields


class _NoDraws(TorchFunctionMode):
    """Leaves tensors as they are: drawing on the meta device costs seconds of imports."""

    def __torch_function__(
        self, func: Any, _types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in (Tensor.normal_, Tensor.uniform_):
            return args[0]
        return func(*args, **(kwargs or {}))


def _empty_network(header: dict[str, Any]) -> Crnn:
    """The network that the header describes, on the meta device: shapes without memory."""
    typed: dict[str, Any] = {
        name: _tuples(value)
        for name, value in header["network"].items()  # JSON has no tuples
    }
    typed.setdefault("ways_scale", WAYS_SCALES[-1])  # before it was written down
    with torch.device("meta"), _NoDraws():
        network = Crnn(NetworkConfig(**typed))
    if header["quantized"]:
        network = without_norm(network)
    network.quantized = bool(header["quantized"])
    network.put_on_integers(header.get("on_integers", ()))
    return network


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _check_tensors(file: Any, expected: dict[str, Tensor]) -> None:
    """Compare names, shapes and types; reads the table of the file only."""
    names = set(file.keys())
    if names != expected.keys():
        odd = sorted(names ^ expected.keys())[0]
        raise DataError(f"its tensors are not those of its network ('{odd:.80}'); train again")
    for name, tensor in expected.items():
        entry = file.get_slice(name)
        shape, kind = tuple(entry.get_shape()), entry.get_dtype()
        if shape != tuple(tensor.shape) or kind != _KINDS[tensor.dtype]:
            raise DataError(
                f"'{name}' is {kind} {shape}, expected {_KINDS[tensor.dtype]} "
                f"{tuple(tensor.shape)}; train again"
            )
