"""A sequence task without a camera: laser scans to steering and collision.

scan -> dense - IndRNN (signed) - two heads

Learned from the simulator's scans (the teacher's drives, as for the camera) and judged on courses
it has not seen. Recorded bags, where given, show that scans of a real robot are converted likewise:
the yaw rate that was commanded is asked there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.study import drives, levels, runs
from benchmarks.study.drives import FEW, REACH_M, Courses
from benchmarks.study.figures import Line, Panel, draw
from benchmarks.study.learn import Plan, fit, windows
from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.core.graph import INPUT
from crnn_snn_ros.data.bags import read_messages
from crnn_snn_ros.data.dataset import Sequence as Drive
from crnn_snn_ros.data.messages import LASER_SCAN
from crnn_snn_ros.pipeline import COLLISION, STEERING
from crnn_snn_ros.training.convert.fold import fold_bn
from crnn_snn_ros.training.layers import HeadLayer, LinearBranch, NeuronLayer
from crnn_snn_ros.training.network import HEADS, MOST_MEMORY, Network

TWIST = "geometry_msgs/msg/Twist"
BEAMS = 60  # of a full circle that was recorded, the nearest range in each


class Size(NamedTuple):
    """What is measured."""

    bags: tuple[Path, ...] = ()
    courses: Courses = FEW
    hidden: tuple[int, int] = (48, 32)  # dense and recurrent neurons
    bits: tuple[int, ...] = (3,)
    seeds: int = 3
    plan: Plan = Plan(800, 5e-3, 32, 24)  # in float
    on_integers: Plan = Plan(300, 1e-3, 32, 24)
    spiking: int = 100  # frames of each test course that run as spikes
    shown: int = 250  # frames in the picture
    test: float = 0.3  # the last part of every bag


TINY = Size(
    courses=Courses(1, 1, 1), hidden=(6, 5), bits=(2,), seeds=1, plan=Plan(4, 5e-3, 2, 8),
    on_integers=Plan(2, 1e-3, 2, 8), spiking=6, shown=20,
)  # fmt: skip


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


def network(hidden: tuple[int, int], bits: int, beams: int) -> Network:
    """Untrained, in float."""
    dense, recurrent = hidden
    n_max = 2**bits - 1
    memory = MOST_MEMORY * torch.rand(recurrent)
    first = LinearBranch(INPUT, nn.init.kaiming_normal_(torch.empty(dense, beams)))
    weight = nn.init.xavier_uniform_(torch.empty(recurrent, dense))
    second = LinearBranch("dense", weight, 0.5 * (1.0 - memory))
    nodes: dict[str, nn.Module] = {
        "dense": NeuronLayer([first], dense, n_max),
        "rnn1": NeuronLayer([second], recurrent, n_max, signed=True, recurrent=memory),
    }
    heads = {name: HeadLayer("rnn1", recurrent, kind) for name, kind in HEADS.items()}
    return Network((1, 1, beams), nodes | heads)


def train(size: Size, bits: int, seed: int, seen: Sequence[Drive]) -> tuple[Network, Network]:
    """The float network, and the one on integers that was made of it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = network(size.hidden, bits, seen[0].frames.shape[-1])
    random = np.random.default_rng(seed)
    fit(net, seen, size.plan, random)
    integer = fold_bn(net)
    integer.calibrate(windows(seen, size.plan, random)[0])
    integer.quantized = True
    fit(integer, seen, size.on_integers, random)
    return net, integer


def measure(size: Size, seed: int, device: str, out: Path) -> dict[str, Any]:
    """Train, convert and run on the simulator's scans, and on the bags' where there are any.

    Raises:
        DataError: a bag cannot be used.
    """
    drives.record(out / "drives_few", size.courses)
    seen, test = (drives.scans(out / "drives_few", split) for split in ("train", "test"))
    found = {
        "scans": sum(map(len, seen)), "tested": sum(map(len, test)), "courses": len(test),
        "hidden": size.hidden, "steps": [size.plan.steps, size.on_integers.steps],
        "beams": seen[0].frames.shape[-1], "spiking": size.spiking,
        "constant": runs.constant(runs.labels(seen), runs.labels(test)), "rows": [],
    }  # fmt: skip
    for bits in size.bits:
        for number in range(size.seeds):
            both = train(size, bits, seed + number, seen)
            about = {"bits": bits, "seed": seed + number}
            found["rows"].append(about | _row(both, test, size, device))
    told = runs.in_training(both[1], test[:1])[STEERING]
    found["shown"] = {
        "network": told[: size.shown].tolist(),
        "teacher": test[0].steering_rad[: size.shown].tolist(),
    }
    return found | ({"recorded": _recorded(size, seed, device)} if size.bags else {})


def _row(
    both: tuple[Network, Network], test: Sequence[Drive], size: Size, device: str
) -> dict[str, Any]:
    truth = runs.labels(test)
    plain, integer = (runs.figures(runs.in_training(net, test), truth) for net in both)
    frames = min(size.spiking, *(len(drive) for drive in test))
    streams = torch.from_numpy(np.stack([drive.frames[:frames] for drive in test]))
    return {"float": plain, "qann": integer} | levels.measured(both[1], streams, device)


def _recorded(size: Size, seed: int, device: str) -> dict[str, Any]:
    bags = [read(bag) for bag in size.bags]
    ends = [int(len(drive) * (1.0 - size.test)) for drive in bags]
    before = [_part(drive, 0, end) for drive, end in zip(bags, ends, strict=True)]
    after = [_part(drive, end, len(drive)) for drive, end in zip(bags, ends, strict=True)]
    truth = runs.labels(after)[STEERING]
    mean = float(runs.labels(before)[STEERING].mean())
    both = train(size, size.bits[-1], seed, before)
    found = levels.measured(both[1], torch.from_numpy(bags[0].frames)[None], device)
    return found | {
        "bags": [drive.name for drive in bags], "bits": size.bits[-1],
        "scans": [len(drive) for drive in before], "tested": [len(drive) for drive in after],
        "constant": _rmse(np.full_like(truth, mean), truth),
        "qann": _rmse(runs.in_training(both[1], after)[STEERING], truth),
    }  # fmt: skip


def _part(drive: Drive, start: int, end: int) -> Drive:
    part = slice(start, end)
    return Drive(drive.name, drive.frames[part], drive.stamps_ns[part],
                 drive.steering_rad[part], drive.collision[part])  # fmt: skip


def _rmse(told: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean((told - truth) ** 2)))


def section(found: dict[str, Any]) -> str:
    """Its part of the page."""
    constant, rows = found["constant"], found["rows"]
    lines = "\n".join(_line(row) for row in rows)
    better = sum(
        row["qann"][STEERING] < constant[STEERING] and row["qann"][COLLISION] < constant[COLLISION]
        for row in rows
    )
    return f"""## Laser scans, no camera

The teacher's drives in the simulator as a laser scanner sees them: {found["beams"]} ranges ahead,
dense {found["hidden"][0]} and signed IndRNN {found["hidden"][1]}, {found["scans"]:,} scans to learn
from ({found["steps"][0]} steps in float, {found["steps"][1]} on integers), {found["tested"]:,} of
{found["courses"]} other courses to test on. **{better} of {len(rows)} networks are better than the
constant in both figures.** The first {found["spiking"]} scans of every test course run as spikes:
{levels.exactness(rows)}.

| bits | seed | steering RMSE, rad: float | QANN = SNN | collision loss: float | QANN = SNN \
| steps, mean | max | bound | spikes a scan | ms a scan |
|---|---|---|---|---|---|---|---|---|---|---|
| constant: the means of drives | | {constant[STEERING]:.4f} | | {constant[COLLISION]:.4f} \
| | | | | | |
{lines}

{_real(found.get("recorded"))}

![steering over a test course](study_scans.svg)
"""


def _line(row: dict[str, Any]) -> str:
    figures = [
        f"{row[net][head]:.4f}" for head in (STEERING, COLLISION) for net in ("float", "qann")
    ]
    start = f"| {row['bits']} | {row['seed']} | {' | '.join(figures)} |"
    if "refused" in row:
        return f"{start} refused: {row['refused']} | | | | |"
    return (
        f"{start} {row['mean']:.1f} | {row['max']} | {row['bound']} | {row['spikes']:.0f} "
        f"| {row['ms']:.2f} |"
    )


def _real(found: dict[str, Any] | None) -> str:
    if found is None:
        return "No recorded bags were given (`--scan-bags`), so nothing is said of them."
    bags = " and ".join(f"`{name}`" for name in found["bags"])
    spiking = levels.exactness([found])
    learned = "better" if found["qann"] < found["constant"] else "**no better**"
    return f"""Recorded scans, the bags {bags} (`full_bag_nav` and `test_bag` are of a TurtleBot,
from github philipsltd/ros2_selfdriving, Apache-2.0), to the yaw rate that was commanded: the same
network, {found["bits"]} bits, trained on the first {sum(found["scans"])}.
The whole of the first bag as spikes: {spiking}. On the last {sum(found["tested"])} scans its error
is {found["qann"]:.3f} rad/s (RMSE), {learned} than the mean of what was learned from
({found["constant"]:.3f}): with so few scans what is shown is that a real scanner's data converts
exactly, not that a robot is driven by it."""


def picture(found: dict[str, Any], folder: Path) -> None:
    """What the last network steers beside the teacher, over the beginning of a course."""
    shown = found["shown"]
    seconds = [n / drives.RATE_HZ for n in range(len(shown["teacher"]))]
    lines = [Line(name, seconds, shown[name]) for name in ("teacher", "network")]
    draw(
        folder / "study_scans.svg",
        [Panel("Steering by laser scans alone, on a test course", "s", "rad", lines)],
    )
