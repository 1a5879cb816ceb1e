"""The node with an engine that fails on purpose; FAULT says how: raise, nan, unsettled, stall.

A fault comes with every frame whose first pixel is FAULTY; ``stall`` sleeps for STALL_S there.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from crnn_snn_ros.core.types import Frame
from crnn_snn_ros.pipeline import Pipeline
from crnn_snn_ros.ros import node, parameters

FAULTY = (255, 0, 255)
STALL_S = 2.0


class FaultyPipeline(Pipeline):
    """A pipeline whose prediction goes wrong."""

    _fault = ""

    def step(self, frame: Frame, state: Any) -> Any:
        self._fault = os.environ["FAULT"] if tuple(frame.image[0, 0]) == FAULTY else ""
        if self._fault == "raise":
            raise RuntimeError("the accelerator is gone")
        if self._fault == "stall":
            time.sleep(STALL_S)
        return super().step(frame, state)

    def _predict(self, result: Any) -> Any:
        prediction = super()._predict(result)
        if self._fault == "nan":
            return prediction._replace(steering_rad=float("nan"))
        return prediction._replace(settled=prediction.settled and self._fault != "unsettled")


def build(config: Any, control: Any) -> Any:
    """As ``parameters.build``, but faulty."""
    built = real_build(config, control)
    good = built.pipeline
    faulty = FaultyPipeline(good.model, good.engine, control, config.reset_gap)
    return built._replace(pipeline=faulty)


real_build, parameters.build = parameters.build, build

if __name__ == "__main__":
    sys.exit(node.main())
