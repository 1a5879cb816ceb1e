"""What fewer time-steps cost, and what the older encoding costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crnn_snn_ros.evaluation.cutting import EncodingErrors
from crnn_snn_ros.evaluation.report.page import Figure, Plot, Section, plot
from crnn_snn_ros.evaluation.report.plots import COLOURS, LAYER_COLOURS, base


def cut_section(error_by_step: Mapping[str, Sequence[float]], frames: int) -> Section:
    """Error of the outputs when a frame is cut after T time-steps.

    Args:
        error_by_step: By the name of an output, mean |difference| to the settled one, from T = 1.
        frames: How many frames it was taken of.
    """
    lead = (
        f"Mean distance to the settled output when a frame is cut early, over {frames} frames "
        "spread over the drives. The robot never acts on a frame that was cut."
    )
    return Section("cut", "What cutting would cost", lead, plot(cut_plot(error_by_step)))


def encoding_section(found: EncodingErrors) -> Section:
    """Error of s-analog and of m-analog over the number of time-steps of every frame."""
    data = [
        {"type": "scatter", "mode": "lines+markers", "name": name, "x": list(found.steps),
         "y": list(errors), "line": {"color": COLOURS[shade], "width": 2},
         "hovertemplate": "T = %{x}: %{y:.4f} rad"}
        for name, errors, shade in (("m-analog", found.m_analog, "float"),
                                    ("s-analog", found.s_analog, "SNN"))
    ]  # fmt: skip
    ticks = [2**power for power in range(int(found.steps[-1]).bit_length())]
    layout = base(
        300,
        xaxis={"title": {"text": "time-steps of every frame, T"}, "type": "log",
               "tickvals": ticks, "ticktext": [str(t) for t in ticks],
               "fixedrange": True, "zeroline": False},
        yaxis={"title": {"text": "mean error, rad"}, "rangemode": "tozero", "fixedrange": True,
               "automargin": True},
    )  # fmt: skip
    chart = Plot("encodings", Figure({"data": data, "layout": layout}), 300, "Error of encodings")
    wrong = [number for number, error in enumerate(found.s_analog) if error != 0.0]
    exact = found.steps[wrong[-1] + 1 :] if wrong else found.steps
    zero = f" With s-analog it is zero from T = {exact[0]} on." if exact else ""
    lead = (
        f"Distance of the steering to the QANN's over a stream of {found.frames} frames from empty "
        "state, T time-steps for each. s-analog, on which this network runs, charges a frame's "
        "current at the first time-step; m-analog charges it at every one and reads a rate. Its "
        f"error at T = {found.steps[-1]} is {found.m_analog[-1]:.2g} rad.{zero}"
    )
    return Section("encodings", "s-analog against m-analog", lead, plot(chart))


def cut_plot(error_by_step: Mapping[str, Sequence[float]], title: str = "") -> Plot:
    """Errors from T = 1 on, a line for each name."""
    data = [
        {"type": "scatter", "mode": "lines+markers", "name": name, "x": list(range(1, len(e) + 1)),
         "y": list(e), "line": {"color": COLOURS.get(name, LAYER_COLOURS[3 * i]), "width": 2},
         "hovertemplate": "T = %{x}: %{y:.4f}"}
        for i, (name, e) in enumerate(error_by_step.items())
    ]  # fmt: skip
    named = {"title": {"text": title, "x": 0, "font": {"size": 14}},
             "margin": {"l": 52, "r": 12, "t": 64, "b": 42}} if title else {}  # fmt: skip
    layout = base(
        300,
        xaxis={"title": {"text": "cut after T time-steps"}, "zeroline": False},
        yaxis={"title": {"text": "mean |error|"}, "rangemode": "tozero"},
        **named,
    )
    return Plot("cut", Figure({"data": data, "layout": layout}), 300, "Error over the cut")
