"""A sequence task without a camera: recorded laser scans to the yaw rate that was commanded.

/scan -> nearest range of every few rays -> dense - IndRNN (signed) - head -> rad/s

Trained here (float, then on integers), converted and verified as any network; further, at every
number of levels, signed and unsigned, with a threshold per channel and one per layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.study import runs
from benchmarks.study.figures import Line, Panel, draw
from crnn_snn_ros.core.bounds import prove
from crnn_snn_ros.core.engines import make_engine
from crnn_snn_ros.core.errors import ConfigError, ConversionError, DataError
from crnn_snn_ros.core.graph import INPUT
from crnn_snn_ros.core.verify import verify
from crnn_snn_ros.data.bags import read_messages
from crnn_snn_ros.data.dataset import Sequence as Drive
from crnn_snn_ros.data.messages import LASER_SCAN
from crnn_snn_ros.pipeline import STEERING
from crnn_snn_ros.training.convert import convert
from crnn_snn_ros.training.convert.fold import fold_bn
from crnn_snn_ros.training.layers import HeadLayer, LinearBranch, NeuronLayer, Scales
from crnn_snn_ros.training.network import HEADS, MOST_MEMORY, Network

TWIST = "geometry_msgs/msg/Twist"
REACH_M = 5.0
BEAMS = 60  # of a full circle, the nearest range in each


class Size(NamedTuple):
    """What is measured."""

    bags: tuple[Path, ...] = ()
    hidden: tuple[int, int] = (48, 32)  # dense and recurrent neurons
    steps: int = 150  # of float training, and as many on integers
    window: int = 16  # scans of back-propagation through time
    bits: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8)
    test: float = 0.3  # the last part of every bag


TINY = Size(hidden=(6, 5), steps=4, bits=(2, 8))


class LayerThreshold(NeuronLayer):
    """One threshold for all neurons of the layer: the least of those that they could have."""

    def threshold_limit(self, scales: Scales) -> Tensor:
        """See ``NeuronLayer``."""
        limit = super().threshold_limit(scales)
        return limit.amin().expand_as(limit)


def read(bag: Path) -> Drive:
    """Scans with the last yaw rate that was commanded before each, by the bag's own clock.

    Raises:
        DataError: the bag cannot be read, or lacks a topic, or nothing was commanded before a scan.
    """
    commands = list(read_messages(bag, "/cmd_vel", (TWIST,)))
    at = np.array([message.received_ns for message in commands])
    rates = np.array([message.content.angular.z for message in commands], np.float32)
    scans = list(read_messages(bag, "/scan", (LASER_SCAN,)))
    stamps = np.array([message.received_ns for message in scans])
    frames = np.stack([to_input(np.asarray(message.content.ranges)) for message in scans])
    before = np.searchsorted(at, stamps, side="right") - 1
    known = before >= 0
    if not known.any():
        raise DataError(f"bag {bag}: no command before any scan")
    silent = np.full(int(known.sum()), np.nan, np.float32)
    return Drive(bag.name, frames[known], stamps[known], rates[before[known]], silent)


def to_input(ranges_m: NDArray[np.float32]) -> NDArray[np.int8]:
    """Nearest range of every few rays: int8 (1, 1, BEAMS), 127 at ``REACH_M`` and beyond.

    Zero is how many drivers write "nothing seen"; so are NaN and infinity.
    """
    seen = np.where(np.isfinite(ranges_m) & (ranges_m > 0.0), ranges_m, REACH_M)
    nearest = np.array([part.min() for part in np.array_split(seen, BEAMS)])
    return (np.floor(np.clip(nearest / REACH_M, 0, 1) * 255 + 0.5) - 128).astype(np.int8)[
        None, None
    ]


def network(size: Size, bits: int, signed: bool, layer: type[NeuronLayer]) -> Network:
    """Untrained, in float."""
    dense, hidden = size.hidden
    n_max = 2**bits - 1
    recurrent = MOST_MEMORY * torch.rand(hidden)
    first = LinearBranch(INPUT, nn.init.kaiming_normal_(torch.empty(dense, BEAMS)))
    weight = nn.init.xavier_uniform_(torch.empty(hidden, dense))
    second = LinearBranch("dense", weight, 0.5 * (1.0 - recurrent))
    nodes: dict[str, nn.Module] = {
        "dense": layer([first], dense, n_max),
        "rnn1": layer([second], hidden, n_max, signed=signed, recurrent=recurrent),
    }
    heads = {name: HeadLayer("rnn1", hidden, kind) for name, kind in HEADS.items()}
    return Network((1, 1, BEAMS), nodes | heads)


def train(net: Network, drives: Sequence[Drive], size: Size) -> tuple[Network, Network]:
    """The float network, and the one on integers that was made of it."""
    pixels, truth = _windows(drives, size.window)
    _fit(net, pixels, truth, size.steps, 5e-3)
    integer = fold_bn(net.eval())
    integer.calibrate(pixels)
    integer.quantized = True
    _fit(integer, pixels, truth, size.steps, 1e-3)
    return net, integer.eval()


def _windows(drives: Sequence[Drive], window: int) -> tuple[Tensor, Tensor]:
    pixels, truth = [], []
    for drive in drives:
        for start in range(0, len(drive) - window + 1, window // 2):
            pixels.append(drive.frames[start : start + window])
            truth.append(drive.steering_rad[start : start + window])
    return torch.from_numpy(np.stack(pixels)).float(), torch.from_numpy(np.stack(truth))


def _fit(net: Network, pixels: Tensor, truth: Tensor, steps: int, rate: float) -> None:
    optimizer = torch.optim.AdamW(net.parameters(), rate, weight_decay=1e-3)
    net.train()
    for _ in range(steps):
        loss = (net(pixels).heads[STEERING] - truth).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        net.clip_recurrent()


def measure(size: Size, seed: int, device: str, out: Path) -> dict[str, Any]:  # noqa: ARG001
    """Train, convert and verify at every setting.

    Raises:
        ConfigError: no bag was given.
        DataError: a bag cannot be used.
    """
    if not size.bags:
        raise ConfigError("part scans needs --scan-bags BAG..., with /scan and /cmd_vel")
    drives = [read(bag) for bag in size.bags]
    ends = [int(len(drive) * (1.0 - size.test)) for drive in drives]
    before = [_part(drive, 0, end) for drive, end in zip(drives, ends, strict=True)]
    after = [_part(drive, end, len(drive)) for drive, end in zip(drives, ends, strict=True)]
    settings = [(bits, signed, NeuronLayer) for bits in size.bits for signed in (True, False)]
    settings += [(bits, True, LayerThreshold) for bits in size.bits]
    rows = []
    for bits, signed, layer in settings:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            both = train(network(size, bits, signed, layer), before, size)
        about = {"bits": bits, "signed": signed, "per layer": layer is LayerThreshold}
        rows.append(about | _row(both, after, device))
    truth = runs.labels(after)[STEERING]
    mean = float(runs.labels(before)[STEERING].mean())
    return {
        "scans": [len(drive) for drive in before], "tested": [len(drive) for drive in after],
        "bags": [drive.name for drive in drives],
        "constant": _rmse(np.full_like(truth, mean), truth),
        "steps": size.steps, "hidden": size.hidden, "rows": rows,
    }  # fmt: skip


def _part(drive: Drive, start: int, end: int) -> Drive:
    part = slice(start, end)
    return Drive(drive.name, drive.frames[part], drive.stamps_ns[part],
                 drive.steering_rad[part], drive.collision[part])  # fmt: skip


def _rmse(told: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean((told - truth) ** 2)))


def _row(both: tuple[Network, Network], drives: list[Drive], device: str) -> dict[str, Any]:
    truth = runs.labels(drives)[STEERING]
    plain, integer = (runs.in_training(net, drives)[STEERING] for net in both)
    found: dict[str, Any] = {"float": _rmse(plain, truth), "qann": _rmse(integer, truth)}
    try:
        graph = convert(both[1]).graph
    except ConversionError as error:
        return found | {"refused": str(error)}
    engine = make_engine("folded", graph, device)
    report = verify(graph, {"folded": engine}, [f for drive in drives for f in drive.frames])
    told = runs.spiking(make_engine("auto", graph, device), drives)
    return found | {
        "snn": _rmse(told.heads[STEERING], truth),
        "unequal": runs.unequal(told.heads, runs.reference(graph, drives)),
        "verified": report.activations, "max_abs_diff": report.max_abs_diff,
        "exact": report.first_difference is None,
        "mean": float(told.steps.mean()), "max": int(told.steps.max()),
        "bound": prove(graph).settling_steps, "spikes": float(told.spikes.mean()),
    }  # fmt: skip


def section(found: dict[str, Any]) -> str:
    """Its part of the page."""
    lines = "\n".join(_line(row) for row in found["rows"])
    bags = ", ".join(f"`{name}`" for name in found["bags"])
    better = sum(row.get("snn", np.inf) < found["constant"] for row in found["rows"])
    return f"""## Laser scans, no camera; levels and thresholds

Bags {bags} of a TurtleBot (/scan, /cmd_vel): {sum(found["scans"])} scans to learn from, the last
{sum(found["tested"])} to test on; {BEAMS} beams, dense {found["hidden"][0]} and IndRNN
{found["hidden"][1]}, {found["steps"]} steps of float training and as many on integers, one seed.
Asked is the yaw rate commanded at the time; whoever always says the mean of the training part is
off by {found["constant"]:.4f} rad/s (RMSE); **{better} of {len(found["rows"])} settings do better
than that**. With so few scans what is shown is that conversion is exact without a camera, not
that the task is learned, and one seed ranks no setting by its error. Settling and spikes are those
of the networks as they came out.

| bits | hidden | threshold | float RMSE | SNN RMSE | heads unequal | integers verified, differing \
| steps, mean | max | bound | spikes a scan |
|---|---|---|---|---|---|---|---|---|---|---|
{lines}

![error and settling against levels](study_scans.svg)
"""


def _line(row: dict[str, Any]) -> str:
    start = (
        f"| {row['bits']} | {'signed' if row['signed'] else 'unsigned'} "
        f"| {'layer' if row['per layer'] else 'channel'} | {row['float']:.4f} |"
    )
    if "refused" in row:
        return f"{start} refused: {row['refused']} | | | | | | |"
    differing = "0" if row["exact"] else "**SOME**"
    return (
        f"{start} {row['snn']:.4f} | {row['unequal']} | {row['verified']:,}, {differing} "
        f"| {row['mean']:.1f} | {row['max']} | {row['bound']} | {row['spikes']:.0f} |"
    )


def picture(found: dict[str, Any], folder: Path) -> None:
    """Error and settling against bits, a line a setting."""
    kinds = {"signed": (True, False), "unsigned": (False, False), "one threshold": (True, True)}
    error, steps = [], []
    for name, kind in kinds.items():
        rows = [r for r in found["rows"] if (r["signed"], r["per layer"]) == kind and "snn" in r]
        bits = [row["bits"] for row in rows]
        error.append(Line(name, bits, [row["snn"] for row in rows], "-", "o"))
        steps.append(Line(name, bits, [row["mean"] for row in rows], "-", "o"))
    draw(
        folder / "study_scans.svg",
        [
            Panel("Error on the test part", "bits", "RMSE, rad/s", error),
            Panel("Settling", "bits", "mean time-steps", steps, "linear", "log"),
        ],
    )
