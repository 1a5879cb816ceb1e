"""The tables of ``crnn-snn bench``, on the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from crnn_snn_ros.cli.output import STDOUT

HEADINGS = ("min", "median", "p99", "/ eager", "/ compiled", "exact")
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
    for title, headings, rows in _tables(result):
        lines += ["", f"{title}:", "", f"| | {' | '.join(headings)} |"]
        lines += ["|---" * (len(headings) + 1) + "|"]
        lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _summary(result: dict[str, Any]) -> str:
    steps, machine = result["settle_steps"], result["machine"]
    text = (
        f"{result['model']} on {machine['cpu']} ({machine['cores']} cores), torch "
        f"{machine['torch']}; {result['frames']} frames x {result['repeats']}, all in turns. "
        f"Settle steps: mean {steps['mean']:.1f}, max {steps['max']}, bound {steps['bound']}."
    )
    replay = result["replay"]
    if replay is not None:
        text += (
            f" A replay runs {replay['fps']:.0f} frames per second, read and decoded, on one "
            f"thread (engine {replay['engine']}, {replay['frames']} frames)."
        )
    return text


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


def _row(name: str, entry: dict[str, Any]) -> tuple[str, ...]:
    compiled = entry["ratio_to_float_compiled"]
    return (
        name,
        *(f"{entry[key]:.3f}" for key in ("ms_min", "ms_median", "ms_p99")),
        f"{entry['ratio_to_float_eager']:.2f}",
        "" if compiled is None else f"{compiled:.2f}",
        EXACT[entry["exact"]],
    )
