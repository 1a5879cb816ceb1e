"""Labels of many numbers a frame, in the order in which they lie, from right to left."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.core.ways import WAYS
from crnn_snn_ros.data.bags import read_messages
from crnn_snn_ros.data.messages import FLOAT32_ARRAY

Floats = NDArray[np.float32]


class Table(NamedTuple):
    """Recorded rows, in the order of their stamps."""

    stamps_ns: NDArray[np.int64]  # (n,)
    rows: Floats  # (n, columns), NaN where one is not known


def as_table(pairs: Iterable[tuple[int, Floats]]) -> Table:
    """Pairs of stamp and row, at least one, in the order of the stamps."""
    stamps, rows = zip(*pairs, strict=True)
    stamps_ns = np.array(stamps, np.int64)
    order = np.argsort(stamps_ns, kind="stable")
    return Table(stamps_ns[order], np.stack(rows)[order])


def whole(rows: Floats | None, count: int, columns: int) -> Floats:
    """The rows (count, columns) of a drive, NaN throughout where it has none."""
    if rows is None:
        return np.full((count, columns), np.nan, np.float32)
    return np.asarray(rows, np.float32)


def read_way_costs(path: Path, topic: str) -> Table:
    """Read a topic of ``std_msgs/Float32MultiArray`` whole: what each way to steer would cost.

    Returns:
        Rows (n, WAYS), see ``core.ways``.

    Raises:
        DataError: the bag is damaged, the topic missing, of another type or empty, or a message has
            another number of values or one that is negative or not finite.
    """
    table = as_table(
        (message.stamp_ns, _ways(path, topic, message.content.data))
        for message in read_messages(path, topic, (FLOAT32_ARRAY,))
    )
    wrong = np.argwhere(~((table.rows >= 0.0) & np.isfinite(table.rows)))
    if len(wrong):
        row, way = wrong[0]
        raise DataError(
            f"bag {path}, {topic}: value {way} of message {row} is {table.rows[row, way]:g}, "
            "expected a cost from 0 on"
        )
    return table


def _ways(path: Path, topic: str, values: Floats) -> Floats:
    if len(values) != WAYS:
        raise DataError(f"bag {path}, {topic}: a message has {len(values)} values, expected {WAYS}")
    return np.asarray(values, np.float32)
