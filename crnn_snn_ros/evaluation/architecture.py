"""A network on one page, drawn from its graph as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from crnn_snn_ros.core.bounds import prove
from crnn_snn_ros.core.graph import (
    INPUT,
    Conv,
    Head,
    Linear,
    MaxPool,
    Neurons,
    Node,
    SumPool,
    Synapse,
    sources,
    validate,
)
from crnn_snn_ros.evaluation.synops import OperationCounter, fan_out
from crnn_snn_ros.io.atomic import replacing
from crnn_snn_ros.io.model_schema import Model

WIDTH, TOP, ROW, BOX = 1020, 134, 56, 38
LEFT, BOX_WIDTH = 120, 250  # of the boxes
COLUMNS = {"synapses": 420, "shape": 660, "counts": 760, "settles within": 905, "MAC": 995}
FONT = "system-ui, 'DejaVu Sans', Helvetica, Arial, sans-serif"
TIMES = "\u00d7"
INK, SOFT, LINE = "#16202c", "#5b6776", "#8a96a5"
LOOKS = {  # fill and edge
    "input": ("#f5f7fa", "#8a96a5"),
    "BIF": ("#dcecfb", "#1583d8"),
    "RBIF": ("#ece0f5", "#7a5195"),
    "pool": ("#eeeeee", "#8a96a5"),
    "head": ("#dff3e6", "#009e73"),
}
NOTES = (
    "BIF: bipolar integrate-and-fire. Each frame V ← B + r, r = ⌊θ/2⌋, S ← 0. At each time-step "
    "V ← V + Σ W s;",
    "s = +1 if V ≥ θ and S < hi, -1 if V < 0 and S > lo, else 0;  V ← V - θ s,  S ← S + s.",
    "RBIF: the same with u s_rec, the count of the frame before, which returns as sign(S) for |S| "
    "time-steps. Nothing else crosses.",
    "s-analog: the picture is charged at time-step 1 only. When no spike is in flight, S is the "
    "quantized activation, exactly.",
)


def draw(path: Path, model: Model, name: str, header: Mapping[str, Any]) -> None:
    """Write the picture of a model.

    Args:
        path: Of the SVG file.
        model: To draw.
        name: To show.
        header: Of its file.

    Raises:
        OSError: the disk refuses.
    """
    data = ElementTree.tostring(_page(model, name, str(header["sha256"])), encoding="unicode")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(data + "\n", encoding="utf-8")


def _page(model: Model, name: str, sha256: str) -> ElementTree.Element:
    graph, bounds = model.graph, prove(model.graph)
    shapes, counter = validate(graph), OperationCounter(graph)
    height = TOP + ROW * (len(graph.nodes) + 1) + 26 + 19 * len(NOTES)
    svg = ElementTree.Element(
        "svg",
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {height}",
        width=str(WIDTH),
        height=str(height),
        role="img",
    )
    _add(svg, "title", text=f"Architecture of {name}")
    _add(svg, "rect", width=WIDTH, height=height, fill="#ffffff")
    _text(svg, 24, 40, name, size=22, weight="bold")
    facts = (
        f"{counter.dense():,} multiply-accumulates a frame as an ordinary network; sha256 "
        f"{sha256[:12]}",
        f"proven: settles within {bounds.settling_steps} time-steps, accumulators up to "
        f"{bounds.accumulator:,} of 2^24",
    )
    for number, fact in enumerate(facts):
        _text(svg, 24, 64 + 18 * number, fact, size=13, fill=SOFT)
    for title, x in COLUMNS.items():
        _text(svg, x, TOP - 16, title, size=12, fill=SOFT, anchor=_anchor(title))
    rows = {INPUT: 0} | {node.name: n for n, node in enumerate(graph.nodes, 1)}
    _arrows(svg, graph.nodes, rows)
    _box(svg, 0, "input", "camera frame", "input")
    contract = model.contract
    _cell(svg, 0, "synapses", f"{contract.colour}, pixel - 128")
    _cell(svg, 0, "shape", _shape(graph.input_shape))
    _cell(svg, 0, "counts", "-128..127")
    macs = _operations(model)
    for number, node in enumerate(graph.nodes, 1):
        _row(svg, number, node, model)
        _cell(svg, number, "shape", _shape(shapes[node.name]))
        _cell(svg, number, "settles within", str(bounds.layer_steps[node.name]))
        if node.name in macs:
            _cell(svg, number, "MAC", f"{macs[node.name]:,}")
    for number, note in enumerate(NOTES):
        y = TOP + ROW * (len(graph.nodes) + 1) + 14 + 19 * number
        _text(svg, 24, y, note, size=12, fill=SOFT)
    return svg


def _row(svg: ElementTree.Element, number: int, node: Node, model: Model) -> None:
    if isinstance(node, Neurons):
        kind = "BIF" if node.recurrent is None else "RBIF"
        _box(svg, number, node.name, kind, kind)
        _cell(svg, number, "counts", f"{node.n_min}..{node.n_max}")
    elif isinstance(node, Head):
        info = model.heads[node.name]
        unit = f"{info.unit}{'' if info.trained else ', never trained'}"
        _box(svg, number, node.name, unit, "head")
        _cell(svg, number, "counts", "an integer sum")
    else:
        _box(
            svg, number, node.name, "max-pool" if isinstance(node, MaxPool) else "sum-pool", "pool"
        )
    _cell(svg, number, "synapses", _synapses(node))


def _synapses(node: Node) -> str:
    if isinstance(node, MaxPool):
        return f"largest of {node.kernel}{TIMES}{node.kernel}, every {node.stride}"
    if isinstance(node, SumPool):
        return f"sum of {node.kernel[0]}{TIMES}{node.kernel[1]}"
    return " + ".join(_synapse(synapse) for synapse in node.synapses)


def _synapse(synapse: Synapse) -> str:
    if isinstance(synapse, Conv):
        high, wide = synapse.weight.shape[2:]
        stride = f" /{synapse.stride}" if synapse.stride > 1 else ""
        return f"conv {high}{TIMES}{wide}{stride}"
    return "dense" if isinstance(synapse, Linear) else f"shortcut of {synapse.source}"


def _operations(model: Model) -> dict[str, int]:
    """Multiply-accumulates of each node's synapses, those with a convolution's border left out."""
    shapes = validate(model.graph)
    return {
        node.name: sum(int(fan_out(s, shapes[s.source]).sum()) for s in node.synapses)
        for node in model.graph.nodes
        if isinstance(node, Neurons | Head)
    }


def _arrows(svg: ElementTree.Element, nodes: tuple[Node, ...], rows: Mapping[str, int]) -> None:
    """Straight down to the next row, round the left side to a later one, a loop for recurrence."""
    defs = _add(svg, "defs")
    tip = _add(defs, "marker", id="tip", viewBox="0 0 8 8", refX=7, refY=4, markerWidth=7,
               markerHeight=7, orient="auto")  # fmt: skip
    _add(tip, "path", d="M0,0 L8,4 L0,8 z", fill=LINE)
    middle = LEFT + BOX_WIDTH / 2
    for node in nodes:
        row = rows[node.name]
        for source in dict.fromkeys(sources(node)):
            skipped = row - rows[source] - 1
            begin, end = _y(rows[source]) + BOX, _y(row)
            if not skipped:
                path = f"M{middle},{begin} L{middle},{end - 2}"
            else:
                out = LEFT - 22 - 9 * min(skipped, 8)
                low, high = _y(rows[source]) + BOX * 0.7, _y(row) + BOX * 0.3
                path = f"M{LEFT},{low} C{out},{low} {out},{high} {LEFT - 2},{high}"
            _add(svg, "path", d=path, fill="none", stroke=LINE, stroke_width=1.6,
                 marker_end="url(#tip)")  # fmt: skip
        if isinstance(node, Neurons) and node.recurrent is not None:
            right, y = LEFT + BOX_WIDTH, _y(row)
            loop = (f"M{right},{y + BOX - 8} C{right + 34},{y + BOX - 2} {right + 34},{y + 2} "
                    f"{right + 2},{y + 9}")  # fmt: skip
            edge = LOOKS["RBIF"][1]
            _add(svg, "path", d=loop, fill="none", stroke=edge, stroke_width=1.6,
                 marker_end="url(#tip)")  # fmt: skip


def _box(svg: ElementTree.Element, row: int, name: str, kind: str, look: str) -> None:
    fill, edge = LOOKS[look]
    _add(svg, "rect", x=LEFT, y=_y(row), width=BOX_WIDTH, height=BOX, rx=7, fill=fill, stroke=edge,
         stroke_width=1.4)  # fmt: skip
    _text(svg, LEFT + 12, _y(row) + 24, name, size=14, weight="bold")
    _text(svg, LEFT + BOX_WIDTH - 12, _y(row) + 24, kind, size=12, fill=SOFT, anchor="end")


def _cell(svg: ElementTree.Element, row: int, column: str, text: str) -> None:
    _text(svg, COLUMNS[column], _y(row) + 24, text, size=13, anchor=_anchor(column))


def _anchor(column: str) -> str:
    return "end" if column in ("settles within", "MAC") else "start"


def _y(row: int) -> int:
    return TOP + ROW * row


def _shape(shape: tuple[int, ...]) -> str:
    return f" {TIMES} ".join(map(str, shape))


def _text(
    svg: ElementTree.Element,
    x: float,
    y: float,
    text: str,
    *,
    size: int,
    fill: str = INK,
    anchor: str = "start",
    weight: str = "normal",
) -> None:
    _add(svg, "text", text=text, x=x, y=y, font_family=FONT, font_size=size, fill=fill,
         text_anchor=anchor, font_weight=weight)  # fmt: skip


def _add(
    parent: ElementTree.Element, tag: str, *, text: str | None = None, **attributes: Any
) -> ElementTree.Element:
    named = {key.replace("_", "-"): f"{value}" for key, value in attributes.items()}
    element = ElementTree.SubElement(parent, tag, named)
    element.text = text
    return element
