"""What a reader is told first: sentences and tiles, from figures and their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crnn_snn_ros.evaluation.report.page import State, Tile

Sentence = tuple[State, str]


def judge(
    summary: Mapping[str, Any], header: Mapping[str, Any]
) -> tuple[list[Sentence], list[Tile]]:
    """Judge a replay.

    A figure is good where its whole interval beats the trivial predictor, bad where the figure
    itself does not, and else left open.

    Args:
        summary: Of ``metrics.summarise``.
        header: Of the model file, which says what was never trained.
    """
    judged = [
        _exact(summary),
        _steering(summary, header),
        _collision(summary, header),
        *(_events(summary) if header["heads"]["collision"]["trained"] else []),
    ]
    sentences = [sentence for sentence, _ in judged if sentence is not None]
    order = {"bad": 0, "warn": 1, "good": 2, "plain": 3}
    sentences.sort(key=lambda sentence: order[sentence[0]])
    tiles = [tile for _, tile in judged]
    steps = f"mean {summary['settle_steps_mean']:.1f}"
    tiles.append(Tile("time-steps, most", str(summary["settle_steps_max"]), steps))
    return sentences, tiles


def _exact(summary: Mapping[str, Any]) -> tuple[Sentence | None, Tile]:
    wrong, frames = summary["qann_snn_differences"], summary["frames"]
    settled = summary["settled_fraction"]
    state: State = "good" if wrong == 0 and settled == 1.0 else "bad"
    if state == "good":
        text = f"The spiking network is the quantized one to the bit on all {frames} frames."
    else:
        text = (
            f"QANN and SNN differ on {wrong} of {frames} frames, and {100 * (1 - settled):.1f} % "
            "of the frames did not settle: this must not be."
        )
    tile = Tile("QANN = SNN", "exact" if wrong == 0 else f"{wrong} differ",
                f"{100 * settled:.4g} % of {frames} frames settled", state)  # fmt: skip
    return (state, text), tile


def _steering(
    summary: Mapping[str, Any], header: Mapping[str, Any]
) -> tuple[Sentence | None, Tile]:
    name = "steering RMSE, rad"
    error, mean = summary["steering_rmse"]["snn"], summary["steering_rmse"]["predict_mean"]
    if error is None:
        return ("warn", "These drives carry no steering label."), Tile(name, "no label")
    ends = summary["ci95"]["steering_rmse"]["snn"]
    state = _state(error < mean, ends is not None and ends[1] < mean)
    share = 100 * (1 - error / mean) if mean else 0.0
    if error < mean:
        text = f"Its steering error is {share:.0f} % below that of always steering the mean"
        text += "." if state == "good" else ", but with so little data this is not sure."
    else:
        text = "It steers no better than always steering the mean: do not trust its steering."
    if not header["heads"]["steering"]["trained"]:
        state, text = "bad", "Its steering was never trained."
    float_net = summary["steering_rmse"]["float"]
    note = f"mean {mean:.3g}" + ("" if float_net is None else f", float {float_net:.3g}")
    return (state, text), Tile(name, f"{error:.3g}", note, state)


def _collision(
    summary: Mapping[str, Any], header: Mapping[str, Any]
) -> tuple[Sentence | None, Tile]:
    name, value = "collision AUROC", summary["collision_auroc"]["snn"]
    if not header["heads"]["collision"]["trained"]:
        text = "Its collision output was never trained: it cannot stop a robot."
        note = "" if value is None else f"{value:.3f}"
        return ("bad", text), Tile(name, "untrained", note, "bad")
    if value is None:
        text = "No collision and clear label in these drives: its warnings were not judged."
        return ("warn", text), Tile(name, "no label", "", "warn")
    ends = summary["ci95"]["collision_auroc"]["snn"]
    state = _state(value > 0.5, ends is not None and ends[0] > 0.5)
    share = "" if ends is None else f", {ends[0]:.3f} to {ends[1]:.3f} at 95 %"
    text = f"A labelled frame outranks a clear one in {100 * value:.0f} % of the pairs{share}."
    if state == "bad":
        text = "It tells collision from clear no better than chance: do not trust its warnings."
    ece = summary["collision_ece"]["snn"]
    return (state, text), Tile(name, f"{value:.3f}", f"calibration error {ece:.3f}", state)


def _events(summary: Mapping[str, Any]) -> list[tuple[Sentence | None, Tile]]:
    warned = summary["time_to_warn"]["snn"]
    if warned is None:
        return []
    found: list[tuple[Sentence | None, Tile]] = []
    events, missed = warned["events"], warned["events"] - warned["warned"]
    if events:
        state: State = "good" if not missed else "bad"
        text = (
            f"It raised the alarm in {warned['warned']} of {events} collision events, in "
            f"{warned['in_time']} of them no later than the label began."
        )
        if not warned["warned"]:
            text = f"It raised no alarm in any of {events} collision events."
        lead = warned["lead_s_median"]
        note = "" if lead is None else f"median {lead:+.2f} s to the label"
        tile = Tile("events warned of", f"{warned['warned']} of {events}", note, state)
        found.append(((state, text), tile))
    rate = summary["false_stops_per_minute"]["snn"]
    calm: State = "good" if rate == 0 else "warn"
    note = f"p from {summary['stop_threshold']:g} on, nothing labelled near"
    found.append((None, Tile("false stops a minute", f"{rate:.2g}", note, calm)))
    return found


def _state(better: bool, surely: bool) -> State:
    if not better:
        return "bad"
    return "good" if surely else "warn"
