"""What all verbs print: progress on stderr, the result on stdout, as text or as one JSON object."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

STDERR = Console(stderr=True)
STDOUT = Console(soft_wrap=True)


@contextmanager
def progress_bar(total: int | None, *, quiet: bool = False) -> Iterator[Progress]:
    """A progress bar with one task (number 0) and a free text field ``note``.

    It is gone when it ends, and never there where nobody watches: what stays on stderr is the one
    line of an error.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    hidden = quiet or not STDERR.is_terminal
    with Progress(*columns, console=STDERR, disable=hidden, transient=True) as progress:
        progress.add_task("", total=total, note="")
        yield progress


def single_thread() -> None:
    """Small layers run faster on one core than on several that wait for each other."""
    import torch

    torch.set_num_threads(1)


def print_json(result: Mapping[str, Any]) -> None:
    """One JSON object on stdout; what is not a number is null, as JSON has no NaN."""
    print(json.dumps(finite(result), indent=2))


def print_table(title: str, rows: Mapping[str, object]) -> None:
    """Two columns: what, and its value."""
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in rows.items():
        table.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
    STDOUT.print(table)


def print_columns(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table with a head; columns in which nothing stands are left out."""
    given = [list(row) for row in rows]
    kept = [i for i in range(len(head)) if i == 0 or any(row[i] for row in given)]
    columns = [Column(head[i], overflow="fold") for i in kept]  # nothing is cut off
    table = Table(*columns, title=title, title_justify="left")
    for row in given:
        table.add_row(*(row[i] for i in kept))
    STDOUT.print(table)


def finite(value: Any) -> Any:
    """The same, with null for what is not a number."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
