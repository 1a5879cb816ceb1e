"""``crnn-snn dagger``."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro

from crnn_snn_ros.cli.output import STDERR, print_json, print_table
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.training.config import (
    DaggerConfig,
    NetworkConfig,
    SightConfig,
    SizeConfig,
    TrainConfig,
)


def dagger_verb(
    out: Path = Path("out/dagger"),
    bits: int = 3,
    relu_hidden: bool = False,
    ways: bool = False,
    sight: Annotated[SightConfig, tyro.conf.arg(name="")] = SightConfig(),  # noqa: B008
    size: Annotated[SizeConfig, tyro.conf.arg(name="")] = SizeConfig(),  # noqa: B008
    driving: Annotated[DaggerConfig, tyro.conf.arg(name="")] = DaggerConfig(),  # noqa: B008
    training: Annotated[TrainConfig, tyro.conf.arg(name="")] = TrainConfig(  # noqa: B008
        float_epochs=6, qat_epochs=2
    ),
    json: bool = False,
) -> int:
    """Train in the simulator: the network drives, a teacher says what it would have done there.

    A run that was cut off goes on where it was when the same command is given again.

    Example: crnn-snn dagger --out out/dagger --processes 2 --seed 0

    Args:
        out: Folder for the drives, the float network of every round, and qat.safetensors.
        bits: Activation bits: a layer counts to 2^bits - 1 spikes.
        relu_hidden: Recurrent layers count in [0, L] instead of [-L, L].
        ways: Learn what every way to steer would cost, not one angle.
        sight: What the network sees beside the colours.
        size: Layers, and how wide they are.
        driving: How much is driven.
        training: How to train: epochs of the first round (float) and of the last phase (qat).
        json: One JSON object on stdout.
    """
    import torch

    try:
        from crnn_snn_ros.sim.suites import RATE_HZ
        from crnn_snn_ros.training.dagger import dagger
    except ImportError as error:
        raise ConfigError(f"{error}; pip install 'crnn_snn_ros[sim]'") from None
    from crnn_snn_ros.io.preprocess import InputContract
    from crnn_snn_ros.training.checkpoint import Origin, beginnings, load
    from crnn_snn_ros.training.log import Epoch
    from crnn_snn_ros.training.ranks import is_parallel

    if is_parallel():
        raise ConfigError("dagger runs in one process; give it --processes instead of torchrun")
    contract = InputContract(colour="rgb", **asdict(sight))
    network = NetworkConfig(
        (contract.channels, contract.height, contract.width), bits=bits,
        signed_hidden=not relu_hidden, ways=ways, **asdict(size),
    )  # fmt: skip
    begun = driving.start or driving.eye
    provenance = {
        "command": shlex.join(["crnn-snn", *sys.argv[1:]]),
        "data": {"source": "crnn_snn_ros simulator", "licence": "Apache-2.0", **asdict(driving)},
        "training": asdict(training),
        "torch": torch.__version__,
        **beginnings(None if begun is None else load(Path(begun))),
    }

    def on_epoch(epoch: Epoch) -> None:
        error = epoch.steering_rmse_rad
        steering = "" if error is None else f", steering {error:.4f} rad"
        learned = "" if epoch.train_loss is None else f"loss {epoch.train_loss:.4f}, "
        STDERR.print(
            f"  {epoch.phase} epoch {epoch.number}/{epoch.of}: {learned}"
            f"on other courses {epoch.validation_loss:.4f}{steering}"
        )

    origin = Origin(contract, RATE_HZ, provenance)
    result = dagger(network, training, driving, origin, out, STDERR.print, on_epoch)
    if json:
        print_json({"checkpoint": str(out / "qat.safetensors"), **result.metrics})
    else:
        print_table(f"checkpoint {out / 'qat.safetensors'}", result.metrics["validation"])
    return 0
