"""The report of a replay: is the model to be trusted, and where was it wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.evaluation.findings import Findings
from crnn_snn_ros.evaluation.metrics import judged
from crnn_snn_ros.evaluation.moments import AROUND_S, Moment, shown_at
from crnn_snn_ros.evaluation.pictures import annotate
from crnn_snn_ros.evaluation.recording import (
    COLLISION_COLUMN,
    NETWORKS,
    STEERING_COLUMN,
    Recording,
)
from crnn_snn_ros.evaluation.report import verdict
from crnn_snn_ros.evaluation.report.activity import (
    NETWORK_NAMES,
    energy_section,
    raster_section,
    spikes_section,
)
from crnn_snn_ros.evaluation.report.collision import collision_section, nothing_section
from crnn_snn_ros.evaluation.report.cutting_sections import cut_section, encoding_section
from crnn_snn_ros.evaluation.report.metrics_table import metrics_section
from crnn_snn_ros.evaluation.report.page import Report, Section
from crnn_snn_ros.evaluation.report.plots import Panel, Timeline
from crnn_snn_ros.evaluation.report.sections import (
    Glimpse,
    Highlight,
    model_section,
    moments_section,
    traces_section,
)
from crnn_snn_ros.pipeline import COLLISION

TRACES = "traces"
_THUMBNAIL_PX = 200


def replay_report(found: Findings) -> Report:
    """Put the report of a replay together."""
    drives = found.recording.drives
    names = ", ".join(drives[:3]) + (f" and {len(drives) - 3} more" if len(drives) > 3 else "")
    time_s = found.recording.times_s()
    subtitle = (
        f"{len(found.recording)} frames of {names}, {time_s[-1]:.0f} s; "
        f"model sha256 {found.header['sha256'][:12]}"
    )
    sections = [
        *_moments(found),
        _traces(found),
        metrics_section(found.summary),
        _collision(found),
        spikes_section(
            time_s,
            found.recording.rows["settle_steps"],
            int(found.header["bounds"]["settling_steps"]),
            found.recording.layers,
            found.recording.rows["layer_spikes"],
            breaks(found.recording),
        ),
        *([raster_section(found.rasters)] if found.rasters else []),
        *([cut_section(_judged_cuts(found), found.cut_frames)] if found.cut_frames else []),
        *([encoding_section(found.encodings)] if found.encodings is not None else []),
        energy_section(found.costs()),
        model_section(found.header),
    ]
    sentences, tiles = verdict.judge(found.summary, found.header)
    return Report(
        f"{found.model_name}: replay of {names}",
        subtitle,
        sentences,
        tiles,
        sections,
        "Steering is positive to the left. Intervals are at 95 %, by a bootstrap over segments of "
        "1 to 5 s. Written by crnn-snn replay.",
    )


def _moments(found: Findings) -> list[Section]:
    time_s = found.recording.times_s()
    shown = [_highlight(found, moment, time_s) for moment in found.moments]
    if not shown:
        return []
    lead = (
        "White arc: the recorded steering, blue: the network's. The bar is the collision "
        "probability, framed in white where the label says collision. Click one to see it in the "
        "traces."
    )
    return [moments_section(shown, TRACES, lead)]


def _highlight(found: Findings, moment: Moment, time_s: NDArray[np.float64]) -> Highlight:
    recording = found.recording
    trained = found.trained
    captions = (f"{AROUND_S:g} s before", "at", f"{AROUND_S:g} s after")
    pictures = [
        Glimpse(
            annotate(found.images[row], shown_at(recording, row, collision=trained), _THUMBNAIL_PX),
            caption,
            float(time_s[row]),
        )
        for row, caption in zip((moment.before, moment.at, moment.after), captions, strict=True)
    ]
    drive = int(recording.rows["drive"][moment.at])
    begin = float(time_s[np.searchsorted(recording.rows["drive"], drive)])
    where = f"{recording.drives[drive]}, {time_s[moment.at] - begin:.2f} s"
    return Highlight(moment.kind, moment.text, where, float(time_s[moment.at]), pictures)


def _traces(found: Findings) -> Section:
    recording = found.recording
    rows, truth = recording.rows, recording.rows["truth"]

    def lines(column: int) -> dict[str, Any]:
        return {NETWORK_NAMES[name]: rows[name][:, column] for name in ("float", "qann", "snn")}

    labels = truth[:, COLLISION_COLUMN]
    trained = found.trained
    known = np.isfinite(labels).any()
    panels = [
        Panel("steering, rad", {"truth": truth[:, STEERING_COLUMN], **lines(STEERING_COLUMN)})
    ]
    if trained or known:
        panels.append(
            Panel(
                "collision probability" if trained else "collision probability (never trained)",
                lines(COLLISION_COLUMN),
                shaded=np.nan_to_num(labels) >= 0.5 if known else None,
                span=(0.0, 1.02),
                level=float(found.summary["threshold"]),
            )
        )
    panels.append(Panel("commanded speed, m/s", {"command": rows["command"][:, 0]}, steps=True))
    timeline = Timeline(TRACES, recording.times_s(), panels, breaks(recording))
    lead = (
        "Drag sideways to zoom, double-click for all, or use the buttons. The SNN (thin blue) is "
        "drawn upon the QANN (wide pale blue) and must never leave it."
    ) + (" Shaded: the label says collision." if known else "")
    return traces_section(timeline, lead)


def _judged_cuts(found: Findings) -> dict[str, Sequence[float]]:
    """Without the collision probability where it was never trained, and so is always the same."""
    return {name: errors for name, errors in found.cut_errors.items()
            if found.trained or not name.startswith(COLLISION)}  # fmt: skip


def _collision(found: Findings) -> Section:
    parts = {
        NETWORK_NAMES[name]: part
        for name in NETWORKS
        if len((part := judged(found.recording, name, COLLISION_COLUMN)).frames)
    }
    if not parts:
        return nothing_section("These drives carry no collision label.")
    return collision_section(parts, float(found.summary["threshold"]))


def breaks(recording: Recording) -> list[float]:
    """Times at which another drive begins, s."""
    begins = np.flatnonzero(np.diff(recording.rows["drive"])) + 1
    return [float(at) for at in recording.times_s()[begins]]
