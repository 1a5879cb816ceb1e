"""``crnn-snn train``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from crnn_snn_ros.cli.output import print_json, print_table, progress_bar
from crnn_snn_ros.training.config import NetworkConfig, TrainConfig


def train_verb(
    data: Positional[Path],
    out: Path = Path("out/train"),
    bits: int = 3,
    relu_hidden: bool = False,
    start: Annotated[Path | None, tyro.conf.arg(name="from")] = None,
    training: Annotated[TrainConfig, tyro.conf.arg(name="")] = TrainConfig(),  # noqa: B008
    jobs: int = 1,
    scheduler: str | None = None,
    json: bool = False,
) -> int:
    """Train a quantized network on bags: a float warm-up, then quantization-aware.

    Example: crnn-snn train data.yaml --out out/train --bits 3 --seed 0

    Args:
        data: Data file: bags, topics, splits, frame rate, input (see docs/data.md).
        out: Folder for float.safetensors, qat.safetensors and log.csv.
        bits: Activation bits: a layer counts to 2^bits - 1 spikes.
        relu_hidden: Recurrent layers count in [0, L] instead of [-L, L].
        start: float.safetensors to go on from; with --float-epochs 0 it is only quantized, to any
            number of bits.
        training: How to train.
        jobs: Number of processes to spread the decoding of the bags over.
        scheduler: Address of a Dask scheduler, whose workers decode instead (docs/scale_out.md).
        json: One JSON object on stdout.
    """
    import torch

    from crnn_snn_ros.core.device import choose_device
    from crnn_snn_ros.data.bags import read_info
    from crnn_snn_ros.data.dataset import load_data_config, load_sequences
    from crnn_snn_ros.io.processes import Workers
    from crnn_snn_ros.training.checkpoint import Origin, load
    from crnn_snn_ros.training.train import Epoch, train

    workers = Workers(jobs, scheduler)
    choose_device(training.device)  # refused before the drives are decoded, not after
    learned = None if start is None else load(start).network
    config = load_data_config(data)
    cache = out / "cache"
    drives, validation = (
        load_sequences(config, name, cache, workers) for name in ("train", "validation")
    )
    contract = config.contract
    network = NetworkConfig(
        input_shape=(contract.channels, contract.height, contract.width),
        bits=bits,
        signed_hidden=not relu_hidden,
    )
    provenance: dict[str, object] = {
        "command": shlex.join(["crnn-snn", *sys.argv[1:]]),
        "data": {
            "bags": [
                {"name": bag.path.name, "about": read_info(bag.path).about} for bag in config.bags
            ],
            "splits": _lists(config.splits),
        },
        "training": asdict(training),
        "torch": torch.__version__,
    }
    with progress_bar(training.float_epochs + training.qat_epochs, quiet=json) as bar:

        def on_epoch(epoch: Epoch) -> None:
            error = epoch.steering_rmse_rad
            steering = "" if error is None else f"  steering {error:.4f} rad"
            note = f"{epoch.phase} loss {epoch.train_loss:.4f}{steering}"
            bar.update(bar.task_ids[0], advance=1, note=note)

        origin = Origin(contract, config.frame_rate_hz, provenance)
        result = train(drives, validation, network, training, origin, out, on_epoch, learned)
    checkpoint = out / "qat.safetensors"
    if json:
        print_json({"checkpoint": str(checkpoint), **result.metrics})
    else:
        print_table(f"checkpoint {checkpoint}, best epoch", result.metrics["validation"])
    return 0


def _lists(splits: Mapping[str, tuple[float, float]]) -> dict[str, list[float]]:
    return {name: list(span) for name, span in splits.items()}
