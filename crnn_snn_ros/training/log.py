"""What becomes known of a training: epochs in memory, in a CSV file, and told."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from crnn_snn_ros.io.atomic import replacing
from crnn_snn_ros.training.config import METRICS


class Epoch(NamedTuple):
    """Progress after one epoch."""

    phase: str  # "float" or "qat"
    number: int  # from 1, within the phase; 0: what it began with, where that was trained before
    of: int
    train_loss: float | None  # None where nothing was learned from
    validation_loss: float
    steering_rmse_rad: float | None  # on the validation split, None where it has no such label
    collision_auroc: float | None  # the same

    def worth(self, metric: str) -> float:
        """A number that is larger the better this epoch was; NaN where nothing can be said."""
        value = getattr(self, metric)
        if value is None:
            return math.nan
        return float(value) if METRICS[metric] else -float(value)


class Log:
    """Every epoch of a run.

    Args:
        path: CSV file; None: nowhere.
        on_epoch: Called after every epoch.
    """

    def __init__(self, path: Path | None, on_epoch: Callable[[Epoch], object]) -> None:
        self._path, self._on_epoch = path, on_epoch
        self.epochs: list[Epoch] = []

    def add(self, epoch: Epoch) -> None:
        """Note an epoch, and write the file anew."""
        self.epochs.append(epoch)
        if self._path is not None:
            with replacing(self._path) as temporary, temporary.open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(Epoch._fields)
                writer.writerows(self.epochs)
        self._on_epoch(epoch)

    def restore(self, epochs: Sequence[Sequence[Any]]) -> None:
        """Take over the epochs of a run that was cut off."""
        self.epochs = [Epoch(*epoch) for epoch in epochs]

    def best(self, phase: str, metric: str) -> dict[str, Any]:
        """Figures of the best epoch of a phase, for the model card."""
        epochs = [epoch for epoch in self.epochs if epoch.phase == phase]
        if not epochs:
            return {}
        return {"validation": max(epochs, key=lambda epoch: epoch.worth(metric))._asdict()}
