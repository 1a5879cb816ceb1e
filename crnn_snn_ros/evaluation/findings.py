"""All that the report of a replay is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.evaluation.cutting import EncodingErrors
from crnn_snn_ros.evaluation.energy import Cost, costs
from crnn_snn_ros.evaluation.moments import Moment
from crnn_snn_ros.evaluation.raster import FrameRaster
from crnn_snn_ros.evaluation.recording import Recording
from crnn_snn_ros.io.model_schema import Model
from crnn_snn_ros.pipeline import COLLISION


@dataclass(frozen=True)
class Findings:
    """One model on some drives."""

    model: Model
    header: Mapping[str, Any]  # of the model file
    model_name: str
    recording: Recording
    summary: Mapping[str, Any]  # of ``metrics.summarise``
    moments: Sequence[Moment] = ()
    images: Mapping[int, NDArray[np.uint8]] = field(default_factory=dict)  # by row, of moments
    rasters: Sequence[FrameRaster] = ()
    cut_errors: Mapping[str, Sequence[float]] = field(default_factory=dict)
    cut_frames: int = 0
    encodings: EncodingErrors | None = None

    @property
    def trained(self) -> bool:
        """Whether the collision output ever saw a label."""
        return self.model.heads[COLLISION].trained

    def costs(self) -> list[Cost]:
        """What an average frame costs."""
        return costs(
            self.model.graph,
            dense_operations=self.summary["dense_operations_per_frame"],
            input_operations=self.summary["input_operations_per_frame"],
            additions=self.summary["synaptic_operations_per_frame"],
            settle_steps=self.summary["settle_steps_mean"],
        )
