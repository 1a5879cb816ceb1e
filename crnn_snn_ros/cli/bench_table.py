"""The tables of ``crnn-snn bench``, on the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from crnn_snn_ros.cli.output import STDOUT

HEADINGS = ("min", "median", "p99", "/ eager", "/ compiled", "/ graph", "exact")
ENCODINGS_TITLE = (
    "Cost of a frame by encoding, and its share of that of s-analog (the frames as given, the "
    "first of them standing still, and noise)"
)
ENCODINGS_HEADINGS = ("steps", "spikes", "ms", "of steps", "of spikes", "of ms")
COSTS = {"settle_steps": 2, "spikes": 0, "ms": 3}  # digits
S_ANALOG = "s-analog"
EXACT = {True: "yes", False: "NO", None: ""}

Rows = list[tuple[str, ...]]


def print_bench(result: dict[str, Any]) -> None:
    """On the terminal."""
    STDOUT.print(_summary(result), highlight=False)
    for title, headings, rows in _tables(result):
        table = Table(title=title, title_justify="left")
        table.add_column(min_width=max(len(row[0]) for row in rows), no_wrap=True)
        for heading in headings:
            table.add_column(heading)
        for row in rows:
            table.add_row(*row)
        STDOUT.print(table)


def markdown(result: dict[str, Any]) -> str:
    """The same as a document."""
    lines = ["# Time per frame", "", "Written by `crnn-snn bench --out`.", "", _summary(result)]
    lines += ["", "Minima are the times least disturbed by other work on the machine; medians and "]
    lines[-1] += "p99 are of the machine as it was."
    for title, headings, rows in _tables(result):
        lines += ["", f"{title}:", "", f"| | {' | '.join(headings)} |"]
        lines += ["|---" * (len(headings) + 1) + "|"]
        lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _summary(result: dict[str, Any]) -> str:
    steps, machine = result["settle_steps"], result["machine"]
    text = (
        f"{result['model']} on {_place(result['device'], machine)}, torch "
        f"{machine['torch']}; {result['frames']} frames x {result['repeats']}, all in turns. "
        f"Settle steps: mean {steps['mean']:.1f}, max {steps['max']}, bound {steps['bound']}."
    )
    replay = result["replay"]
    if replay is not None:
        text += (
            f" A replay runs {replay['fps']:.0f} frames per second, read and decoded, on one "
            f"thread (engine {replay['engine']}, {replay['frames']} frames)."
        )
    if result["encodings"] is not None:
        text += (
            f" On the frames given the faster encoding is {result['encodings']['faster']} "
            f"(engine {result['encodings']['engine']})."
        )
    if result["node"] is not None:
        text += _of_node(result["node"])
    return text


def _place(device: str, machine: dict[str, Any]) -> str:
    if device == "cuda":
        return f"{machine['gpu']} (until the answer is on the host)"
    native = machine["native"] or "not built"
    return f"{machine['cpu']} ({machine['cores']} cores, native: {native})"


def _of_node(node: dict[str, Any]) -> str:
    width, height = node["size"]
    beyond = node["beyond_control_by_network"]
    return (
        f" Through the node over DDS, {node['frames']} images of {width}x{height} at "
        f"{node['rate_hz']:.0f} Hz, {node['node']['answered']:.1%} were answered; beyond a node "
        f"that computes nothing it takes {beyond['ms_min']:.2f} times the network's own time by "
        f"minima, {beyond['ms_median']:.2f} by medians."
    )


def _tables(result: dict[str, Any]) -> Iterator[tuple[str, tuple[str, ...], Rows]]:
    runs = {result["threads"]: result["engines"], **result["more_threads"]}
    for threads, engines in runs.items():
        title = f"ms per frame and minimum by that of the float network, threads: {threads}"
        yield title, HEADINGS, [_row(name, entry) for name, entry in engines.items()]
    if result["sweep"]:
        heads = tuple(result["sweep"][0]["mean_error"])
        rows = [
            (
                f"T={cut['steps']}",
                f"{cut['settled_fraction']:.3f}",
                *(f"{cut['mean_error'][head]:.3g}" for head in heads),
            )
            for cut in result["sweep"]
        ]
        errors = tuple(f"mean error of {head}" for head in heads)
        yield "Frames cut at T, against the settled ones", ("settled", *errors), rows
    if result["encodings"] is not None:
        yield ENCODINGS_TITLE, ENCODINGS_HEADINGS, _costs(result["encodings"])
    if result["node"] is not None:
        yield "Frame to command, ms", ("min", "median", "p99"), _times(result["node"])


def _costs(encodings: dict[str, Any]) -> Rows:
    return [
        (
            f"{scene}: {encoding}",
            *(f"{cost[key]:.{digits}f}" for key, digits in COSTS.items()),
            *(f"{cost[key] / costs[S_ANALOG][key]:.2f}" for key in COSTS),
        )
        for scene, costs in encodings["scenes"].items()
        for encoding, cost in costs.items()
    ]


def _times(node: dict[str, Any]) -> Rows:
    keys = ("ms_min", "ms_median", "ms_p99")
    named = (("node", "collision_avoidance"), ("control", "computes nothing"))
    rows = [(name, *(f"{node[of][key]:.2f}" for key in keys)) for of, name in named]
    alone = (f"{node['network'][key]:.2f}" for key in keys[:2])
    return [*rows, (f"no ROS (engine {node['engine']})", *alone, "")]


def _row(name: str, entry: dict[str, Any]) -> tuple[str, ...]:
    others = (entry["ratio_to_float_compiled"], entry["ratio_to_float_graph"])
    return (
        name,
        *(f"{entry[key]:.3f}" for key in ("ms_min", "ms_median", "ms_p99")),
        f"{entry['ratio_to_float_eager']:.2f}",
        *("" if other is None else f"{other:.2f}" for other in others),
        EXACT[entry["exact"]],
    )
