"""What a replay leaves behind: a table of numbers, one row a frame, without pictures or tensors.

A row is some 200 bytes, so that an hour at 20 Hz takes 15 MB.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from crnn_snn_ros.core.graph import Graph, MaxPool, Neurons

NETWORKS = ("float", "qann", "snn")
STEERING_COLUMN, COLLISION_COLUMN = 0, 1  # of a network's two numbers
_FIRST_ROWS = 1024

Floats = NDArray[np.float64]
Rows = NDArray[np.void]


class Estimate(NamedTuple):
    """What one network says of one frame."""

    steering_rad: float
    collision_probability: float


UNKNOWN = Estimate(np.nan, np.nan)


class Recording:
    """Drives through a model, frame by frame.

    The fields of ``rows``:

    | field | |
    |---|---|
    | ``drive`` | number of the drive, an index of ``drives`` |
    | ``stamp_ns`` | of the frame |
    | ``was_reset``, ``settled`` | of the spiking network |
    | ``settle_steps``, ``spikes`` | time-steps to quiescence; spikes of all layers |
    | ``float``, ``qann``, ``snn`` | steering, rad, and collision probability; NaN: not run |
    | ``command`` | m/s and rad/s |
    | ``layer_spikes`` | spikes of each of ``layers`` |
    | ``layer_additions`` | additions that they caused, recurrent ones included |
    | ``carry`` | recurrent counts that entered the frame, layer after layer |
    | ``truth`` | true steering, rad, and collision label, 0 or 1; NaN: unknown |

    Args:
        graph: The network that is replayed.
        frame_rate_hz: Of the frames that it was trained on.
    """

    def __init__(self, graph: Graph, frame_rate_hz: float) -> None:
        self.frame_rate_hz = frame_rate_hz
        self.layers = tuple(n.name for n in graph.nodes if isinstance(n, Neurons | MaxPool))
        self.recurrent = {node.name: len(weights) for node, weights in graph.recurrent()}
        self.drives: list[str] = []
        self.input_operations = 0  # products of the analog input, every frame
        self.dense_operations = 0  # of the same network as an ordinary one, every frame
        self.pipeline_s = 0.0  # time from frame to command, all frames
        pair, layers = (np.float64, 2), len(self.layers)
        fields: list[tuple[Any, ...]] = [
            ("drive", np.int32),
            ("stamp_ns", np.int64),
            ("was_reset", np.bool_),
            ("settled", np.bool_),
            ("settle_steps", np.int32),
            ("spikes", np.int64),
            *((name, *pair) for name in (*NETWORKS, "command", "truth")),
            ("layer_spikes", np.int32, layers),
            ("layer_additions", np.int64, layers),
            ("carry", np.int16, sum(self.recurrent.values())),
        ]
        self._table = np.zeros(_FIRST_ROWS, np.dtype(fields))
        self._count = 0

    def __len__(self) -> int:
        """Frames in all drives together."""
        return self._count

    @property
    def rows(self) -> Rows:
        """The table, (n,); a view that is good until the next frame is added."""
        return self._table[: self._count]

    def begin(self, name: str) -> None:
        """Begin the next drive."""
        self.drives.append(name)

    def add(self, **values: Any) -> None:
        """Add a frame of the drive that was begun last; ``truth`` is unknown until ``label``."""
        if self._count == len(self._table):
            # Not resize(): it would move the memory under the views that `rows` gave.
            self._table = np.concatenate([self._table, np.zeros_like(self._table)])
        row = self._table[self._count]
        row["drive"], row["truth"] = len(self.drives) - 1, UNKNOWN
        for name, value in values.items():
            row[name] = value
        self._count += 1

    def extend(self, other: Recording) -> None:
        """Add the drives of another recording of the same network."""
        rows = other.rows.copy()
        rows["drive"] += len(self.drives)
        self._table = np.concatenate([self.rows, rows, np.zeros(_FIRST_ROWS, rows.dtype)])
        self._count += len(rows)
        self.drives += other.drives
        self.pipeline_s += other.pipeline_s
        self.input_operations = other.input_operations
        self.dense_operations = other.dense_operations

    def of_drive(self, drive: int) -> Rows:
        """Rows of one drive, a view."""
        first, last = np.searchsorted(self.rows["drive"], [drive, drive + 1])
        return self.rows[first:last]

    def label(
        self, drive: int, steering_rad: NDArray[np.floating], collision: NDArray[np.floating]
    ) -> None:
        """Set what is true of a drive, (n,) each, NaN where it is not known."""
        truth = self.of_drive(drive)["truth"]
        truth[:, STEERING_COLUMN], truth[:, COLLISION_COLUMN] = steering_rad, collision

    def times_s(self) -> Floats:
        """Time of each frame since the start, the drives one after another, (n,)."""
        stamps, drives = self.rows["stamp_ns"], self.rows["drive"]
        if not len(stamps):
            return np.zeros(0)
        steps = np.diff(stamps, prepend=stamps[0]) / 1e9
        # Drives of one list may be years apart, and a stamp that runs back is a fault of a clock.
        steps[np.diff(drives, prepend=drives[0]) > 0] = 1.0 / self.frame_rate_hz
        return np.asarray(np.cumsum(np.maximum(steps, 0.0)))

    def pack_carry(self, counts: Mapping[str, Tensor]) -> NDArray[np.int16]:
        """Recurrent counts of one stream as a row's ``carry``; zeros where there are none."""
        parts = [
            counts[name][0].cpu().numpy() if name in counts else np.zeros(size)
            for name, size in self.recurrent.items()
        ]
        return np.concatenate([np.zeros(0), *parts]).astype(np.int16)

    def unpack_carry(self, number: int) -> dict[str, NDArray[np.float32]]:
        """Recurrent counts that entered frame ``number``, (1, channels) each."""
        flat = self.rows["carry"][number].astype(np.float32)
        ends = np.cumsum(list(self.recurrent.values()), dtype=int)
        parts = np.split(flat, ends[:-1]) if len(ends) else []
        return {name: part[None] for name, part in zip(self.recurrent, parts, strict=True)}
