"""``crnn-snn train``."""

from __future__ import annotations

import json as as_json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import Positional

from crnn_snn_ros.cli.output import print_json, print_table, progress_bar
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.training.config import NetworkConfig, SizeConfig, TrainConfig

if TYPE_CHECKING:
    from crnn_snn_ros.data.data_config import DataConfig
    from crnn_snn_ros.training.log import Epoch

NAMED = 16  # bags that a model card names one by one


def train_verb(
    data: Positional[Path],
    out: Path = Path("out/train"),
    bits: int = 3,
    relu_hidden: bool = False,
    layer_bits: tuple[tuple[str, int], ...] = (),
    ways: bool = False,
    start: Annotated[Path | None, tyro.conf.arg(name="from")] = None,
    eye: Path | None = None,
    resume: bool = False,
    size: Annotated[SizeConfig, tyro.conf.arg(name="")] = SizeConfig(),  # noqa: B008
    training: Annotated[TrainConfig, tyro.conf.arg(name="")] = TrainConfig(),  # noqa: B008
    jobs: int = 1,
    scheduler: str | None = None,
    json: bool = False,
) -> int:
    """Train a quantized network on bags: a float warm-up, then quantization-aware.

    A run that was cut off, by whatever, goes on with --resume and ends with the same weights.
    Several processes train together under torchrun, each on its share of the streams.

    Example: crnn-snn train data.yaml --out out/train --bits 3 --seed 0

    Example: torchrun --nproc-per-node 2 --no-python crnn-snn train data.yaml --out out/train

    Args:
        data: Data file: bags, topics, splits, frame rate, input (see docs/data.md).
        out: Folder for float.safetensors, qat.safetensors and log.csv.
        bits: Activation bits: a layer counts to 2^bits - 1 spikes.
        relu_hidden: Recurrent layers count in [0, L] instead of [-L, L].
        layer_bits: Layers with bits of their own, e.g. --layer-bits stem 4 rnn1 5.
        ways: Learn what every way to steer would cost (key way_costs of the data), not one angle.
        start: float.safetensors to go on from; with --float-epochs 0 it is only quantized, to any
            number of bits. Where its convolutions are on integers, and --qat-epochs is 0 too, they
            stay, and no frame is kept.
        eye: Checkpoint of ``eye``, whose convolutions stay until quantization, and for good where
            they are on integers and --qat-epochs is 0: then no frame is kept.
        resume: Go on where the same command was cut off; from the beginning where it was not.
        size: Layers, and how wide they are.
        training: How to train.
        jobs: Number of processes to spread the decoding of the bags over.
        scheduler: Address of a Dask scheduler, whose workers decode instead (docs/scale_out.md).
        json: One JSON object on stdout.
    """
    from crnn_snn_ros.core.device import choose_device
    from crnn_snn_ros.data.dataset import load_data_config
    from crnn_snn_ros.io.processes import Workers
    from crnn_snn_ros.training.checkpoint import Origin, beginnings, load
    from crnn_snn_ros.training.ranks import joined
    from crnn_snn_ros.training.seen import begin_with_eye, load_both, stays, training_beside_eye
    from crnn_snn_ros.training.train import train

    if start is not None and eye is not None:
        raise ConfigError("--from brings an eye of its own: leave out --eye")
    workers = Workers(jobs, scheduler)
    choose_device(training.device)  # refused before the drives are decoded, not after
    given = start or eye
    begun = None if given is None else load(given)
    config = load_data_config(data)
    contract = config.contract
    network = NetworkConfig(
        input_shape=(contract.channels, contract.height, contract.width),
        bits=bits,
        signed_hidden=not relu_hidden,
        layer_bits=layer_bits,
        ways=ways,
        **asdict(size),
    )
    first = None if begun is None else begun.network
    if eye is not None:
        assert begun is not None
        training = training_beside_eye(training)
        first = begin_with_eye(begun, network, contract, training.seed)
    seen = first is not None and stays(first, training)
    with joined() as ranks:
        with ranks.one_before_others():  # the first one decodes
            drives, validation = load_both(
                config, out / "cache", given if seen else None, training, workers
            )
        quiet = json or not ranks.first
        epochs = training.phases
        with progress_bar(sum(epochs.values()), quiet=quiet) as bar:

            def on_epoch(epoch: Epoch) -> None:
                names = list(epochs)
                before = sum(epochs[name] for name in names[: names.index(epoch.phase)])
                bar.update(bar.task_ids[0], completed=before + epoch.number, note=_note(epoch))

            provenance = _provenance(config, training) | beginnings(begun)
            origin = Origin(contract, config.frame_rate_hz, provenance)
            result = train(
                drives, validation, network, training, origin, out, on_epoch,
                first, resume=resume, ranks=ranks, seen=seen,
            )  # fmt: skip
    checkpoint = out / "qat.safetensors"
    if not ranks.first:
        return 0
    if json:
        print_json({"checkpoint": str(checkpoint), **result.metrics})
    else:
        print_table(f"checkpoint {checkpoint}, best epoch", result.metrics.get("validation", {}))
    return 0


def _note(epoch: Epoch) -> str:
    error, rank = epoch.steering_rmse_rad, epoch.collision_auroc
    steering = "" if error is None else f"  steering {error:.4f} rad"
    collision = "" if rank is None else f"  collision AUROC {rank:.3f}"
    learned = "" if epoch.train_loss is None else f" loss {epoch.train_loss:.4f}"
    return f"{epoch.phase}{learned}{steering}{collision}"


def _bags(config: DataConfig) -> list[dict[str, Any]]:
    """Names of the bags and what they note of themselves; of many, what they have in common."""
    from crnn_snn_ros.data.bags import read_info

    bags = [(bag.path.name, read_info(bag.path).about) for bag in config.bags]
    if len(bags) <= NAMED:
        return [{"name": name, "about": about} for name, about in bags]
    notes: dict[str, set[str]] = {}
    for _, noted in bags:
        for name, value in noted.items():
            notes.setdefault(name, set()).add(value)
    about = {
        name: ", ".join(sorted(found)) if len(found) <= NAMED else f"{len(found)} different"
        for name, found in notes.items()
    }
    return [{"name": f"{len(bags)} bags", "about": about}]


def _provenance(config: DataConfig, training: TrainConfig) -> dict[str, Any]:
    """What goes into the checkpoints, whether the run was cut off in between or not."""
    import torch

    given = [argument for argument in sys.argv[1:] if argument not in ("--resume", "--no-resume")]
    plain: dict[str, Any] = as_json.loads(as_json.dumps({"training": asdict(training)}))
    return {
        "command": shlex.join(["crnn-snn", *given]),
        "data": {
            "bags": _bags(config),
            "splits": {name: list(span) for name, span in config.splits.items()},
        },
        **plain,
        "torch": torch.__version__,
    }
