"""Long sequences: one stream of 100,000 frames whose state is never reset.

Every frame's counts and heads are compared with the int64 QANN, which carries its own state. Beside
it, why recurrent spikes come back in canonical form: with a recurrent weight of three thresholds,
the train of the frame before, replayed as it was, takes longer from frame to frame, without limit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.study.figures import Line, Panel, draw
from crnn_snn_ros.core import qann
from crnn_snn_ros.core.engines import ENCODINGS, make_engine
from crnn_snn_ros.core.engines.base import Engine
from crnn_snn_ros.core.faults import integers
from crnn_snn_ros.core.graph import Graph
from crnn_snn_ros.core.neuron import BifParams, begin_frame, canonical_spike, rbif_step, would_fire
from crnn_snn_ros.core.verify import random_video
from crnn_snn_ros.training.config import NetworkConfig
from crnn_snn_ros.training.convert import convert
from crnn_snn_ros.training.layers import HeadLayer, NeuronLayer
from crnn_snn_ros.training.network import Crnn
from crnn_snn_ros.training.random_network import quantized


class Size(NamedTuple):
    """What is measured."""

    frames: int = 100_000
    window: int = 1000  # frames of which one point of the curve is made
    network: NetworkConfig = NetworkConfig((1, 8, 12), 4, (6,), (12, 8))
    drift_frames: int = 200
    gain: int = 3  # recurrent weight in thresholds


TINY = Size(frames=64, window=16, drift_frames=40)
LEVELS, THRESHOLD = 3, 10  # of the drift


def network(config: NetworkConfig, seed: int) -> Crnn:
    """Weights are drawn; recurrent ones from -1 to 1, so that some forget nothing by themselves."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        drawn = Crnn(config)
        with torch.no_grad():
            for _, layer in drawn.layers():
                if isinstance(layer, NeuronLayer) and layer.recurrent is not None:
                    layer.recurrent.uniform_(-1.0, 1.0)
                elif isinstance(layer, HeadLayer):
                    layer.weight.normal_()
    return quantized(drawn.eval(), seed)


def measure(size: Size, seed: int, device: str, out: Path) -> dict[str, Any]:  # noqa: ARG001
    """Walk the stream; then the drift."""
    graph = convert(network(size.network, seed)).graph
    engines = {name: make_engine("auto", graph, device, name) for name in ENCODINGS}
    return {
        "frames": size.frames,
        "window": size.window,
        "bounds": {name: engine.bounds.settling_steps for name, engine in engines.items()},
        "engines": {name: engine.name for name, engine in engines.items()},
        **_walk(graph, engines, size, seed),
        "drift": _drift(size),
    }


def _walk(graph: Graph, engines: dict[str, Engine], size: Size, seed: int) -> dict[str, Any]:
    reference = qann.initial_carry(graph)
    carries = {name: engine.initial_carry() for name, engine in engines.items()}
    steps = {name: np.zeros(size.frames, np.int64) for name in engines}
    unequal, unsettled = dict.fromkeys(engines, 0), dict.fromkeys(engines, 0)
    compared = 0
    for number, pixels in enumerate(random_video(graph.input_shape, size.frames, seed)):
        want, reference = qann.run_frame(graph, pixels[None], reference)
        frame = torch.from_numpy(pixels[None])
        for name, engine in engines.items():
            result, carries[name] = engine.step(frame, carries[name])
            got = {**result.counts, **result.heads}
            unequal[name] += sum(
                int((integers(values) != (want.counts | want.heads)[node]).sum())
                for node, values in got.items()
            )
            unsettled[name] += not bool(result.settled[0])
            steps[name][number] = int(result.settle_steps[0])
        compared += sum(values.numel() for values in got.values())
    return {
        "unequal": unequal,
        "unsettled": unsettled,
        "compared": compared,
        "steps": {name: _windows(values, size.window) for name, values in steps.items()},
    }


def _windows(steps: np.ndarray, window: int) -> dict[str, list[float]]:
    rows = steps[: len(steps) // window * window].reshape(-1, window)
    return {"mean": rows.mean(axis=1).tolist(), "max": rows.max(axis=1).tolist()}


def _drift(size: Size) -> dict[str, Any]:
    """One neuron in [0, L] that is charged with L and 3 L thresholds in turns."""
    params = BifParams(torch.tensor(float(THRESHOLD)), 0, LEVELS)
    charges = [torch.tensor([float(THRESHOLD * k)]) for k in (LEVELS, 3 * LEVELS)]
    found: dict[str, Any] = {"replayed": [], "canonical": [], "unequal": 0}
    train: list[Tensor] = []
    count = torch.zeros(1)
    for number in range(size.drift_frames):
        charge = charges[number % 2]
        canonical = [canonical_spike(count, t) for t in range(1, LEVELS + 1)]
        train, replayed, steps = run_neuron(charge, train, -size.gain * THRESHOLD, params)
        found["replayed"].append(steps)
        _, count, steps = run_neuron(charge, canonical, -size.gain * THRESHOLD, params)
        found["canonical"].append(steps)
        found["unequal"] += int((count != replayed).sum())
    return found


def run_neuron(
    charge: Tensor, arriving: list[Tensor], weight: int, params: BifParams
) -> tuple[list[Tensor], Tensor, int]:
    """One frame of recurrent neurons, until no spike is in flight.

    Args:
        charge: of the input, at time-step 1, (neurons,).
        arriving: recurrent spikes by time-step.
        weight: of these.
        params: of the neurons.

    Returns:
        The spikes by time-step, their sum, and the last time-step at which one fired or arrived.
    """
    silence = torch.zeros_like(charge)
    state = begin_frame(silence, silence, params)
    train: list[Tensor] = []
    while len(train) < len(arriving) or not train or bool(would_fire(state, params).any()):
        t = len(train)
        recurrent = weight * arriving[t] if t < len(arriving) else silence
        spike, state = rbif_step(charge if t == 0 else silence, recurrent, state, params)
        train.append(spike)
    return train, state.spike_count, len(train)


def section(found: dict[str, Any]) -> str:
    """Its part of the page."""
    drift = found["drift"]
    lines = "\n".join(_line(found, name) for name in found["engines"])
    first, last = drift["replayed"][:3], drift["replayed"][-1]
    return f"""## Long sequences

One stream of {found["frames"]:,} frames through a small CRNN with two signed IndRNN layers (drawn
weights, recurrent ones in [-1, 1]), never reset; {found["compared"]:,} integers compared with the
int64 QANN, in each encoding.

| encoding | engine | differences | not settled | steps, first {found["window"]} frames: mean, max \
| last {found["window"]} | bound |
|---|---|---|---|---|---|---|
{lines}

Recurrent weight of -3 thresholds, counts to {LEVELS}: replaying the spikes of the frame before as
they were gives the same counts ({drift["unequal"]} differences) but takes {first[0]}, {first[1]},
{first[2]}, ... {last} time-steps after {len(drift["replayed"])} frames; the canonical form
takes at most {max(drift["canonical"])}.

![settling over a long sequence, and the drift](study_long.svg)
"""


def _line(found: dict[str, Any], name: str) -> str:
    steps = found["steps"][name]
    ends = [f"{steps['mean'][at]:.2f}, {steps['max'][at]}" for at in (0, -1)]
    return (
        f"| {name} | {found['engines'][name]} | {found['unequal'][name]} "
        f"| {found['unsettled'][name]} | {ends[0]} | {ends[1]} | {found['bounds'][name]} |"
    )


def picture(found: dict[str, Any], folder: Path) -> None:
    """Settling over the stream, and the drift."""
    lines = []
    for name, steps in found["steps"].items():
        at = [found["window"] * (n + 1) for n in range(len(steps["mean"]))]
        lines += [
            Line(f"{name}: longest", at, steps["max"]),
            Line(f"{name}: mean", at, steps["mean"]),
        ]
    at = [lines[0].x[0], lines[0].x[-1]]
    lines += [Line(f"{name}: bound", at, [b, b], ":") for name, b in found["bounds"].items()]
    drift = found["drift"]
    number = list(range(1, len(drift["replayed"]) + 1))
    draw(
        folder / "study_long.svg",
        [
            Panel(f"{found['frames']:,} frames without reset", "frame", "time-steps", lines),
            Panel(
                "Recurrent weight of -3 thresholds", "frame", "time-steps",
                [Line("spikes replayed as they were", number, drift["replayed"]),
                 Line("canonical", number, drift["canonical"])],
            ),
        ],
    )  # fmt: skip
