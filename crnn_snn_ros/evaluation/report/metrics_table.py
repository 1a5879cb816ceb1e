"""The table of a replay's figures, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from crnn_snn_ros.evaluation.recording import NETWORKS
from crnn_snn_ros.evaluation.report.activity import NETWORK_NAMES
from crnn_snn_ros.evaluation.report.page import Section
from crnn_snn_ros.evaluation.report.sections import Cell, table, table_section

_NONE = "-"
FIGURES = (
    ("steering_rmse", "steering RMSE", "rad", "the mean"),
    ("steering_explained_variance", "explained variance", "of the steering", ""),
    ("collision_auroc", "AUROC", "of the collision probability", ""),
    ("collision_auprc", "average precision", "area below precision over recall", "the mean"),
    ("collision_f1", "F1", "from p = {threshold:g} on", ""),
    ("collision_ece", "calibration error", "expected, 10 bins", ""),
)


def metrics_section(summary: Mapping[str, Any]) -> Section:
    """Figures of ``metrics.summarise``, float, QANN and SNN side by side."""
    ran = summary["command_roughness"]["float"] is not None
    networks = [network for network in NETWORKS if ran or network != "float"]
    rows: list[Sequence[Cell]] = []
    for name, title, small, baseline in FIGURES:
        values = summary[name]
        if all(values[network] is None for network in networks):
            continue
        ends = summary["ci95"][name]
        cells: list[Cell] = [(title, small.format(threshold=summary["threshold"]))]
        cells += [(number(values[network]), interval(ends[network])) for network in networks]
        cells.append((number(values.get("predict_mean")), baseline))
        rows.append(cells)
    rows += _driving(summary, networks)
    head = ("", *(NETWORK_NAMES[network] for network in networks), "baseline")
    work = table(_work(summary), caption="The spiking network at work")
    lead = (
        f"{summary['labelled_frames']} frames with a steering label, "
        f"{summary['collision_labelled_frames']} with a collision label; 95 % intervals below the "
        "figures."
    )
    return table_section("metrics", "Figures", lead, table(rows, head), work)


def _driving(summary: Mapping[str, Any], networks: Sequence[str]) -> list[Sequence[Cell]]:
    def row(title: Cell, name: str, text: Callable[[Any], Cell]) -> Sequence[Cell] | None:
        values = summary[name]
        if all(values[network] is None for network in networks):
            return None
        cells = [_NONE if values[n] is None else text(values[n]) for n in networks]
        return [title, *cells, _NONE]

    def warned(value: Any) -> Cell:
        lead = value["lead_s_median"]
        small = "" if lead is None else f"median {lead:+.2f} s, {value['in_time']} in time"
        return f"{value['warned']} of {value['events']}", small

    found = (
        row(("events warned of", "before the collision label begins"),
            "time_to_warn", warned),
        row(("false stops a minute", f"from p = {summary['stop_threshold']:g} on"),
            "false_stops_per_minute", number),
        row(("change of the speed", "m/s², RMS of the commands"), "command_roughness",
            lambda value: number(value["linear_mps2"])),
        row(("change of the yaw rate", "rad/s², RMS of the commands"), "command_roughness",
            lambda value: number(value["angular_radps2"])),
    )  # fmt: skip
    return [cells for cells in found if cells is not None]


def _work(summary: Mapping[str, Any]) -> list[Sequence[Cell]]:
    return [
        ["QANN and SNN differ on", f"{summary['qann_snn_differences']} of {summary['frames']} "
                                   "frames"],
        ["frames settled", f"{100 * summary['settled_fraction']:.2f} %"],
        ["time-steps to settle", f"mean {summary['settle_steps_mean']:.2f}, "
                                 f"max {summary['settle_steps_max']}"],
        ["spikes per frame", f"{summary['spikes_per_frame']:,.0f}"],
        ["additions by spikes per frame", f"{summary['synaptic_operations_per_frame']:,.0f}"],
        ["multiply-accumulates of the first layer",
         f"{summary['input_operations_per_frame']:,.0f}"],
        ["multiply-accumulates of the ordinary network",
         f"{summary['dense_operations_per_frame']:,.0f}"],
        ["speed of this replay, pipeline alone", f"{summary['fps']:.1f} frames/s"],
    ]  # fmt: skip


def number(value: float | None) -> str:
    """Three digits, or a dash."""
    return _NONE if value is None else f"{value:.3g}"


def interval(ends: Sequence[float] | None) -> str:
    """Both ends of an interval, if there is one."""
    return "" if ends is None else f"{ends[0]:.3g}..\u200b{ends[1]:.3g}"  # may break there
