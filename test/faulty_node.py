"""The node with an engine that fails on purpose, on frames that ``spoiled`` made.

The first pixel of such a frame is FAULTY; the red of the second is the number of the fault.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import torch

from crnn_snn_ros.core.types import Frame
from crnn_snn_ros.pipeline import Pipeline
from crnn_snn_ros.ros import node, parameters

FAULTY = (255, 0, 255)
FAULTS = ("raise", "cuda", "nan", "unsettled", "stall", "slow")
STALL_S = 2.0  # beyond every timeout
SLOW_S = 0.25  # beyond max_latency, short of the tests' frame_timeout


def spoiled(frame: Frame, fault: str) -> Frame:
    """A frame on which the engine fails in that way."""
    image = frame.image.copy()
    image[0, 0] = FAULTY
    image[0, 1] = (FAULTS.index(fault), 0, 0)
    return Frame(frame.stamp_ns, image)


class FaultyPipeline(Pipeline):
    """A pipeline whose prediction goes wrong."""

    _fault = ""

    def step(self, frame: Frame, state: Any) -> Any:
        faulty = tuple(frame.image[0, 0]) == FAULTY
        self._fault = FAULTS[frame.image[0, 1, 0]] if faulty else ""
        if self._fault == "raise":
            raise RuntimeError("the engine is gone")
        if self._fault == "cuda":
            raise getattr(torch, "AcceleratorError", RuntimeError)(
                "CUDA error: unspecified launch failure"
            )
        time.sleep({"stall": STALL_S, "slow": SLOW_S}.get(self._fault, 0.0))
        return super().step(frame, state)

    def predict(self, result: Any) -> Any:
        prediction = super().predict(result)
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
