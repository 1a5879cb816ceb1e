"""``crnn-snn eye``."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro

from crnn_snn_ros.cli.output import STDERR, print_json, print_table
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.training.config import EyeConfig, NetworkConfig, SightConfig, SizeConfig


def eye_verb(
    out: Path = Path("out/eye.safetensors"),
    bits: int = 3,
    start: Annotated[Path | None, tyro.conf.arg(name="from")] = None,
    album: Path | None = None,
    sight: Annotated[SightConfig, tyro.conf.arg(name="")] = SightConfig(),  # noqa: B008
    size: Annotated[SizeConfig, tyro.conf.arg(name="")] = SizeConfig(),  # noqa: B008
    teaching: Annotated[EyeConfig, tyro.conf.arg(name="")] = EyeConfig(),  # noqa: B008
    json: bool = False,
) -> int:
    """Teach a network to see, before it learns to drive: by glimpses of random courses.

    Glimpses are a few frames from anywhere, each in a look of its own. What the convolutions hand
    on is to tell how far the robot could go at every bearing until it touches something.
    A run that was cut off goes on where it was when the same command is given again.
    With --on-integers the eye learns on the integers of the conversion, so that nothing is left to
    be quantized; best from one that was taught without (--from).

    Example: crnn-snn eye --out out/eye.safetensors --processes 2

    Args:
        out: The checkpoint, for the option --eye of dagger.
        bits: Activation bits of an eye on integers: a layer counts to 2^bits - 1 spikes.
        start: Checkpoint whose eye to go on from.
        album: Folder in which glimpses are kept: a later run with it does not take them again.
            Empty it when the simulator has changed.
        sight: What the network sees beside the colours.
        size: Layers, and how wide they are.
        teaching: How much is seen, and how it is learned.
        json: One JSON object on stdout.
    """
    import torch

    try:
        from crnn_snn_ros.sim.suites import RATE_HZ
        from crnn_snn_ros.training.eye import teach
    except ImportError as error:
        raise ConfigError(f"{error}; pip install 'crnn_snn_ros[sim]'") from None
    from crnn_snn_ros.io.preprocess import InputContract
    from crnn_snn_ros.training.checkpoint import Checkpoint, Origin, beginnings, load, save
    from crnn_snn_ros.training.network import Crnn

    torch.set_num_threads(teaching.threads)
    torch.manual_seed(teaching.seed)
    contract = InputContract(colour="rgb", **asdict(sight))
    shape = contract.channels, contract.height, contract.width
    network = Crnn(NetworkConfig(shape, bits=bits, **asdict(size)))
    begun = None if start is None else load(start)
    if begun is not None:
        network.take_eye(begun.network)
    provenance = {
        "command": shlex.join(["crnn-snn", *sys.argv[1:]]),
        "data": {"source": "crnn_snn_ros simulator", "licence": "Apache-2.0"},
        "training": asdict(teaching),
        "torch": torch.__version__,
        **beginnings(begun),
    }

    origin = Origin(contract, RATE_HZ, provenance)
    found: dict[str, float] = {}

    def on_progress(step: int, loss: float, taught: Crnn, errors: dict[str, float]) -> None:
        found.update(errors)
        save(out, Checkpoint(taught, origin, (), {"eye": {"steps": step, **errors}}))
        told = ", ".join(f"{name} {value:.4f}" for name, value in errors.items())
        STDERR.print(f"step {step}/{teaching.steps}: loss {loss:.4f}, on other courses {told}")

    out.parent.mkdir(parents=True, exist_ok=True)
    state = out.with_suffix(".state.safetensors")
    teach(network, teaching, contract, RATE_HZ, state, on_progress, album)
    if json:
        print_json({"checkpoint": str(out), **found})
    else:
        print_table(f"checkpoint {out}", found)
    return 0
