"""Several models on the same drives: which is better, how sure that is, and what each costs.

Models have letters, A for the first, which all others are compared with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crnn_snn_ros.evaluation.comparison import Difference, differences
from crnn_snn_ros.evaluation.energy import totals_uj
from crnn_snn_ros.evaluation.findings import Findings
from crnn_snn_ros.evaluation.metrics import judged
from crnn_snn_ros.evaluation.moments import AROUND_S, Moment, shown_at
from crnn_snn_ros.evaluation.pictures import annotate
from crnn_snn_ros.evaluation.recording import COLLISION_COLUMN, STEERING_COLUMN
from crnn_snn_ros.evaluation.report.activity import versus_section
from crnn_snn_ros.evaluation.report.collision import collision_section, nothing_section
from crnn_snn_ros.evaluation.report.metrics_table import FIGURES, interval, number
from crnn_snn_ros.evaluation.report.page import Report, Section, State, Tile
from crnn_snn_ros.evaluation.report.plots import Panel, Timeline
from crnn_snn_ros.evaluation.report.replay_report import TRACES, breaks
from crnn_snn_ros.evaluation.report.sections import (
    Cell,
    Glimpse,
    Highlight,
    model_section,
    moments_section,
    table,
    table_section,
    traces_section,
)

LETTERS = "ABCD"
_THUMBNAIL_PX = 200
_BETTER: dict[bool | None, State] = {True: "good", False: "bad", None: "plain"}

Models = Mapping[str, Findings]  # by letter


def compare_report(found: Sequence[Findings], gaps: Sequence[Moment]) -> Report:
    """Put the report of a comparison together.

    Args:
        found: Of two to four models on the same drives.
        gaps: Where the first two steer most differently.
    """
    models = dict(zip(LETTERS, found, strict=False))
    first = found[0]
    told = {
        letter: differences(
            first.recording,
            other.recording,
            first.summary["threshold"],
            collision=first.trained and other.trained,
        )
        for letter, other in list(models.items())[1:]
    }
    names = ", ".join(f"{letter} {model.model_name}" for letter, model in models.items())
    drives = first.recording.drives
    where = ", ".join(drives[:3]) + (f" and {len(drives) - 3} more" if len(drives) > 3 else "")
    time_s = first.recording.times_s()
    sections = [
        _figures(models, told),
        *_gaps(models, gaps),
        _traces(models),
        _collision(models),
        versus_section(models, breaks(first.recording)),
        *(
            model_section(model.header, f"model-{letter.lower()}", f"Model {letter}")
            for letter, model in models.items()
        ),
    ]
    return Report(
        f"Models compared: {names}",
        f"{len(first.recording)} frames of {where}, {time_s[-1]:.0f} s",
        _verdict(models, told),
        _tiles(models),
        sections,
        "Figures are of the spiking networks. Steering is positive to the left. Intervals are at "
        "95 %, by a bootstrap over segments of 1 to 5 s, the same ones for all models. Written by "
        "crnn-snn replay --compare.",
    )


def _verdict(
    models: Models, told: Mapping[str, Mapping[str, Difference]]
) -> list[tuple[State, str]]:
    sentences: list[tuple[State, str]] = []
    for letter, model in models.items():
        wrong = model.summary["qann_snn_differences"]
        cut = model.summary["settled_fraction"] < 1.0
        if wrong or cut:
            text = f"{letter}: QANN and SNN differ on {wrong} frames"
            sentences.append(("bad", text + (", and frames did not settle." if cut else ".")))
    for letter, found in told.items():
        for name, title, *_ in FIGURES[:1] + FIGURES[2:3]:
            if name in found:
                sentences.append(_sentence(letter, title, name, models, found[name]))
        sentences.append(_cost_sentence(letter, models))
    return sentences


def _sentence(
    letter: str, title: str, name: str, models: Models, found: Difference
) -> tuple[State, str]:
    values = [models[who].summary[name]["snn"] for who in ("A", letter)]
    better = found.better(name)
    said = f"{letter}'s {title} is {values[1]:.3g}, A's {values[0]:.3g}"
    if better is None:
        return "plain", f"{said}: with this data it is not sure which is better."
    ends = (
        "" if found.ci95 is None else f", by {found.ci95[0]:+.2g} to {found.ci95[1]:+.2g} at 95 %"
    )
    return _BETTER[better], f"{said}: {letter} is {'better' if better else 'worse'}{ends}."


def _cost_sentence(letter: str, models: Models) -> tuple[State, str]:
    one, other = models["A"].summary, models[letter].summary
    share = other["spikes_per_frame"] / max(one["spikes_per_frame"], 1.0)
    return "plain", (
        f"{letter} fires {share:.2f} times as many spikes as A and settles after "
        f"{other['settle_steps_mean']:.1f} time-steps on average, A after "
        f"{one['settle_steps_mean']:.1f}."
    )


def _tiles(models: Models) -> list[Tile]:
    tiles = []
    for letter, model in models.items():
        summary = model.summary
        error = summary["steering_rmse"]["snn"]
        exact = summary["qann_snn_differences"] == 0 and summary["settled_fraction"] == 1.0
        note = f"{summary['settle_steps_mean']:.1f} steps, "
        note += "exact" if exact else "NOT exact"
        value = "no label" if error is None else f"{error:.3g}"
        state: State = "plain" if exact else "bad"
        label = f"{letter} {model.model_name}: steering RMSE, rad"
        tiles.append(Tile(label, value, note, state))
    return tiles


def _figures(models: Models, told: Mapping[str, Mapping[str, Difference]]) -> Section:
    rows: list[Sequence[Cell]] = []
    for name, title, small, _ in FIGURES:
        steering = name.startswith("steering")
        judged_of = {letter for letter, model in models.items() if steering or model.trained}
        if all(models[letter].summary[name]["snn"] is None for letter in judged_of):
            continue
        threshold = models["A"].summary["threshold"]
        cells: list[Cell] = [(title, small.format(threshold=threshold))]
        for letter, model in models.items():
            value, ends = model.summary[name]["snn"], model.summary["ci95"][name]["snn"]
            cells.append((number(value), interval(ends)) if letter in judged_of else "untrained")
            if letter in told:
                cells.append(_difference(letter, name, told[letter].get(name)))
        rows.append(cells)
    head = [""]
    for letter in models:
        head += [letter] if letter == "A" else [letter, f"{letter} - A"]
    costs = table(_costs(models), ["", *models], "What it costs, per frame")
    lead = (
        "Of the spiking networks, with 95 % intervals. The difference is taken on the same frames "
        "in every draw, so it may be sure though two intervals overlap."
    )
    return table_section("figures", "Figures", lead, table(rows, head), costs)


def _difference(letter: str, name: str, found: Difference | None) -> Cell:
    if found is None:
        return "-"
    better = found.better(name)
    word = {True: f"{letter} is better", False: "A is better", None: "not sure"}[better]
    return f"{found.value:+.3g}", f"{interval(found.ci95)} {word}".strip()


def _costs(models: Models) -> list[Sequence[Cell]]:
    energies = [totals_uj(model.costs()) for model in models.values()]

    def row(title: Cell, values: Sequence[Any]) -> Sequence[Cell]:
        return [title, *(str(value) for value in values)]

    summaries = [model.summary for model in models.values()]
    headers = [model.header for model in models.values()]
    return [
        row(("time-steps", "mean, most, proven bound"), [
            f"{s['settle_steps_mean']:.1f}, {s['settle_steps_max']}, "
            f"{h['bounds']['settling_steps']}"
            for s, h in zip(summaries, headers, strict=True)]),
        row("spikes", [f"{s['spikes_per_frame']:,.0f}" for s in summaries]),
        row("additions by spikes",
            [f"{s['synaptic_operations_per_frame']:,.0f}" for s in summaries]),
        row("multiply-accumulates as an ordinary network",
            [f"{s['dense_operations_per_frame']:,.0f}" for s in summaries]),
        row(("energy of the SNN", "arithmetic alone, 45 nm"),
            [f"{energy['snn']:.2f} µJ" for energy in energies]),
        row(("energy of the QANN", "the same network, not spiking"),
            [f"{energy['qann']:.2f} µJ" for energy in energies]),
        row("model file", [f"{h['size_bytes'] / 1000:.0f} kB" for h in headers]),
        row(("speed of this replay", "pipeline alone"),
            [f"{s['fps']:.0f} frames/s" for s in summaries]),
    ]  # fmt: skip


def _gaps(models: Models, gaps: Sequence[Moment]) -> list[Section]:
    if not gaps:
        return []
    one, other = models["A"].recording, models["B"].recording
    time_s, images = one.times_s(), models["A"].images
    shown = []
    for moment in gaps:
        pictures = []
        captions = (f"{AROUND_S:g} s before", "at", f"{AROUND_S:g} s after")
        for row, caption in zip(moment[2:], captions, strict=True):
            rival = float(other.rows["snn"][row, STEERING_COLUMN])
            drawn = shown_at(one, row, collision=False)._replace(rival_steering_rad=rival)
            picture = annotate(images[row], drawn, _THUMBNAIL_PX)
            pictures.append(Glimpse(picture, caption, float(time_s[row])))
        drive = int(one.rows["drive"][moment.at])
        begin = float(time_s[np.searchsorted(one.rows["drive"], drive)])
        where = f"{one.drives[drive]}, {time_s[moment.at] - begin:.2f} s"
        shown.append(Highlight(moment.kind, moment.text, where, float(time_s[moment.at]),
                               pictures, "warn"))  # fmt: skip
    lead = (
        "White arc: the recorded steering, blue: A's, orange: B's. Click one to see it in the "
        "traces."
    )
    return [moments_section(shown, TRACES, lead, "Where A and B differ most")]


def _traces(models: Models) -> Section:
    first = models["A"].recording
    truth = first.rows["truth"]

    def lines(column: int) -> dict[str, Any]:
        return {
            letter: model.recording.rows["snn"][:, column]
            for letter, model in models.items()
            if column == STEERING_COLUMN or model.trained
        }

    labels = truth[:, COLLISION_COLUMN]
    known = np.isfinite(labels).any()
    panels = [Panel("steering, rad", {"truth": truth[:, STEERING_COLUMN],
                                      **lines(STEERING_COLUMN)})]  # fmt: skip
    if lines(COLLISION_COLUMN):
        panels.append(
            Panel(
                "collision probability",
                lines(COLLISION_COLUMN),
                shaded=np.nan_to_num(labels) >= 0.5 if known else None,
                span=(0.0, 1.02),
                level=float(models["A"].summary["threshold"]),
            )
        )
    speeds = {letter: model.recording.rows["command"][:, 0] for letter, model in models.items()}
    panels.append(Panel("commanded speed, m/s", speeds, steps=True))
    timeline = Timeline(TRACES, first.times_s(), panels, breaks(first))
    lead = "Drag sideways to zoom, double-click for all, or use the buttons."
    return traces_section(timeline, lead)


def _collision(models: Models) -> Section:
    parts = {
        letter: part
        for letter, model in models.items()
        if model.trained and len((part := judged(model.recording, "snn", COLLISION_COLUMN)).frames)
    }
    if not parts:
        return nothing_section(
            "These drives carry no collision label, or no model's collision output was trained."
        )
    threshold = float(models["A"].summary["threshold"])
    return collision_section(parts, threshold, each=True)
