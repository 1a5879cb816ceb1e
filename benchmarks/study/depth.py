"""Depth: a convolutional front of ResNet-18's size under four recurrent layers.

    7x7 / 2 - max-pool - 8 residual blocks (64, 128, 256, 512 channels) - mean - IndRNN x 4 - heads

Weights are drawn, not trained: settling and exactness are asked for, not sight. The network goes
through the ordinary passes: batch norm folded, scales calibrated on generated video, converted,
verified.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from benchmarks.study.figures import Line, Panel, draw
from crnn_snn_ros.core.bounds import prove
from crnn_snn_ros.core.engines import make_engine
from crnn_snn_ros.core.errors import ConversionError
from crnn_snn_ros.core.graph import INPUT, Graph
from crnn_snn_ros.core.verify import random_video, verify
from crnn_snn_ros.evaluation.bench import bench
from crnn_snn_ros.evaluation.synops import OperationCounter
from crnn_snn_ros.training.convert import convert, to_graph
from crnn_snn_ros.training.layers import (
    Branch,
    ConvBranch,
    HeadLayer,
    IdentityBranch,
    LinearBranch,
    MaxPoolLayer,
    NeuronLayer,
    SumPoolLayer,
)
from crnn_snn_ros.training.network import HEADS, MOST_MEMORY, Network
from crnn_snn_ros.training.random_network import quantized


class Size(NamedTuple):
    """What is measured."""

    picture: tuple[int, int] = (64, 96)  # height and width
    stages: tuple[int, ...] = (64, 128, 256, 512)  # channels; all but the first halve the picture
    hidden: tuple[int, ...] = (256, 128, 64, 32)
    levels: tuple[int, ...] = (3, 7)  # largest counts
    refused: tuple[int, ...] = (15, 31, 63, 127)  # further ones whose bounds are asked for
    frames: int = 16  # of generated video
    timed: int = 8


TINY = Size((16, 16), (4, 6), (5, 4), (3,), (127,), 6, 3)


def network(size: Size, n_max: int, seed: int) -> Network:
    """Such a network with drawn weights, quantized."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        height, width = size.picture
        drawn = Network((3, height, width), _nodes(size, n_max))
        for _, layer in drawn.layers():
            if isinstance(layer, HeadLayer):
                nn.init.normal_(layer.weight)
    return quantized(drawn.eval(), seed)


def _nodes(size: Size, n_max: int) -> dict[str, nn.Module]:
    conv, layer = _conv, partial(NeuronLayer, n_max=n_max)
    height, width = (side // 4 for side in size.picture)
    source, channels = "stem_pool", size.stages[0]
    nodes: dict[str, nn.Module] = {
        "stem": layer([conv(INPUT, 3, channels, 7, 2)], channels),
        "stem_pool": MaxPoolLayer("stem", 3, 2, 1),
    }
    for stage, outputs in enumerate(size.stages, start=1):
        for block in ("a", "b"):
            stride = 2 if block == "a" and stage > 1 else 1
            height, width = ((side + stride - 1) // stride for side in (height, width))
            name = f"stage{stage}{block}"
            nodes[f"{name}1"] = layer([conv(source, channels, outputs, 3, stride)], outputs)
            shortcut: Branch = IdentityBranch(source)
            if stride != 1 or channels != outputs:
                shortcut = conv(source, channels, outputs, 1, stride)
            both: list[Branch] = [conv(f"{name}1", outputs, outputs, 3, 1), shortcut]
            nodes[f"{name}2"] = layer(both, outputs)
            source, channels = f"{name}2", outputs
    nodes["pool"] = SumPoolLayer(source, (height, width))
    source, inputs = "pool", channels
    for number, hidden in enumerate(size.hidden, start=1):
        recurrent = MOST_MEMORY * torch.rand(hidden)
        weight = nn.init.xavier_uniform_(torch.empty(hidden, inputs))
        branch = LinearBranch(source, weight)
        source, inputs = f"rnn{number}", hidden
        nodes[source] = layer([branch], hidden, signed=True, recurrent=recurrent)
    return nodes | {name: HeadLayer(source, inputs, kind) for name, kind in HEADS.items()}


def _conv(source: str, inputs: int, outputs: int, kernel: int, stride: int) -> ConvBranch:
    weight = nn.init.kaiming_normal_(torch.empty(outputs, inputs, kernel, kernel))
    return ConvBranch(source, weight, stride, kernel // 2)


def measure(size: Size, seed: int, device: str, out: Path) -> dict[str, Any]:  # noqa: ARG001
    """Convert, verify and time the network at each number of levels."""
    rows = [_row(size, n_max, seed, device) for n_max in size.levels]
    refused = [_bound(size, n_max, seed) for n_max in size.refused]
    return {"size": size._asdict(), "rows": rows, "further": refused}


def _row(size: Size, n_max: int, seed: int, device: str) -> dict[str, Any]:
    done = convert(network(size, n_max, seed))
    graph, frames = done.graph, list(random_video((3, *size.picture), size.frames, seed + 1))
    engines = {name: make_engine(name, graph, device) for name in dict.fromkeys(("folded", "auto"))}
    report = verify(graph, engines, frames)
    steps = report.settle_steps
    timed = {**engines, "collapsed": make_engine("collapsed", graph, device)}
    weights = sum(s.weight.size for n in graph.nodes for s in getattr(n, "synapses", ()))
    return {
        "n_max": n_max,
        "weights": weights,
        "macs": OperationCounter(graph).dense(),
        "neuron layers": sum(1 for _ in graph.neurons()),
        "converted": {"frames": done.checked_frames, "mismatches": sum(done.mismatches.values())},
        "max_abs_diff": report.max_abs_diff,
        "first_difference": str(report.first_difference) if report.first_difference else None,
        "frames": report.frames,
        "activations": report.activations,
        "engines": {name: engine.name for name, engine in engines.items()},
        "settle_steps": {"mean": float(np.mean(steps)), "max": max(steps)},
        "bound": report.bound,
        "accumulator": done.bounds.accumulator,
        "layers": _layers(graph, frames, device),
        "times": bench(graph, timed, frames[: size.timed], repeats=2)["engines"],
    }


def _layers(graph: Graph, frames: list[np.ndarray], device: str) -> list[dict[str, Any]]:
    """The last time-step at which a neuron of each layer fired, over all frames, and its bound."""
    engine = make_engine("folded", graph, device)
    carry, last = engine.initial_carry(), {node.name: 0 for node in graph.neurons()}
    for frame in frames:
        result, carry = engine.step(torch.from_numpy(frame[None]), carry, trace=True)
        assert result.trace is not None
        for name in last:
            fired = result.trace.spikes[name].flatten(1).abs().amax(dim=1).nonzero()
            last[name] = max(last[name], int(fired.max()) + 1 if len(fired) else 0)
    bounds = prove(graph).layer_steps
    return [{"name": name, "last": step, "bound": bounds[name]} for name, step in last.items()]


def _bound(size: Size, n_max: int, seed: int) -> dict[str, Any]:
    """What is proven of, or said against, so many levels."""
    try:
        graph = to_graph(network(size, n_max, seed))
        bounds = prove(graph)
    except ConversionError as error:
        return {"n_max": n_max, "refused": str(error)}
    return {"n_max": n_max, "accumulator": bounds.accumulator, "bound": bounds.settling_steps}


def section(found: dict[str, Any]) -> str:
    """Its part of the page."""
    size, first = found["size"], found["rows"][0]
    lines = "\n".join(_line(row) for row in found["rows"])
    further = "\n".join(_further(row) for row in found["further"])
    return f"""## Depth

ResNet-18's front (8 residual blocks, {size["stages"]} channels, pictures of
{size["picture"][1]}x{size["picture"][0]}) under {len(size["hidden"])} signed IndRNN layers
{size["hidden"]}: {first["neuron layers"]} layers of neurons, {first["weights"]:,} weights,
{first["macs"]:,} multiply-accumulates a frame. The weights are **drawn, not trained**; conversion
is the ordinary one, its check included. {first["frames"]} frames of generated video (noise,
saturation, flat fields), state carried.

| counts to | differences | integers compared | steps, mean | max | bound | accumulator, of 2^24 |
|---|---|---|---|---|---|---|
{lines}

How far beyond that the arithmetic can be proven exact, for this network:

{further}

{_times(found["rows"])}

![settling, layer by layer](study_depth.svg)
"""


def _line(row: dict[str, Any]) -> str:
    differences = row["max_abs_diff"] if row["first_difference"] is None else "**SOME**"
    steps = row["settle_steps"]
    return (
        f"| {row['n_max']} | {differences} | {row['activations']:,} | {steps['mean']:.1f} "
        f"| {steps['max']} | {row['bound']} | {row['accumulator']:,} |"
    )


def _further(row: dict[str, Any]) -> str:
    if "refused" in row:
        return f"- counts to {row['n_max']}: refused ({row['refused']})"
    return (
        f"- counts to {row['n_max']}: accumulator {row['accumulator']:,}, settles within "
        f"{row['bound']}"
    )


def _times(rows: list[dict[str, Any]]) -> str:
    lines = ["| counts to | engine | ms a frame (minimum) | by the eager float network |",
             "|---|---|---|---|"]  # fmt: skip
    for row in rows:
        for name, time in row["times"].items():
            told = f"{name} = {row['engines'][name]}" if name == "auto" else name
            lines.append(
                f"| {row['n_max']} | {told} | {time['ms_min']:.1f} "
                f"| {time['ratio_to_float_eager']:.2f} |"
            )
    return "\n".join(lines)


def picture(found: dict[str, Any], folder: Path) -> None:
    """Last spike of each layer beside its bound."""
    panels = []
    for row in found["rows"]:
        layers = row["layers"]
        places = list(range(len(layers)))
        lines = [
            Line("bound", places, [layer["bound"] for layer in layers], "--"),
            Line("last spike seen", places, [layer["last"] for layer in layers], "-", "o"),
        ]
        names = [layer["name"] for layer in layers]
        title = f"Counts to {row['n_max']}: settling along the depth"
        panels.append(Panel(title, "", "time-step", lines, names=names))
    draw(folder / "study_depth.svg", panels)
