"""Sections -> one self-contained HTML file."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.evaluation.pictures import jpeg
from crnn_snn_ros.io.atomic import replacing

try:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.graph_objects import Figure
    from plotly.offline import get_plotlyjs
except ImportError as error:
    raise ImportError("reports need plotly, jinja2: pip install 'crnn_snn_ros[report]'") from error

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "Figure",
    "Markup",
    "Plot",
    "Report",
    "Section",
    "State",
    "Tile",
    "join",
    "picture",
    "plot",
    "render",
    "write",
]

State = Literal["good", "warn", "bad", "plain"]


@dataclass(frozen=True)
class Tile:
    """One number that a reader sees first."""

    label: str
    value: str
    note: str = ""
    state: State = "plain"


@dataclass(frozen=True)
class Plot:
    """An interactive figure."""

    name: str  # unique among plots: letters, digits and dashes
    figure: Figure
    height_px: int
    alt: str  # what it shows, for those who do not see it
    zoom: bool = False  # buttons that zoom along the time axis


@dataclass(frozen=True)
class Section:
    """One part of the page."""

    name: str  # unique among sections: letters, digits and dashes
    title: str
    lead: str  # one or two sentences: how to read it
    body: Markup


@dataclass(frozen=True)
class Report:
    """A whole page."""

    title: str
    subtitle: str
    verdict: Sequence[tuple[State, str]]  # sentences
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    footer: str = ""


def write(path: Path, report: Report) -> None:
    """Write the page; it appears under its name when it is whole.

    Raises:
        OSError: the disk refuses.
    """
    page = render("page.html", report=report, plotly_js=Markup(_plotly_js()))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def render(template: str, **values: Any) -> Markup:
    """HTML of a template; whatever is not ``Markup`` already is escaped."""
    return Markup(_environment().get_template(template).render(**values))


def plot(part: Plot) -> Markup:
    """A figure and its data; the page's script draws it."""
    # No "<" can end the script element that carries the data.
    data = str(part.figure.to_json()).replace("<", "\\u003c")
    return render("plot.html", plot=part, data=Markup(data))


def join(parts: Iterable[Markup]) -> Markup:
    """Parts of a section, one after another."""
    return Markup("\n").join(parts)


def picture(image: NDArray[np.uint8], quality: int = 80) -> str:
    """A ``data:`` address of an RGB picture."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg(image, quality)).decode()}"


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("crnn_snn_ros.evaluation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _plotly_js() -> str:
    return str(get_plotlyjs()).replace("</script", "<\\/script")
