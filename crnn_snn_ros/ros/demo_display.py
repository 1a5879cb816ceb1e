"""What the demonstration shows while it runs: a live table, or lines where nobody watches."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from crnn_snn_ros.ros.messages import NS_PER_S
from crnn_snn_ros.sim.session import Entry
from crnn_snn_ros.sim.suites import Outcome
from crnn_snn_ros.sim.trace import Row

COLUMNS = ("course", "kind", "time s", "way m", "m/s", "steer", "p", "steps", "result")
UNITS = ("", "", " s", " m", " m/s", " rad", " p", " steps", "")
LINE_FRAMES = 100


class Screen:
    """The table as text; rows come as the frames do. Of a course that is over, the mean speed.

    Args:
        courses: in the order of the drive.
        kinds: of these courses.
        changed: called with the table when something is new.
        say: called with a line now and then.
    """

    def __init__(
        self,
        courses: Sequence[Entry],
        kinds: Sequence[str],
        changed: Callable[[list[tuple[str, ...]]], object],
        say: Callable[[str], object],
    ) -> None:
        self._changed, self._say = changed, say
        pairs = zip(map(str, courses), kinds, strict=True)
        self._table = [(*pair, *[""] * (len(COLUMNS) - 2)) for pair in pairs]
        self._over = 0
        self._first: Row | None = None
        self._last: Row | None = None
        self._distance_m = 0.0
        self._frames = 0

    def row(self, row: Row) -> None:
        """A frame was answered."""
        if self._last is None or row.stamp_ns - self._last.stamp_ns > NS_PER_S:
            self._first, self._distance_m = row, 0.0
        elif self._first is not None:
            self._distance_m += math.dist(row[1:3], self._last[1:3])
        self._last = row
        index = min(self._over, len(self._table) - 1)
        self._put(index, self._numbers(row), "drives")
        self._frames += 1
        if self._frames % LINE_FRAMES == 0:
            self._say(_line(self._table[index]))
        self._changed(self._table)

    def results(self, outcomes: Sequence[Outcome]) -> None:
        """These courses are over."""
        self._over = len(outcomes)
        for index, outcome in enumerate(outcomes):
            result = outcome.finished if outcome.succeeded else outcome.finished.upper()
            if self._table[index][-1] == result:
                continue
            mean = outcome.distance_m / outcome.time_s if outcome.time_s else 0.0
            measured = (f"{outcome.time_s:.1f}", f"{outcome.distance_m:.1f}", f"{mean:.2f}")
            self._put(index, (*measured, "", "", ""), result)
            self._say(_line(self._table[index]))
            self._changed(self._table)

    def _put(self, index: int, numbers: tuple[str, ...], result: str) -> None:
        self._table[index] = (*self._table[index][:2], *numbers, result)

    def _numbers(self, row: Row) -> tuple[str, ...]:
        since = row.stamp_ns - self._first.stamp_ns if self._first is not None else 0
        return (
            f"{since / NS_PER_S:.1f}",
            f"{self._distance_m:.1f}",
            f"{row.speed_mps:.2f}",
            f"{row.steering_rad:+.2f}",
            f"{row.collision_probability:.2f}",
            str(row.settle_steps),
        )


@contextmanager
def display(courses: Sequence[Entry], kinds: Sequence[str]) -> Iterator[Screen]:
    """A live table where rich is installed and somebody watches; else a line now and then."""

    def say(line: str) -> None:
        print(line, flush=True)

    try:
        from rich.box import SIMPLE
        from rich.live import Live
        from rich.table import Table
    except ImportError:
        yield Screen(courses, kinds, _nothing, say)
        return
    if not sys.stdout.isatty():
        yield Screen(courses, kinds, _nothing, say)
        return
    with Live(refresh_per_second=8) as live:

        def changed(rows: list[tuple[str, ...]]) -> None:
            table = Table(box=SIMPLE)  # 80 columns hold it
            for name in COLUMNS:
                table.add_column(name, no_wrap=True)
            for cells in rows:
                table.add_row(*cells)
            live.update(table)

        yield Screen(courses, kinds, changed, _nothing)


def _line(cells: Sequence[str]) -> str:
    pairs = zip(cells, UNITS, strict=True)
    return "  ".join(cell + unit for cell, unit in pairs if cell)


def _nothing(_: Any) -> None:
    """Nobody looks."""
