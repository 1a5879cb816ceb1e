"""Levels and scales: what every setting is measured by, whatever the task.

A setting: 1 to 8 bits, signed or unsigned recurrent neurons, a threshold per channel or per layer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from benchmarks.study.figures import Line, Panel, draw
from crnn_snn_ros.core import qann
from crnn_snn_ros.core.bounds import prove
from crnn_snn_ros.core.engines import make_engine
from crnn_snn_ros.core.errors import ConversionError
from crnn_snn_ros.core.faults import integers
from crnn_snn_ros.core.graph import Graph
from crnn_snn_ros.training.convert import convert
from crnn_snn_ros.training.layers import NeuronLayer, Scales
from crnn_snn_ros.training.network import Network

Figure = Callable[[dict[str, Any]], str]  # of a setting's row, as it is printed
TIMED = 20  # frames, alone, for the time of one


class Setting(NamedTuple):
    """How a network counts."""

    bits: int
    signed: bool  # recurrent neurons
    per_layer: bool  # one threshold for all channels


KINDS = {
    "signed, per channel": (True, False),
    "unsigned, per channel": (False, False),
    "signed, per layer": (True, True),
}


def settings(bits: Sequence[int], others: Sequence[int]) -> list[Setting]:
    """The first kind at every number of bits, the other two at ``others``."""
    first, *rest = KINDS.values()
    return [
        *(Setting(b, *first) for b in bits),
        *(Setting(b, *kind) for kind in rest for b in others),
    ]


class LayerThreshold(NeuronLayer):
    """One threshold for all neurons of the layer: the least of those that they could have."""

    def threshold_limit(self, scales: Scales) -> Tensor:
        """See ``NeuronLayer``."""
        limit = super().threshold_limit(scales)
        return limit.amin().expand_as(limit)


def one_threshold(network: Network) -> Network:
    """The same network, its layers of neurons with one threshold each."""
    for name, layer in network.layers():
        if isinstance(layer, NeuronLayer):
            other = LayerThreshold(
                layer.typed_branches(),
                len(layer.bias),
                layer.n_max,
                signed=layer.n_min < 0,
                recurrent=None if layer.recurrent is None else layer.recurrent.data,
            )
            other.load_state_dict(layer.state_dict())
            network.nodes[name] = other
    return network


def measured(network: Network, streams: Tensor, device: str) -> dict[str, Any]:
    """Convert a quantized network, and run it as spikes beside the int64 QANN, layer by layer.

    Args:
        network: On its integers.
        streams: Network inputs (N, T, C, H, W); state crosses from frame to frame.
        device: "cpu" or "cuda".

    Returns:
        Its figures; ``refused`` alone where it cannot be converted without loss.
    """
    try:
        graph = convert(network).graph
    except ConversionError as error:
        return {"refused": str(error)}
    engine = make_engine("auto", graph, device)
    carry, reference = engine.initial_carry(len(streams)), qann.initial_carry(graph)
    unequal, compared, unsettled, spikes = 0, 0, 0, 0
    steps = []
    for frame in streams.unbind(1):
        result, carry = engine.step(frame, carry)
        wanted, reference = qann.run_frame(graph, frame.numpy(), reference)
        expected = {**wanted.counts, **wanted.heads}
        for name, told in {**result.counts, **result.heads}.items():
            unequal += int((integers(told) != expected[name]).sum())
            compared += expected[name].size
        unsettled += int((~result.settled).sum())
        spikes += sum(int(fired.sum()) for fired in result.activity.values())
        steps.append(result.settle_steps.cpu().numpy())
    each = np.concatenate(steps)
    return {
        "unequal": unequal, "compared": compared, "unsettled": unsettled,
        "mean": float(each.mean()), "max": int(each.max()), "bound": prove(graph).settling_steps,
        "spikes": spikes / each.size, "ms": _milliseconds(graph, streams[0], device),
        "engine": engine.name,
    }  # fmt: skip


def _milliseconds(graph: Graph, frames: Tensor, device: str) -> float:
    """Of the fastest frame of one stream: what else runs on the machine only adds to it."""
    engine = make_engine("auto", graph, device)
    carry, took = engine.initial_carry(), []
    for frame in frames[: TIMED + 1]:
        begin = time.perf_counter()
        _, carry = engine.step(frame[None], carry)
        took.append(time.perf_counter() - begin)
    return 1000.0 * min(took[1:] or took)


def table(rows: Sequence[dict[str, Any]], figures: Mapping[str, Figure]) -> str:
    """Markdown: a line a setting, with the task's own figures after it."""
    head = ["bits", "hidden", "threshold", *figures, "differences of integers compared",
            "steps, mean", "max", "bound", "spikes a frame", "ms a frame"]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        cells = [str(row["bits"]), "signed" if row["signed"] else "unsigned",
                 "layer" if row["per_layer"] else "channel",
                 *(figure(row) for figure in figures.values())]  # fmt: skip
        if "refused" in row:
            cells += [f"refused: {row['refused']}", *[""] * 5]
        else:
            cells += [f"{row['unequal']} of {row['compared']:,}", f"{row['mean']:.1f}",
                      str(row["max"]), str(row["bound"]), f"{row['spikes']:,.0f}",
                      f"{row['ms']:.2f}"]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def exactness(rows: Sequence[dict[str, Any]]) -> str:
    """What the rows say together of differences and of frames that did not settle."""
    run = [row for row in rows if "refused" not in row]
    unequal, unsettled = (sum(row[key] for row in run) for key in ("unequal", "unsettled"))
    return (
        f"**{unequal}** differences to the int64 QANN among "
        f"{sum(row['compared'] for row in run):,} integers of every layer, {unsettled} frames not "
        f"settled, {len(rows) - len(run)} of {len(rows)} settings refused"
    )


def timing(rows: Sequence[dict[str, Any]]) -> str:
    """What the times are."""
    engines = ", ".join(sorted({f"`{row['engine']}`" for row in rows if "engine" in row}))
    return (
        f"The time is the least of at most {TIMED} frames, one stream, engine {engines}; other "
        "work ran beside it, so that differences of less than several times say nothing."
    )


def picture(
    path: Path,
    rows: Sequence[dict[str, Any]],
    title: str,
    unit: str,
    figure: str,
    scale: str = "linear",
) -> None:
    """The task's figure, settling and spikes against bits, a line a kind."""
    panels: list[list[Line]] = [[], [], []]
    for name, kind in KINDS.items():
        of_kind = [r for r in rows if (r["signed"], r["per_layer"]) == kind and "refused" not in r]
        if not of_kind:
            continue
        bits = [row["bits"] for row in of_kind]
        for lines, key in zip(panels, (figure, "mean", "spikes"), strict=True):
            style = "--" if kind[1] else "-"  # one lies upon another
            lines.append(Line(name, bits, [row[key] for row in of_kind], style, "o"))
    draw(
        path,
        [
            Panel(title, "bits", unit, panels[0], "linear", scale),
            Panel("Settling", "bits", "mean time-steps", panels[1], "linear", "log"),
            Panel("Spikes", "bits", "spikes a frame", panels[2], "linear", "log"),
        ],
    )
