"""How figures look, and the ones that every report has: lines over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.evaluation.report.page import Figure, Plot

Floats = NDArray[np.float64]
MOST_POINTS = 8000  # of a line; a longer one is thinned to the extremes of each stretch
INK = "ink"  # drawn in the colour of the text
# Okabe and Ito's colours, which the colour-blind tell apart, on white and on black.
COLOURS = {
    "truth": INK,
    "label": "rgba(213, 94, 0, 0.25)",
    "float": "#e69f00",
    "QANN": "rgba(86, 180, 233, 0.5)",
    "SNN": "#1583d8",
    "alarm": "#d55e00",
    # Models side by side
    "A": "#1583d8",
    "B": "#e69f00",
    "C": "#009e73",
    "D": "#cc79a7",
}
LAYER_COLOURS = (
    *("#0072b2", "#56b4e9", "#009e73", "#8fce00", "#f0e442"),
    *("#e69f00", "#d55e00", "#cc79a7", "#999999", "#7a5195"),
)
# The SNN is the QANN to the bit: drawn upon it, one would hide the other.
_STYLES: dict[str, dict[str, Any]] = {
    "QANN": {"width": 5},
    "SNN": {"width": 1.6},
    "truth": {"width": 1.6, "dash": "dot"},
    "float": {"width": 1.3},
}


@dataclass(frozen=True)
class Panel:
    """One strip of a time plot."""

    title: str  # with its unit
    lines: Mapping[str, Floats]  # (n,) by name; names of COLOURS have their own look
    shaded: NDArray[np.bool_] | None = None  # (n,), moments to shade
    span: tuple[float, float] | None = None  # of the vertical axis
    level: float | None = None  # a dashed line, such as a threshold
    steps: bool = False  # values hold until the next


@dataclass(frozen=True)
class Timeline:
    """Panels over one time axis."""

    name: str  # of the plot
    time_s: Floats  # (n,), not falling
    panels: Sequence[Panel]
    breaks_s: Sequence[float] = field(default_factory=tuple)  # where another drive begins


def base(height_px: int, **layout: Any) -> dict[str, Any]:
    """Layout of every figure: no ground of its own, no room wasted."""
    return {
        "template": "none",
        "height": height_px,
        "margin": {"l": 52, "r": 12, "t": 34, "b": 42},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12},
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        "hovermode": "closest",
        **layout,
    }


def colour(name: str, position: int = 0) -> dict[str, Any]:
    """Line of a series, and its mark where it is drawn in ink."""
    shade = COLOURS.get(name, LAYER_COLOURS[position % len(LAYER_COLOURS)])
    line = dict(_STYLES.get(name, {"width": 1.5}))
    if shade == INK:
        return {"line": line, "meta": INK}
    return {"line": {**line, "color": shade}}


def thin(time_s: Floats, values: Floats, most: int = MOST_POINTS) -> tuple[Floats, Floats]:
    """Least and largest value of each stretch where there are more than ``most`` points.

    Peaks stay, which is what a reader looks for.
    """
    if len(values) <= most:
        return time_s, values
    stretches = np.array_split(np.arange(len(values)), most // 2)
    kept: list[int] = []
    for stretch in stretches:
        some = stretch[np.isfinite(values[stretch])]
        if len(some):
            ends = {int(some[values[some].argmin()]), int(some[values[some].argmax()])}
            kept.extend(sorted(ends))
        else:
            kept.append(int(stretch[0]))  # a hole stays a hole
    index = np.array(kept)
    return time_s[index], values[index]


def time_plot(timeline: Timeline, alt: str) -> Plot:
    """Panels below each other that zoom together."""
    count = len(timeline.panels)
    height = 90 + 150 * count
    layout = base(height, hovermode="x", margin={"l": 44, "r": 12, "t": 48, "b": 42})
    layout["legend"] |= {"y": 1.0 + 22.0 / (height - 90)}  # above the first panel's title
    layout["annotations"] = []
    traces: list[dict[str, Any]] = []
    seen: set[str] = set()
    gap = 24.0 / (height - 90) if count > 1 else 0.0  # room for a title
    tall = (1.0 - gap * (count - 1)) / count
    for number, panel in enumerate(timeline.panels):
        axis = "" if number == 0 else str(number + 1)
        top = 1.0 - number * (tall + gap)
        layout[f"yaxis{axis}"] = _value_axis(panel, max(0.0, top - tall), top)
        layout[f"xaxis{axis}"] = _time_axis(timeline, number, count)
        layout["annotations"].append(_panel_title(panel.title, top))
        for trace in _traces(timeline, panel):
            trace |= {"xaxis": f"x{axis}", "yaxis": f"y{axis}"}
            trace["showlegend"] = trace["name"] in COLOURS and trace["name"] not in seen
            seen.add(trace["name"])
            traces.append(trace)
    layout["shapes"] = [
        {"type": "line", "xref": "x", "yref": "paper", "x0": at, "x1": at, "y0": 0, "y1": 1,
         "line": {"color": "rgba(128,128,128,0.6)", "width": 1}}
        for at in timeline.breaks_s
    ]  # fmt: skip
    layout["showlegend"] = len(seen & COLOURS.keys()) > 1
    figure = Figure({"data": traces, "layout": layout})
    return Plot(timeline.name, figure, height, alt, zoom=True)


def _panel_title(title: str, top: float) -> dict[str, Any]:
    """Above its panel, where it takes no width."""
    return {
        "text": title, "xref": "paper", "yref": "paper", "x": 0, "y": top, "xanchor": "left",
        "yanchor": "bottom", "showarrow": False, "font": {"size": 12},
    }  # fmt: skip


def _time_axis(timeline: Timeline, number: int, count: int) -> dict[str, Any]:
    times = timeline.time_s
    last = number == count - 1
    axis: dict[str, Any] = {
        "anchor": f"y{'' if number == 0 else number + 1}",
        "showticklabels": last,
        "zeroline": False,
    }
    if number:
        return axis | {"matches": "x"} | ({"title": {"text": "time, s"}} if last else {})
    span = [float(times[0]), float(times[-1])] if len(times) else [0.0, 1.0]
    axis["range"] = span if span[1] > span[0] else [span[0] - 0.5, span[0] + 0.5]
    return axis | ({"title": {"text": "time, s"}} if last else {})


def _value_axis(panel: Panel, bottom: float, top: float) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "domain": [bottom, top],
        "fixedrange": True,
        "zeroline": panel.span is None,
    }
    if panel.span is not None:
        axis["range"] = list(panel.span)
    return axis


def _traces(timeline: Timeline, panel: Panel) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    shape = {"shape": "hv"} if panel.steps else {}
    if panel.shaded is not None:
        top = panel.span[1] if panel.span else 1.0
        times, values = thin(timeline.time_s, np.where(panel.shaded, top, 0.0))
        found.append({
            "type": "scatter", "mode": "lines", "name": "label", "x": times,
            "y": values.astype(np.float32), "fill": "tozeroy", "fillcolor": COLOURS["label"],
            "line": {"width": 0, "shape": "hvh"}, "hoverinfo": "skip",
        })  # fmt: skip
    for number, (name, values) in enumerate(panel.lines.items()):
        if not np.isfinite(values).any():
            continue
        times, values = thin(timeline.time_s, values)
        look = colour(name, number)
        look["line"] |= shape
        found.append({
            "type": "scatter", "mode": "lines", "name": name, "x": times,
            "y": values.astype(np.float32), "hovertemplate": "%{y:.3f}", **look,
        })  # fmt: skip
    if panel.level is not None and len(timeline.time_s):
        ends = [float(timeline.time_s[0]), float(timeline.time_s[-1])]
        found.append({
            "type": "scatter", "mode": "lines", "name": "threshold", "x": ends,
            "y": [panel.level] * 2, "hoverinfo": "skip",
            "line": {"color": COLOURS["alarm"], "width": 1, "dash": "dash"},
        })  # fmt: skip
    return found
