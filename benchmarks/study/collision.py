"""Levels and scales on the collision task: a shipped float network, put on other grids.

For every setting its activations are calibrated on drives of the teacher, then all of it learns on
its integers for a few steps. It was trained signed; unsigned, its memory must be learned anew.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.command import kept
from benchmarks.study import levels, runs
from benchmarks.study.drives import FEW, Courses, pictures, record
from benchmarks.study.encodings import MODELS, first
from benchmarks.study.learn import Plan, fit, windows
from benchmarks.study.levels import Setting
from crnn_snn_ros.data.dataset import Sequence as Drive
from crnn_snn_ros.pipeline import COLLISION, STEERING
from crnn_snn_ros.training.checkpoint import load
from crnn_snn_ros.training.convert.fold import fold_bn
from crnn_snn_ros.training.network import Crnn, Network


class Size(NamedTuple):
    """What is measured."""

    courses: Courses = FEW
    bits: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8)  # signed, per channel
    others: tuple[int, ...] = (1, 2, 3, 4, 6, 8)  # unsigned; per layer
    plan: Plan = Plan(12, 5e-4)  # on integers
    frames: int = 100  # of each test course, from its beginning
    spiking: int = 10  # of them, of two courses, that run as spikes


TINY = Size(Courses(1, 1, 1), (1, 3), (3,), Plan(2, 5e-4, 2, 4), 8, 2)


def measure(size: Size, seed: int, device: str, out: Path) -> dict[str, Any]:
    """Calibrate, train, convert and run every setting."""
    record(out / "drives_few", size.courses)
    train = pictures(out / "drives_few", "train")
    test = [first(drive, size.frames) for drive in pictures(out / "drives_few", "test")]
    original = load(MODELS / "small_float.safetensors").network
    truth = runs.labels(test)
    rows = []
    for setting in levels.settings(size.bits, size.others):
        path = out / "collision" / f"{setting.bits}_{setting.signed}_{setting.per_layer}.json"
        rows.append(kept(path, partial(_row, setting, size, seed, device, original, train, test)))
    return {
        "courses": len(test), "frames": len(truth[STEERING]), "steps": size.plan.steps,
        "learned": size.plan.steps * size.plan.streams * size.plan.window,
        "spiking": 2 * size.spiking,
        "float": runs.figures(runs.in_training(original, test), truth),
        "constant": runs.constant(runs.labels(train), truth),
        "label entropy": runs.entropy(truth), "rows": rows,
    }  # fmt: skip


def _row(
    setting: Setting,
    size: Size,
    seed: int,
    device: str,
    original: Crnn,
    train: Sequence[Drive],
    test: Sequence[Drive],
) -> str:
    config = dataclasses.replace(
        original.config, bits=setting.bits, signed_hidden=setting.signed, layer_bits=()
    )
    net = Crnn(config)
    net.take_over(original)
    random = np.random.default_rng(seed)
    net.eval().calibrate(windows(train, size.plan, random)[0])
    integer: Network = fold_bn(levels.one_threshold(net) if setting.per_layer else net)
    integer.quantized = True
    before = runs.figures(runs.in_training(integer, test), runs.labels(test))
    fit(integer, train, size.plan, random)
    figures = runs.figures(runs.in_training(integer, test), runs.labels(test))
    streams = torch.from_numpy(np.stack([drive.frames[: size.spiking] for drive in test[:2]]))
    found = levels.measured(integer, streams, device)
    return json.dumps(setting._asdict() | found | figures | {"calibrated": before})


def section(found: dict[str, Any]) -> str:
    """Its part of the page."""
    figures = {
        "collision loss: calibrated": lambda row: f"{row['calibrated'][COLLISION]:.4f}",
        "trained": lambda row: f"{row[COLLISION]:.4f}",
        "steering RMSE, rad: calibrated": lambda row: f"{row['calibrated'][STEERING]:.4f}",
        "trained ": lambda row: f"{row[STEERING]:.4f}",
    }
    plain, constant = found["float"], found["constant"]
    return f"""## Levels and scales: the collision task

The shipped `small_float.safetensors` on {found["frames"]} frames of {found["courses"]} courses
(suite movers, the teacher drives), put on each grid: calibrated, then trained on integers for
{found["steps"]} steps, {found["learned"]:,} frames of the teacher's drives, one seed. **Far short
of what `small.snn` was trained**, and started from signed weights: the unsigned
rows say what is lost without time to learn it anew, not what unsigned neurons can do. Where so few
steps made a network worse than its calibration, that is printed too. In float: collision loss
{plain[COLLISION]:.4f}, steering {plain[STEERING]:.4f} rad; the means of other drives, whatever is
seen: {constant[COLLISION]:.4f} and {constant[STEERING]:.4f} rad. {found["spiking"]} frames run as
spikes: {levels.exactness(found["rows"])}. {levels.timing(found["rows"])}

{levels.table(found["rows"], figures)}

![collision loss, settling and spikes against bits](study_collision.svg)
"""


def picture(found: dict[str, Any], folder: Path) -> None:
    """See ``levels.picture``."""
    path = folder / "study_collision.svg"
    rows = [row | {"loss": row["calibrated"][COLLISION]} for row in found["rows"]]
    levels.picture(path, rows, "Collision loss, calibrated", "cross entropy", "loss", "log")
