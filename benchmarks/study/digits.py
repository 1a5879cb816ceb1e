"""Levels and scales on S-MNIST, row by row: 28 steps of one row of 28 pixels.

row -> IndRNN - IndRNN - ten accumulators, read after the last row

Every setting is trained from the beginning, in float and then on integers, for a short time. Pixel
by pixel, 784 steps, so many trainings would take hours: ``benchmarks/sequential_mnist`` does that,
at one setting.
"""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.command import kept
from benchmarks.sequential_mnist.data import load
from benchmarks.study import levels
from benchmarks.study.levels import Setting
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.graph import INPUT
from crnn_snn_ros.training.convert.fold import fold_bn
from crnn_snn_ros.training.layers import HeadLayer, LinearBranch, NeuronLayer
from crnn_snn_ros.training.loop import rate_factor
from crnn_snn_ros.training.network import Network

HEAD, DIGITS = "digit", 10
BATCH = 64


class Size(NamedTuple):
    """What is measured."""

    mnist: Path | None = None  # folder of its four files
    bits: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8)
    hidden: tuple[int, ...] = (64, 64)
    steps: int = 500  # of float training
    integer_steps: int = 150
    spiking: int = 50  # test pictures that run as spikes
    calibration: int = 256  # pictures


TINY = Size(bits=(2, 3), hidden=(8, 6), steps=3, integer_steps=2, spiking=2, calibration=8)


class Rows(NamedTuple):
    """Pictures, row by row."""

    frames: Tensor  # int8 (N, T, 1, 1, width)
    digits: Tensor  # int64 (N,)


def measure(size: Size, seed: int, device: str, out: Path) -> dict[str, Any]:
    """Train, convert and run every setting.

    Raises:
        ConfigError: no folder was given.
        DataError: it does not hold MNIST.
    """
    if size.mnist is None:
        raise ConfigError("part digits needs --mnist FOLDER, with the four files of MNIST")
    train, test = (_rows(size.mnist, part) for part in ("train", "test"))
    rows = []
    for setting in levels.settings(size.bits, size.bits):
        path = out / "digits" / f"{setting.bits}_{setting.signed}_{setting.per_layer}.json"
        rows.append(kept(path, partial(_row, setting, size, seed, device, train, test)))
    return {
        "pictures": len(train.digits), "tested": len(test.digits), "hidden": size.hidden,
        "steps": size.steps, "integer_steps": size.integer_steps, "spiking": size.spiking,
        "rows": rows,
    }  # fmt: skip


def _rows(folder: Path, part: str) -> Rows:
    pictures = load(folder, part, permuted=False)
    width = math.isqrt(pictures.pixels.shape[1])
    return Rows(pictures.pixels.reshape(len(pictures.digits), -1, 1, 1, width), pictures.digits)


def _row(setting: Setting, size: Size, seed: int, device: str, train: Rows, test: Rows) -> str:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = network(setting, size, train.frames.shape[1], train.frames.shape[-1])
        _fit(net, train, size.steps, 3e-3)
        integer = fold_bn(net.eval())
        integer.calibrate(train.frames[: size.calibration])
        integer.quantized = True
        _fit(integer, train, size.integer_steps, 5e-4)
    found = levels.measured(integer.eval(), test.frames[: size.spiking], device)
    return json.dumps(
        setting._asdict() | found | {"float": accuracy(net, test), "qann": accuracy(integer, test)}
    )


def network(setting: Setting, size: Size, steps: int, width: int) -> Network:
    """Untrained, in float."""
    layer = levels.LayerThreshold if setting.per_layer else NeuronLayer
    n_max = 2**setting.bits - 1
    nodes: dict[str, nn.Module] = {}
    source, inputs = INPUT, width
    for number, hidden in enumerate(size.hidden, start=1):
        recurrent = torch.exp(-(float(steps) ** -torch.rand(hidden)))  # memories of 1 to all steps
        weight = nn.init.xavier_uniform_(torch.empty(hidden, inputs))
        dense = LinearBranch(source, weight, 0.5 * (1.0 - recurrent.square()).sqrt())
        source, inputs = f"rnn{number}", hidden
        nodes[source] = layer([dense], hidden, n_max, signed=setting.signed, recurrent=recurrent)
    nodes[HEAD] = HeadLayer(source, inputs, "logit", DIGITS)
    return Network((1, 1, width), nodes)


def _fit(net: Network, data: Rows, steps: int, rate: float) -> None:
    optimizer = torch.optim.AdamW(net.parameters(), rate, weight_decay=1e-4)
    net.train()
    for step in range(steps):
        rows = torch.randint(len(data.digits), (BATCH,))
        told = net(data.frames[rows]).heads[HEAD][:, -1]
        loss = functional.cross_entropy(told, data.digits[rows])
        optimizer.param_groups[0]["lr"] = rate * rate_factor(step, steps)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        net.clip_recurrent()
    net.eval()


@torch.no_grad()
def accuracy(net: Network, data: Rows) -> float:
    """Share of pictures that are told right; of a quantized network, that of its conversion."""
    right = 0
    for frames, digits in zip(data.frames.split(500), data.digits.split(500), strict=True):
        right += int((net(frames).heads[HEAD][:, -1].argmax(dim=1) == digits).sum())
    return right / len(data.digits)


def section(found: dict[str, Any]) -> str:
    """Its part of the page."""
    rows = found["rows"]
    figures = {
        "float, %": lambda row: f"{100 * row['float']:.2f}",
        "QANN = SNN, %": lambda row: f"{100 * row['qann']:.2f}",
    }
    return f"""## Levels and scales: S-MNIST, row by row

A picture is **28 steps of a row of 28 pixels, not 784 of one**: pixel by pixel, so many trainings
would take hours. IndRNN {" - ".join(map(str, found["hidden"]))}, every setting trained from the
beginning, for a short time: {found["steps"]} steps of {BATCH} pictures in float and
{found["integer_steps"]} on integers, one seed. Signed and unsigned began from the same rate and
weights and are **not trained to their best**, signed less so. Accuracy on all
{found["tested"]:,} test pictures in training's arithmetic, which is the QANN's;
{found["spiking"]} of them, a frame a row, run as spikes: {levels.exactness(rows)}.
{levels.timing(rows)}

{levels.table(rows, figures)}

![accuracy, settling and spikes against bits](study_digits.svg)
"""


def picture(found: dict[str, Any], folder: Path) -> None:
    """See ``levels.picture``."""
    rows = [row | {"error": 100.0 * (1.0 - row["qann"])} for row in found["rows"]]
    path = folder / "study_digits.svg"
    levels.picture(path, rows, "Error, S-MNIST by rows", "% of the test pictures", "error")
