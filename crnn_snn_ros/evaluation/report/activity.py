"""What the spiking network did: time-steps, spikes, single spikes, energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.evaluation import energy
from crnn_snn_ros.evaluation.findings import Findings
from crnn_snn_ros.evaluation.raster import FrameRaster
from crnn_snn_ros.evaluation.report.cutting_sections import cut_plot
from crnn_snn_ros.evaluation.report.page import (
    Figure,
    Plot,
    Section,
    join,
    plot,
    render,
)
from crnn_snn_ros.evaluation.report.plots import (
    COLOURS,
    Panel,
    Timeline,
    base,
    time_plot,
)
from crnn_snn_ros.evaluation.report.sections import table

Integers = NDArray[np.integer]
NETWORK_NAMES = {"float": "float", "qann": "QANN", "snn": "SNN"}


def spikes_section(
    time_s: NDArray[np.float64],
    settle_steps: Integers,
    bound: int,
    layers: Sequence[str],
    layer_spikes: Integers,
    breaks_s: Sequence[float] = (),
) -> Section:
    """Time-steps to quiescence and spikes, per layer and over time.

    Args:
        time_s: (n,), of the frames.
        settle_steps: (n,).
        bound: Proven largest number of time-steps.
        layers: Names.
        layer_spikes: (n, layers).
        breaks_s: Where another drive begins.
    """
    steps = settle_steps.astype(np.float64)
    total = layer_spikes.sum(axis=1).astype(np.float64)
    timeline = Timeline(
        "activity-time",
        time_s,
        (
            Panel("time-steps", {"settled after": steps}, span=(0.0, float(steps.max()) + 1)),
            Panel("spikes per frame", {"all layers": total}, span=(0.0, float(total.max()) * 1.05)),
        ),
        breaks_s,
    )
    parts = [plot(_settling(settle_steps)), plot(_per_layer(layers, layer_spikes))]
    over_time = plot(time_plot(timeline, "Time-steps and spikes over time"))
    lead = (
        f"A frame ends when no spike is in flight: after {steps.mean():.1f} time-steps on average, "
        f"{settle_steps.max()} at most here, and never more than the proven {bound}."
    )
    body = join((render("columns.html", parts=parts), over_time))
    return Section("activity", "Settling and spikes", lead, body)


def raster_section(frames: Sequence[FrameRaster]) -> Section:
    """Every spike of a chosen layer in a chosen frame."""
    data: list[dict[str, Any]] = []
    layers = [layer.layer for layer in frames[0].layers]
    chosen = len(layers) - 1
    for frame in frames:
        for layer in frame.layers:
            data.append(_spikes(frame, layer, visible=not data and chosen == 0))
    data[chosen]["visible"] = True
    steps = max(frame.settle_steps for frame in frames)
    layout = base(
        380,
        xaxis={"title": {"text": "time-step within the frame"}, "range": [0.3, steps + 0.7],
               "dtick": 1 if steps <= 20 else 5, "zeroline": False},
        yaxis={"title": {"text": "neuron"}, "zeroline": False, "rangemode": "tozero"},
        showlegend=False,
    )  # fmt: skip
    chart = Plot("raster", Figure({"data": data, "layout": layout}), 380, "Spike raster")
    boxes = render(
        "choose.html",
        plot="raster",
        frames=[frame.title for frame in frames],
        layers=[f"{layer.layer} ({layer.neurons} neurons)" for layer in frames[0].layers],
        chosen=chosen,
    )
    lead = (
        "Each mark is one spike, blue +1 and orange -1. Of a layer where many neurons fire, an "
        "even selection is shown."
    )
    return Section("raster", "Spike raster", lead, join((boxes, plot(chart))))


def energy_section(costs: Sequence[energy.Cost]) -> Section:
    """Energy of a frame's arithmetic, with what was assumed."""
    totals = energy.totals_uj(list(costs))
    bars = {
        "type": "bar", "orientation": "h", "x": list(totals.values()),
        "y": [NETWORK_NAMES.get(name, name) for name in totals],
        "marker": {"color": [COLOURS[NETWORK_NAMES[name]] for name in totals]},
        "text": [f"{value:.2f} µJ" for value in totals.values()], "textposition": "auto",
        "hoverinfo": "skip",
    }  # fmt: skip
    layout = base(
        190,
        xaxis={"title": {"text": "µJ per frame"}, "fixedrange": True, "rangemode": "tozero"},
        yaxis={"autorange": "reversed", "fixedrange": True, "showgrid": False},
        margin={"l": 56, "r": 16, "t": 8, "b": 42},
    )
    chart = Plot("energy-bars", Figure({"data": [bars], "layout": layout}), 190, "Energy per frame")
    rows = [
        (
            NETWORK_NAMES.get(line.network, line.network),
            line.what,
            f"{line.operations:,.0f}",
            f"{line.picojoule:g} pJ",
            f"{line.microjoule:.3f} µJ",
        )
        for line in costs
    ]
    head = ("network", "operation", "per frame", "each", "energy")
    lead = (
        f"An estimate of arithmetic alone, from {energy.SOURCE}: float32 multiply "
        f"{energy.FLOAT32_MULTIPLY_PJ:g} pJ and add {energy.FLOAT32_ADD_PJ:g} pJ, int8 multiply "
        f"{energy.INT8_MULTIPLY_PJ:g} pJ, int32 add {energy.INT32_ADD_PJ:g} pJ. Memory, which "
        "costs more on most chips, is left out: it compares networks, it predicts no chip. "
        "Operations are counted exactly; skipping zeros is credited to spikes only."
    )
    return Section("energy", "Energy", lead, join((plot(chart), table(rows, head))))


def versus_section(models: Mapping[str, Findings], breaks_s: Sequence[float] = ()) -> Section:
    """Time-steps, spikes, cutting and energy of several models on the same frames.

    Args:
        models: By the letter to show.
        breaks_s: Where another drive begins.
    """
    recordings = {name: model.recording for name, model in models.items()}
    steps = {name: made.rows["settle_steps"].astype(float) for name, made in recordings.items()}
    spikes = {name: made.rows["spikes"].astype(float) for name, made in recordings.items()}
    highest = [max(float(v.max()) for v in values.values()) for values in (steps, spikes)]
    timeline = Timeline(
        "activity-time",
        next(iter(recordings.values())).times_s(),
        (
            Panel("time-steps", steps, span=(0.0, highest[0] + 1)),
            Panel("spikes per frame", spikes, span=(0.0, highest[1] * 1.05)),
        ),
        breaks_s,
    )
    bars = [
        {"type": "bar", "name": name, "x": [NETWORK_NAMES[n] for n in energies],
         "y": list(energies.values()), "marker": {"color": COLOURS[name]},
         "text": [f"{value:.2f}" for value in energies.values()],
         "hovertemplate": "%{x}: %{y:.3f} µJ"}
        for name, energies in ((n, energy.totals_uj(m.costs())) for n, m in models.items())
    ]  # fmt: skip
    layout = base(
        300,
        title={"text": "Energy per frame, µJ (arithmetic alone)", "x": 0, "font": {"size": 14}},
        xaxis={"fixedrange": True},
        yaxis={"fixedrange": True, "rangemode": "tozero"},
        margin={"l": 52, "r": 12, "t": 64, "b": 42},
        barmode="group",
    )
    costs = Plot("energy-bars", Figure({"data": bars, "layout": layout}), 300, "Energy per frame")
    cut = {n: m.cut_errors["steering, rad"] for n, m in models.items() if m.cut_errors}
    parts = [plot(cut_plot(cut, "Steering error when cut, rad")), plot(costs)]
    over_time = plot(time_plot(timeline, "Time-steps and spikes over time"))
    lead = (
        "When frames are quiet, what they fire, what cutting them after T time-steps would cost, "
        f"and an estimate of energy from {energy.SOURCE}."
    )
    body = join((over_time, render("columns.html", parts=parts)))
    return Section("activity", "Settling, spikes, energy", lead, body)


def _settling(settle_steps: Integers) -> Plot:
    counts = np.bincount(settle_steps)
    first = int(np.flatnonzero(counts)[0])
    bars = {
        "type": "bar", "x": list(range(first, len(counts))), "y": counts[first:].tolist(),
        "marker": {"color": COLOURS["SNN"]},
        "hovertemplate": "%{x} steps: %{y} frames<extra></extra>",
    }  # fmt: skip
    layout = base(
        280,
        title={"text": "Time-steps to settle", "x": 0, "font": {"size": 14}},
        xaxis={
            "title": {"text": "time-steps"},
            "fixedrange": True,
            "zeroline": False,
            **({"dtick": 1} if len(counts) - first <= 20 else {}),
        },
        yaxis={"title": {"text": "frames"}, "fixedrange": True},
        bargap=0.1,
    )
    return Plot("settling", Figure({"data": [bars], "layout": layout}), 280, "Settling histogram")


def _per_layer(layers: Sequence[str], layer_spikes: Integers) -> Plot:
    bars = {
        "type": "bar", "orientation": "h", "y": list(layers),
        "x": layer_spikes.mean(axis=0).tolist(), "marker": {"color": COLOURS["SNN"]},
        "hovertemplate": "%{y}: %{x:,.0f} spikes<extra></extra>",
    }  # fmt: skip
    layout = base(
        280,
        title={"text": "Spikes per layer and frame", "x": 0, "font": {"size": 14}},
        xaxis={"title": {"text": "spikes, mean"}, "fixedrange": True},
        yaxis={"autorange": "reversed", "fixedrange": True, "showgrid": False},
        margin={"l": 76, "r": 12, "t": 34, "b": 42},
    )
    return Plot("layers", Figure({"data": [bars], "layout": layout}), 280, "Spikes per layer")


def _spikes(frame: FrameRaster, layer: Any, *, visible: bool) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "markers", "name": f"{frame.title}, {layer.layer}",
        "x": layer.steps.astype(np.int16), "y": layer.neuron.astype(np.int32), "visible": visible,
        "marker": {"symbol": "square", "size": 5, "color": layer.sign.astype(np.int8),
                   "cmin": -1, "cmax": 1,
                   "colorscale": [[0, COLOURS["alarm"]], [1, COLOURS["SNN"]]]},
        "hovertemplate": "step %{x}, neuron %{y}<extra></extra>",
    }  # fmt: skip
