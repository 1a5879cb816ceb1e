"""How far collision probabilities can be believed: confusion, ranking, calibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from crnn_snn_ros.evaluation.metrics import Judged
from crnn_snn_ros.evaluation.report.page import (
    Figure,
    Markup,
    Plot,
    Section,
    plot,
    render,
)
from crnn_snn_ros.evaluation.report.plots import COLOURS, INK, base, colour
from crnn_snn_ros.evaluation.scores import confusion, reliability

_HISTOGRAM_BINS = 20


def collision_section(
    networks: Mapping[str, Judged], threshold: float, *, each: bool = False
) -> Section:
    """Confusion at the threshold, precision over recall, reliability, and the spread of p.

    Args:
        networks: Labels and probabilities by the name to show; the last one is the model itself.
        threshold: From which on a probability is an alarm.
        each: Whether confusion and spread are shown of every network, and not of the last alone.

    Raises:
        ConfigError: scikit-learn is missing.
    """
    detailed = list(networks) if each else list(networks)[-1:]
    plots = [
        *(_confusion(name, networks[name], threshold) for name in detailed),
        _reliability(networks),
        _precision_recall(networks, threshold),
        *(_spread(name, networks[name], threshold) for name in detailed),
    ]
    body = render("columns.html", parts=[plot(part) for part in plots])
    lead = (
        f"Frames with a collision label, alarm from p = {threshold:g} on. On the diagonal of the "
        "reliability curve, of the frames with p = 0.8 four in five are labelled."
    )
    return Section("collision", "Collision probability", lead, body)


def nothing_section(text: str) -> Section:
    """In place of the figures where there is no label."""
    body = Markup("<p>{}</p>").format(text)
    return Section("collision", "Collision probability", "There is nothing to judge.", body)


def _confusion(name: str, part: Judged, threshold: float) -> Plot:
    ones = np.ones(len(part.frames))
    found = confusion(part.truth >= 0.5, part.values, ones, threshold)
    cells = np.array([
        [found.true_negative, found.false_positive], [found.false_negative, found.true_positive]
    ])  # fmt: skip
    shares = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1.0)
    words = [["rightly calm", "false alarm"], ["missed", "caught"]]
    text = [
        [f"<b>{words[i][j]}</b><br>{cells[i, j]:.0f} frames<br>{100 * shares[i, j]:.1f} %"
         for j in range(2)] for i in range(2)
    ]  # fmt: skip
    wrong = np.array([[0.0, 1.0], [1.0, 0.0]])
    heat = {
        "type": "heatmap", "z": np.where(wrong > 0, -shares, shares), "zmin": -1, "zmax": 1,
        "x": ["no alarm", "alarm"], "y": ["label clear", "label collision"],
        "text": text, "texttemplate": "%{text}", "hoverinfo": "skip", "showscale": False,
        "colorscale": [[0, "rgba(213,94,0,.75)"], [0.5, "rgba(128,128,128,.08)"],
                       [1, "rgba(0,158,115,.6)"]],
        "xgap": 4, "ygap": 4,
    }  # fmt: skip
    layout = base(
        300,
        title={"text": f"Confusion, {name}", "x": 0, "font": {"size": 14}},
        xaxis={"fixedrange": True, "showgrid": False},
        yaxis={"autorange": "reversed", "fixedrange": True, "tickangle": -90, "showgrid": False},
        margin={"l": 40, "r": 12, "t": 34, "b": 30},
    )
    missed, wrong_alarms = found.false_negative, found.false_positive
    alt = f"Confusion of {name}: {missed:.0f} missed, {wrong_alarms:.0f} false alarms"
    return Plot(f"confusion-{name}", Figure({"data": [heat], "layout": layout}), 300, alt)


def _reliability(networks: Mapping[str, Judged]) -> Plot:
    data: list[dict[str, Any]] = [_diagonal()]
    for name, part in networks.items():
        curve = reliability(part.truth >= 0.5, part.values, np.ones(len(part.frames)))
        look = colour(name)
        marks = {"size": 6 + 10 * np.sqrt(curve.weight / curve.weight.sum())}
        data.append({
            "type": "scatter", "mode": "lines+markers", "name": name, "x": curve.predicted,
            "y": curve.observed, "customdata": curve.weight, "marker": marks, **look,
            "hovertemplate": "p %{x:.2f}, labelled %{y:.2f}, %{customdata:.0f} frames",
        })  # fmt: skip
    layout = _square("Reliability", "predicted probability", "labelled fraction")
    return Plot("reliability", Figure({"data": data, "layout": layout}), 300, "Reliability curve")


def _precision_recall(networks: Mapping[str, Judged], threshold: float) -> Plot:
    from sklearn.metrics import precision_recall_curve

    data: list[dict[str, Any]] = []
    for name, part in networks.items():
        labels = part.truth >= 0.5
        if not labels.any():
            continue
        precision, recall, _ = precision_recall_curve(labels, part.values, drop_intermediate=True)
        step = max(1, len(recall) // 1000)
        data.append({
            "type": "scatter", "mode": "lines", "name": name, "x": recall[::step],
            "y": precision[::step], "hovertemplate": "recall %{x:.2f}, precision %{y:.2f}",
            **colour(name),
        })  # fmt: skip
        found = confusion(labels, part.values, np.ones(len(labels)), threshold)
        alarms = found.true_positive + found.false_positive
        if alarms:
            recalled = found.true_positive / (found.true_positive + found.false_negative)
            data.append({
                "type": "scatter", "mode": "markers", "showlegend": False, "x": [recalled],
                "y": [found.true_positive / alarms], "marker": {"size": 10, **_mark(name)},
                "hovertemplate": f"at p = {threshold:g}: recall %{{x:.2f}}, precision %{{y:.2f}}",
                "name": name,
            })  # fmt: skip
    layout = _square("Precision over recall", "recall", "precision")
    alt = "Precision over recall; the dot is the threshold"
    return Plot("precision-recall", Figure({"data": data, "layout": layout}), 300, alt)


def _spread(name: str, part: Judged, threshold: float) -> Plot:
    edges = np.linspace(0.0, 1.0, _HISTOGRAM_BINS + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    data = []
    for label, wanted, shade in (("labelled clear", 0.0, "#009e73"),
                                 ("labelled collision", 1.0, COLOURS["alarm"])):  # fmt: skip
        values = part.values[(part.truth >= 0.5) == bool(wanted)]
        counts = np.histogram(values, edges)[0] / max(1, len(values))
        data.append({
            "type": "bar", "name": label, "x": middles, "y": counts, "marker": {"color": shade},
            "opacity": 0.75, "hovertemplate": "p %{x:.2f}: %{y:.1%}",
        })  # fmt: skip
    layout = base(
        300,
        title={"text": f"Where {name}'s probabilities lie", "x": 0, "font": {"size": 14}},
        barmode="group",
        xaxis={"title": {"text": "probability"}, "range": [0, 1], "fixedrange": True},
        yaxis={"title": {"text": "share of the frames"}, "fixedrange": True, "tickformat": ".0%"},
        margin={"l": 52, "r": 12, "t": 64, "b": 42},
        shapes=[{"type": "line", "x0": threshold, "x1": threshold, "yref": "paper", "y0": 0,
                 "y1": 1, "line": {"color": COLOURS["alarm"], "dash": "dash", "width": 1}}],
    )  # fmt: skip
    figure = Figure({"data": data, "layout": layout})
    return Plot(f"spread-{name}", figure, 300, f"Histogram of {name}'s probabilities by label")


def _diagonal() -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "showlegend": False,
        "hoverinfo": "skip", "meta": INK, "line": {"width": 1, "dash": "dot"}, "name": "diagonal",
    }  # fmt: skip


def _mark(name: str) -> dict[str, Any]:
    shade = colour(name)["line"].get("color")
    return {"color": shade} if shade else {}


def _square(title: str, x: str, y: str) -> dict[str, Any]:
    axis = {"range": [-0.02, 1.02], "fixedrange": True, "zeroline": False}
    return base(
        300,
        title={"text": title, "x": 0, "font": {"size": 14}},
        xaxis={**axis, "title": {"text": x}},
        yaxis={**axis, "title": {"text": y}},
        margin={"l": 52, "r": 12, "t": 64, "b": 42},
    )
