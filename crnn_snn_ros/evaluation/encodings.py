"""Is a model cheaper when only what has changed since the last frame is charged? Measured here.

Both encodings give the same integers; which costs less depends on what the camera sees and on the
model, so it is asked of the frames at hand, and of two extremes beside them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crnn_snn_ros.core.engines import ENCODINGS, INCREMENTAL, S_ANALOG, make_engine
from crnn_snn_ros.core.engines.base import Engine
from crnn_snn_ros.core.graph import Graph

GIVEN, STATIC, NOISE = "as given", "standing still", "noise"
WORTH = 0.9  # of the time; for less it is not worth a choice
SETTLED_IN = 1  # frames after the first, which both encodings charge whole

Frames = Sequence[NDArray[np.int8]]


def compare(
    graph: Graph, engine: str, frames: Frames, *, device: str = "cpu", repeats: int = 3
) -> dict[str, Any]:
    """Run both encodings frame by frame in turns.

    Args:
        graph: The integer network.
        engine: Its name; one that knows both encodings.
        frames: What the camera sees, int8 (C, H, W) each, at least two.
        device: auto, cpu or cuda.
        repeats: How often.

    Returns:
        ``scenes``: of each, by encoding, the means over frames of ``settle_steps``, ``spikes`` and
        the minimum of time, ``ms``; and ``faster``, the encoding to choose for the frames given.
    """
    engines = {name: make_engine(engine, graph, device, name) for name in ENCODINGS}
    rng = np.random.default_rng(0)
    noise = [rng.integers(-128, 128, graph.input_shape).astype(np.int8) for _ in frames]
    scenes = {GIVEN: frames, STATIC: [frames[0]] * len(frames), NOISE: noise}
    found = {name: _scene(engines, scene, repeats) for name, scene in scenes.items()}
    given = {encoding: costs["ms"] for encoding, costs in found[GIVEN].items()}
    faster = given[INCREMENTAL] <= WORTH * given[S_ANALOG]
    return {"engine": engine, "scenes": found, "faster": INCREMENTAL if faster else S_ANALOG}


def _scene(
    engines: Mapping[str, Engine], frames: Frames, repeats: int
) -> dict[str, dict[str, float]]:
    inputs = [torch.from_numpy(frame[None]) for frame in frames]
    times_s = {name: np.full((repeats, len(inputs)), np.inf) for name in engines}
    steps: dict[str, list[int]] = {name: [] for name in engines}
    spikes: dict[str, list[float]] = {name: [] for name in engines}
    with torch.inference_mode():
        for repeat in range(repeats):
            carries = {name: engine.initial_carry() for name, engine in engines.items()}
            for number, frame in enumerate(inputs):
                for name, engine in engines.items():
                    begin = time.perf_counter()
                    result, carries[name] = engine.step(frame, carries[name])
                    times_s[name][repeat, number] = time.perf_counter() - begin
                    steps[name].append(int(result.settle_steps))
                    spikes[name].append(sum(float(f.sum()) for f in result.activity.values()))
    return {
        name: {
            "settle_steps": _later_mean(steps[name], len(inputs)),
            "spikes": _later_mean(spikes[name], len(inputs)),
            "ms": float(times_s[name].min(axis=0)[SETTLED_IN:].mean()) * 1e3,
        }
        for name in engines
    }


def _later_mean(values: Sequence[float], frames: int) -> float:
    return float(np.reshape(values, (-1, frames))[:, SETTLED_IN:].mean())
