"""Levels and scales on S-MNIST, pixel by pixel: 784 steps, from the network that was trained.

``benchmarks/sequential_mnist`` trains it, at one number of bits; its float weights are put on other
grids here and trained there for a short time. Unsigned neurons would be another network.
"""

from __future__ import annotations

import copy
import json
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.command import kept
from benchmarks.sequential_mnist.data import Sequences, frames, load
from benchmarks.sequential_mnist.forms import calibrated, predict, quantize
from benchmarks.sequential_mnist.learner import Learner
from benchmarks.sequential_mnist.model import Size as NetworkSize
from benchmarks.sequential_mnist.run import plan_of, size_of
from benchmarks.sequential_mnist.train import CALIBRATION, STATE, Training
from benchmarks.study import levels
from benchmarks.study.levels import Setting
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.training.layers import NeuronLayer
from crnn_snn_ros.training.loop import rate_factor
from crnn_snn_ros.training.network import Network

CASE = "s_conv"
TRAINED = Path(__file__).parents[1] / "sequential_mnist" / "state"


class Size(NamedTuple):
    """What is measured."""

    mnist: Path | None = None  # folder of its four files
    trained: Path = TRAINED  # folder of the states of trainings
    bits: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8)
    steps: int = 50  # of training on integers, of PLAN.batch pictures each
    tested: int = 2000  # pictures
    spiking: int = 2  # of them run as spikes


TINY = Size(bits=(2, 3), steps=2, tested=4, spiking=1)
PLAN = plan_of(CASE)


def measure(size: Size, seed: int, device: str, out: Path) -> dict[str, Any]:
    """Put the trained network on every grid, train it there, convert and run it.

    Raises:
        ConfigError: no folder of MNIST was given, or there is no trained network.
        DataError: it does not hold MNIST.
    """
    if size.mnist is None:
        raise ConfigError("part pixels needs --mnist FOLDER, with the four files of MNIST")
    if not (size.trained / CASE / STATE).exists():
        raise ConfigError(f"no trained network in {size.trained / CASE}: sequential_mnist makes it")
    train, test = (load(size.mnist, part, permuted=False) for part in ("train", "test"))
    test = Sequences(*(part[: size.tested] for part in test))
    network_size = size_of(CASE)
    training = Training(size.trained / CASE, train, network_size, PLAN, 0, torch.device(device))
    original, _ = training.trained()
    rows = []
    for bits in size.bits:
        for per_layer in (False, True):
            setting = Setting(bits, True, per_layer)
            path = out / "pixels" / f"{bits}_{per_layer}.json"
            row = partial(_row, setting, original, network_size, size, seed, device, train, test)
            rows.append(kept(path, row))
    return {
        "tested": len(test.digits), "hidden": network_size.hidden, "steps": size.steps,
        "batch": PLAN.batch, "spiking": size.spiking, "trained_bits": network_size.bits,
        "float": _right(original, network_size, test), "rows": rows,
    }  # fmt: skip


def _row(
    setting: Setting,
    original: Network,
    network_size: NetworkSize,
    size: Size,
    seed: int,
    device: str,
    train: Sequences,
    test: Sequences,
) -> str:
    real = on_grid(original, setting.bits)
    integer = quantize(calibrated(real, network_size, train.pixels[:CALIBRATION]))
    if setting.per_layer:
        integer = levels.one_threshold(integer)
    untrained = _right(integer, network_size, test)
    random = torch.Generator().manual_seed(seed)
    learner = Learner(integer, PLAN.quantized_rate, PLAN.decay, PLAN.longest_growth)
    for step in range(size.steps):
        some = torch.randint(len(train.digits), (PLAN.batch,), generator=random)
        pixels, digits = (part[some].to(device) for part in train)
        learner.learn(pixels, digits, network_size.window, rate_factor(step, size.steps))
    integer.eval()
    seen = frames(test.pixels[: size.spiking], network_size.window)
    found = levels.measured(integer, seen, device)
    figures = {"untrained": untrained, "qann": _right(integer, network_size, test)}
    return json.dumps(setting._asdict() | found | figures)


def on_grid(network: Network, bits: int) -> Network:
    """A copy whose activations are rounded to as many levels as bits allow."""
    network = copy.deepcopy(network)
    for _, layer in network.layers():
        if isinstance(layer, NeuronLayer):
            layer.n_max = 2**bits - 1
            layer.n_min = -layer.n_max if layer.n_min < 0 else 0
            layer.scale.data.fill_(1.0 / layer.n_max)
    return network


def _right(network: Network, size: NetworkSize, test: Sequences) -> float:
    return float((predict(network, size, test.pixels) == test.digits).float().mean())


def section(found: dict[str, Any]) -> str:
    """Its part of the page."""
    rows = found["rows"]
    figures = {
        "calibrated, %": lambda row: f"{100 * row['untrained']:.2f}",
        "trained: QANN = SNN, %": lambda row: f"{100 * row['qann']:.2f}",
    }
    return f"""## Levels and scales: S-MNIST, pixel by pixel

The network of [sequential_mnist](sequential_mnist.md) (convolution and IndRNN
{" - ".join(map(str, found["hidden"]))}, signed; trained with activations of
{found["trained_bits"]} bits, {100 * found["float"]:.2f} % of the pictures below), its weights on
other grids: batch norms calibrated, then {found["steps"]} steps of {found["batch"]} pictures of
training on integers, one seed. A state is rounded 784 times, so that few levels lose a long memory.
So short a training is no repair of that, and no gain where calibration alone was nearly enough: the
two columns. Accuracy on {found["tested"]:,} test pictures in
training's arithmetic, which is the QANN's; {found["spiking"]} of them, a frame a pixel, run as
spikes: {levels.exactness(rows)}.
{levels.timing(rows)}

{levels.table(rows, figures)}

![accuracy, settling and spikes against bits](study_pixels.svg)
"""


def picture(found: dict[str, Any], folder: Path) -> None:
    """See ``levels.picture``."""
    rows = [row | {"error": 100.0 * (1.0 - row["qann"])} for row in found["rows"]]
    path = folder / "study_pixels.svg"
    levels.picture(path, rows, "Error, S-MNIST by pixels", "% of the test pictures", "error")
