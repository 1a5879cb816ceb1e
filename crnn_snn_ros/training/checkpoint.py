"""Training checkpoints: safetensors with a JSON header, never unpickled."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from crnn_snn_ros.core.errors import CrnnSnnError, DataError
from crnn_snn_ros.io.atomic import replacing
from crnn_snn_ros.io.preprocess import InputContract
from crnn_snn_ros.training.config import NetworkConfig
from crnn_snn_ros.training.convert.fold import without_norm
from crnn_snn_ros.training.network import Crnn

FORMAT = "crnn_snn checkpoint 1"


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


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all."""
    network = checkpoint.network
    header = {
        "format": FORMAT,
        "network": asdict(network.config),
        "quantized": network.quantized,
        "contract": asdict(checkpoint.origin.contract),
        "frame_rate_hz": checkpoint.origin.frame_rate_hz,
        "trained_heads": list(checkpoint.trained_heads),
        "provenance": checkpoint.origin.provenance,
        "metrics": checkpoint.metrics,
    }
    tensors = {name: value.detach().cpu() for name, value in network.state_dict().items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"crnn_snn": json.dumps(header)})


def load(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        DataError: it is missing, damaged, or not a checkpoint of this program.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("crnn_snn", "{}"))
            if header.get("format") != FORMAT:
                raise DataError(
                    f"format is {header.get('format')!r}, expected {FORMAT!r}; "
                    "give a checkpoint that `crnn-snn train` wrote"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        network = Crnn(_network_config(header["network"]))
        if header["quantized"]:
            network = without_norm(network)
        network.load_state_dict(tensors)
        network.quantized = header["quantized"]
        contract = InputContract(**header["contract"])
        origin = Origin(contract, header["frame_rate_hz"], header["provenance"])
        heads = tuple(header["trained_heads"])
        return Checkpoint(network.eval(), origin, heads, header["metrics"])
    except CrnnSnnError as error:
        raise DataError(f"{path}: {error}") from error
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: not a readable checkpoint ({reason}); train again") from error


def _network_config(fields: dict[str, Any]) -> NetworkConfig:
    """JSON has no tuples."""
    typed: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
    return NetworkConfig(**typed)
