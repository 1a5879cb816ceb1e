"""Sections that any report may have: a table, traces, moments in pictures, the model's card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.evaluation.report.page import (
    Markup,
    Section,
    State,
    join,
    picture,
    plot,
    render,
)
from crnn_snn_ros.evaluation.report.plots import Timeline, time_plot

Picture = NDArray[np.uint8]
Cell = str | tuple[str, str]  # what it says, and a small line below


@dataclass(frozen=True)
class Glimpse:
    """A picture with a line below it."""

    image: Picture
    caption: str
    time_s: float = 0.0  # on the time axis of the traces that it belongs to


@dataclass(frozen=True)
class Highlight:
    """A moment in its context: before, at, after."""

    title: str
    text: str
    where: str
    time_s: float
    pictures: Sequence[Glimpse]
    state: State = "bad"


def table(rows: Sequence[Sequence[Cell]], head: Sequence[str] = (), caption: str = "") -> Markup:
    """A table; the first cell of a row names it."""
    return render("table.html", rows=rows, head=head, caption=caption)


def table_section(name: str, title: str, lead: str, *tables: Markup) -> Section:
    """A section of tables."""
    return Section(name, title, lead, join(tables))


def traces_section(timeline: Timeline, lead: str, title: str = "Traces") -> Section:
    """Lines over time, with zoom."""
    names = ", ".join(panel.title for panel in timeline.panels)
    return Section(timeline.name, title, lead, plot(time_plot(timeline, f"{names} over time")))


def moments_section(
    highlights: Sequence[Highlight], traces: str, lead: str, title: str = "Worst moments"
) -> Section:
    """Moments in pictures; a click shows each in the plot named ``traces``."""
    given = [
        {
            "time_s": moment.time_s,
            "title": moment.title,
            "text": moment.text,
            "where": moment.where,
            "state": moment.state,
            "pictures": [_shown(glimpse) for glimpse in moment.pictures],
        }
        for moment in highlights
    ]
    return Section("moments", title, lead, render("moments.html", moments=given, plot=traces))


def filmstrip(frames: Sequence[Glimpse], traces: str) -> Markup:
    """Frames side by side; a click shows each in the plot named ``traces``."""
    return render("strip.html", frames=[_shown(frame) for frame in frames], plot=traces)


def model_section(
    header: Mapping[str, Any], name: str = "model", title: str = "Model card"
) -> Section:
    """The card of a model file, from ``model_file.header``."""
    provenance, bounds = header["provenance"], header["bounds"]
    training, data = provenance.get("training", {}), provenance.get("data", {})
    size = header["input"]
    facts = [
        ("sha256", header["sha256"]),
        ("size", f"{header['size_bytes'] / 1000:.0f} kB"),
        ("input", f"{size['width']}x{size['height']} {size['colour']}, "
                  f"{header['frame_rate_hz']:g} Hz"),
        ("heads", ", ".join(
            f"{name}, {info['unit']}" + ("" if info["trained"] else " (never trained)")
            for name, info in header["heads"].items())),
        ("levels", _levels(header["levels"])),
        ("settles within", f"{bounds['settling_steps']} time-steps, proven"),
        ("accumulator", f"{bounds['accumulator']:,} of {bounds['accumulator_limit']:,}"),
        ("data", ", ".join(str(bag.get("name", "?")) for bag in data.get("bags", []))
                 or str(data.get("source", "unknown"))),
        ("licence", ", ".join(sorted({str(bag.get("about", {}).get("licence", "unknown"))
                                      for bag in data.get("bags", [])}))
                    or str(data.get("licence", "unknown"))),
        ("command", str(provenance.get("command", "unknown"))),
        ("seed", str(training.get("seed", "unknown"))),
    ]  # fmt: skip
    if len(facts[7][1]) > 200:
        facts[7] = ("data", f"{len(data['bags'])} bags")
    shown = {key: value for key, value in header.items() if key != "tensors"}
    body = render("card.html", facts=facts, everything=json.dumps(shown, indent=1))
    return Section(name, title, "What the model file says of itself.", body)


def _levels(levels: Mapping[str, Sequence[int]]) -> str:
    """Layers by their range of counts: "stem, block1: 0..7; rnn: -7..7"."""
    by_range: dict[str, list[str]] = {}
    for layer, (low, high) in levels.items():
        by_range.setdefault(f"{low}..{high}", []).append(layer)
    return "; ".join(f"{', '.join(names)}: {span}" for span, names in by_range.items())


def _shown(glimpse: Glimpse) -> dict[str, Any]:
    return {
        "source": picture(glimpse.image),
        "caption": glimpse.caption,
        "alt": f"camera frame, {glimpse.caption}",
        "time_s": glimpse.time_s,
    }
