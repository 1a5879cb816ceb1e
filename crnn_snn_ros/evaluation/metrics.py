"""Figures of merit of replayed drives, float, QANN and SNN side by side."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.command import ControlConfig
from crnn_snn_ros.evaluation import scores
from crnn_snn_ros.evaluation.bootstrap import RESAMPLES, intervals, segment_length_s, segments
from crnn_snn_ros.evaluation.events import (
    Event,
    commands_of,
    false_stops,
    find_events,
    roughness,
    stops,
)
from crnn_snn_ros.evaluation.recording import (
    COLLISION_COLUMN,
    NETWORKS,
    STEERING_COLUMN,
    Floats,
    Recording,
)

COLLISION_THRESHOLD = 0.5
STEERING_FIGURES = ("steering_rmse", "steering_explained_variance")
COLLISION_FIGURES = ("collision_auroc", "collision_auprc", "collision_f1", "collision_ece")

Figure = Callable[[Floats], "float | None"]  # weights of the frames -> value


class Judged(NamedTuple):
    """Frames whose truth is known, and what one network says of them; (n,) each."""

    frames: NDArray[np.intp]  # row numbers
    truth: Floats
    values: Floats


def summarise(
    recording: Recording,
    config: ControlConfig | None = None,
    *,
    threshold: float = COLLISION_THRESHOLD,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Metrics of a replay, as ``crnn-snn replay --json`` prints them.

    Args:
        recording: A replay of n > 0 frames, its drives labelled where labels are known.
        config: How predictions become commands, for stops and smoothness.
        threshold: Collision probability from which on F1 and times to warn take it for an alarm.
        resamples: Of the block bootstrap; 0: no intervals.
        seed: Of the block bootstrap.

    Returns:
        One value per network; None where there is no label or no such network.

    Raises:
        ConfigError: there are collision labels, but scikit-learn is missing.
    """
    config = config or ControlConfig()
    rows = recording.rows
    named = {network: figures(recording, network, threshold) for network in NETWORKS}
    steering = judged(recording, "snn", STEERING_COLUMN)
    collision = judged(recording, "snn", COLLISION_COLUMN)
    result: dict[str, Any] = {
        "frames": len(rows),
        "labelled_frames": len(steering.frames),
        "collision_labelled_frames": len(collision.frames),
        "fps": len(rows) / recording.pipeline_s,
        "threshold": threshold,
        "stop_threshold": config.stop_threshold,
    }
    ones = np.ones(len(rows))
    for name in (*STEERING_FIGURES, *COLLISION_FIGURES):
        result[name] = {
            network: figure(ones) if (figure := named[network].get(name)) else None
            for network in NETWORKS
        }
    _rank_by_library(recording, result)
    constant = float(np.std(steering.truth)) if len(steering.frames) else None
    result["steering_rmse"]["predict_mean"] = constant
    positive = float(np.mean(collision.truth >= 0.5)) if len(collision.frames) else None
    result["collision_auprc"]["predict_mean"] = positive
    result |= _driving(recording, config, threshold)
    result["ci95"] = _intervals(recording, named, resamples, seed)
    return result | {
        "qann_snn_differences": int((rows["qann"] != rows["snn"]).any(axis=1).sum()),
        "settled_fraction": float(np.mean(rows["settled"])),
        "settle_steps_mean": float(np.mean(rows["settle_steps"])),
        "settle_steps_max": int(np.max(rows["settle_steps"])),
        "spikes_per_frame": float(np.mean(rows["spikes"])),
        "synaptic_operations_per_frame": float(np.mean(rows["layer_additions"].sum(axis=1))),
        "input_operations_per_frame": recording.input_operations,
        "dense_operations_per_frame": recording.dense_operations,
    }


def judged(recording: Recording, network: str, column: int) -> Judged:
    """Frames of a network's steering or collision probability that have a label."""
    truth, values = recording.rows["truth"][:, column], recording.rows[network][:, column]
    frames = np.flatnonzero(np.isfinite(truth) & np.isfinite(values))
    return Judged(frames, truth[frames].astype(np.float64), values[frames].astype(np.float64))


def events_of(recording: Recording, network: str, threshold: float) -> list[Event]:
    """Collision events of the labels, and how early a network's alarm came."""
    rows = recording.rows
    labels = np.nan_to_num(rows["truth"][:, COLLISION_COLUMN]) >= 0.5
    alarms = rows[network][:, COLLISION_COLUMN] >= threshold  # of NaN: none
    return find_events(labels, alarms, recording.times_s(), rows["drive"])


def false_stops_of(recording: Recording, network: str, config: ControlConfig) -> list[int]:
    """Frames at which a network stops the robot though no label says that anything is near."""
    rows = recording.rows
    began = stops(commands_of(recording, network, config), _stretches(recording))
    truth = rows["truth"][:, COLLISION_COLUMN]
    return false_stops(began, truth, recording.times_s(), rows["drive"])


def _stretches(recording: Recording) -> NDArray[np.int64]:
    """(n,), the same number for frames that follow each other: a gap begins another stretch."""
    rows = recording.rows
    begins = np.diff(rows["drive"], prepend=rows["drive"][:1]) != 0
    return np.cumsum(begins | rows["was_reset"].astype(bool))


def figures(recording: Recording, network: str, threshold: float) -> dict[str, Figure]:
    """What can be said of a network, as functions of weights of all frames, (n,).

    Args:
        recording: Of a replay.
        network: One of ``NETWORKS``.
        threshold: Collision probability from which on F1 takes it for an alarm.

    Returns:
        A function for each of ``STEERING_FIGURES`` and ``COLLISION_FIGURES`` that the labels allow.
    """
    found: dict[str, Figure] = {}

    def of(part: Judged, figure: Callable[[Floats], float | None]) -> Figure:
        def value(weight: Floats) -> float | None:
            known = weight[part.frames]
            return figure(known) if known.any() else None

        return value

    part = judged(recording, network, STEERING_COLUMN)
    if len(part.frames):
        for name, error in zip(
            STEERING_FIGURES, (scores.rmse, scores.explained_variance), strict=True
        ):
            found[name] = of(part, partial(error, part.truth, part.values))
    part = judged(recording, network, COLLISION_COLUMN)
    if len(part.frames):
        labels, ranking = part.truth >= 0.5, scores.Ranking(part.truth >= 0.5, part.values)
        ranked: tuple[Figure, ...] = (
            ranking.auroc,
            ranking.auprc,
            partial(scores.f1, labels, part.values, threshold=threshold),
            partial(scores.calibration_error, labels, part.values),
        )
        found |= {n: of(part, f) for n, f in zip(COLLISION_FIGURES, ranked, strict=True)}
    return found


def _ran(recording: Recording, network: str) -> bool:
    return bool(np.isfinite(recording.rows[network]).any())


def _rank_by_library(recording: Recording, result: dict[str, Any]) -> None:
    """Take the ranked figures themselves from scikit-learn; only intervals need our own."""
    for network in NETWORKS:
        part = judged(recording, network, COLLISION_COLUMN)
        if len(part.frames):
            labels = part.truth >= 0.5
            result["collision_auroc"][network] = scores.auroc(labels, part.values)
            result["collision_auprc"][network] = scores.auprc(labels, part.values)


def _driving(recording: Recording, config: ControlConfig, threshold: float) -> dict[str, Any]:
    """What the robot would do: warnings, stops, smoothness."""
    rows, time_s = recording.rows, recording.times_s()
    known = np.isfinite(rows["truth"][:, COLLISION_COLUMN])
    follows = np.diff(_stretches(recording), prepend=0) == 0
    minutes = float(np.diff(time_s, prepend=0.0)[known & follows].sum()) / 60.0
    result: dict[str, Any] = {
        name: dict.fromkeys(NETWORKS)
        for name in ("time_to_warn", "false_stops_per_minute", "command_roughness")
    }
    for network in (network for network in NETWORKS if _ran(recording, network)):
        commands = commands_of(recording, network, config)
        result["command_roughness"][network] = roughness(commands, time_s, rows["drive"])
        if minutes > 0.0:
            wrong = len(false_stops_of(recording, network, config))
            result["false_stops_per_minute"][network] = wrong / minutes
            result["time_to_warn"][network] = _warnings(events_of(recording, network, threshold))
    return result


def _warnings(events: list[Event]) -> dict[str, Any]:
    leads = [event.lead_s for event in events if event.alarm is not None]
    return {
        "events": len(events),
        "warned": len(leads),
        "in_time": sum(lead >= 0.0 for lead in leads),
        "lead_s_median": float(np.median(leads)) if leads else None,
        "lead_s_min": min(leads) if leads else None,
    }


def _intervals(
    recording: Recording, named: dict[str, dict[str, Figure]], resamples: int, seed: int
) -> dict[str, dict[str, Any]]:
    rows = recording.rows
    wanted = {(name, net): f for net, known in named.items() for name, f in known.items()}
    if (rows["qann"] == rows["snn"]).all():  # so are their figures
        wanted = {key: figure for key, figure in wanted.items() if key[1] != "qann"}
    time_s = recording.times_s()
    segment = segments(time_s, rows["drive"], segment_length_s(time_s))
    ends = intervals(wanted, segment, resamples=resamples, seed=seed)
    found: dict[str, dict[str, Any]] = {}
    for name in (*STEERING_FIGURES, *COLLISION_FIGURES):
        found[name] = {network: ends.get((name, network)) for network in NETWORKS}
        if (name, "qann") not in wanted:
            found[name]["qann"] = found[name]["snn"]
    return found
