"""How ``crnn-snn replay`` shows its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from crnn_snn_ros.cli.output import print_columns, print_table


def print_replay(title: str, result: Mapping[str, Any]) -> None:
    """Figures of the networks side by side, intervals below them; then what they share."""
    networks = ("float", "qann", "snn", "predict_mean")
    rows = []
    for name, values in result.items():
        if isinstance(values, dict) and name != "ci95":
            ends = result["ci95"].get(name, {})
            rows += _rows(name, [values.get(n) for n in networks], [ends.get(n) for n in networks])
    if rows:
        print_columns(title, ("", *networks), rows)
    common = {name: value for name, value in result.items() if not isinstance(value, dict)}
    print_table("" if rows else title, common)


def _rows(name: str, values: list[Any], ends: list[Any]) -> list[list[str]]:
    """One row for a figure, several for one with parts, none where nothing is known."""
    parts = next((list(value) for value in values if isinstance(value, dict)), None)
    if parts is not None:
        told = [value or {} for value in values]
        by_part = [(part, [value.get(part) for value in told]) for part in parts]
        return [row for part, v in by_part for row in _rows(f"{name} {part}", v, [None] * len(v))]
    if all(value is None for value in values):
        return []
    cells = [
        "" if value is None else f"{value:.4g}" + (f"\n{e[0]:.3g}..{e[1]:.3g}" if e else "")
        for value, e in zip(values, ends, strict=True)
    ]
    return [[name, *cells]]


def print_comparison(names: Sequence[str], results: Sequence[Mapping[str, Any]]) -> None:
    """The spiking networks side by side, and how the others differ from the first."""
    from crnn_snn_ros.evaluation.metrics import COLLISION_FIGURES, STEERING_FIGURES

    rows = []
    for figure in (*STEERING_FIGURES, *COLLISION_FIGURES):
        values = [result[figure]["snn"] for result in results]
        ends = [result["ci95"][figure]["snn"] for result in results]
        rows += _rows(figure, values, ends)
        for number, result in enumerate(results[1:], 1):
            found = result["difference"].get(figure)
            if found is not None:
                word = {True: "better", False: "worse", None: "not sure"}[found["better"]]
                cells = [""] * len(names)
                cells[number] = f"{found['value']:+.3g} {word}"
                if found["ci95"]:
                    cells[number] += "\n{:+.3g}..{:+.3g}".format(*found["ci95"])
                rows.append(["  less the first's", *cells])
    for figure in ("settle_steps_mean", "settle_steps_max", "spikes_per_frame",
                   "synaptic_operations_per_frame", "qann_snn_differences"):  # fmt: skip
        rows += _rows(figure, [result[figure] for result in results], [None] * len(results))
    print_columns("compared, SNN", ("", *names), rows)
