"""Curves as SVG, drawn by matplotlib: the same figures give the same file, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.io.atomic import replacing

# Okabe and Ito's colours, which the colour-blind tell apart.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#7a5195", "#8fce00")
PANEL_IN = (5.2, 3.4)


class Line(NamedTuple):
    """One curve."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: str = "-"
    marker: str = ""


class Panel(NamedTuple):
    """One plot."""

    title: str
    x: str  # label of the axis, with its unit
    y: str
    lines: Sequence[Line]
    x_scale: str = "linear"
    y_scale: str = "linear"
    names: Sequence[str] = ()  # of the places 0, 1, ... of the horizontal axis


def draw(path: Path, panels: Sequence[Panel]) -> None:
    """Write panels side by side.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("pictures need matplotlib: pip install 'crnn_snn_ros[bench]'") from error

    rules = {"svg.hashsalt": "study", "svg.fonttype": "path", "font.size": 9.0}
    with mpl.rc_context(rules):
        figure = Figure(
            figsize=(PANEL_IN[0] * len(panels), PANEL_IN[1]),
            layout="constrained",
            facecolor="white",
        )
        for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels,
                               strict=True):  # fmt: skip
            _panel(axes, panel)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None})


def _panel(axes: Any, panel: Panel) -> None:
    for number, line in enumerate(panel.lines):
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(line.x, line.y, line.style, marker=line.marker or None, ms=3.5, lw=1.4,
                  color=colour, label=line.name)  # fmt: skip
    axes.set_title(panel.title, fontsize=10)
    axes.set_xlabel(panel.x)
    axes.set_ylabel(panel.y)
    axes.set_xscale(panel.x_scale)
    if panel.y_scale == "symlog":
        least = min(y for line in panel.lines for y in line.y if y > 0)
        axes.set_yscale("symlog", linthresh=10.0 ** np.floor(np.log10(least)))
        axes.set_ylim(bottom=0)
    else:
        axes.set_yscale(panel.y_scale)
        if panel.y_scale == "linear" and min(y for line in panel.lines for y in line.y) >= 0:
            axes.set_ylim(bottom=0)
    if panel.names:
        axes.set_xticks(range(len(panel.names)), panel.names, rotation=90)
    axes.grid(True, color="#dddddd", lw=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if len(panel.lines) > 1:
        axes.legend(frameon=False, fontsize=8)
