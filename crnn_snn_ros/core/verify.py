"""Proof by comparison: every engine against the int64 QANN, integer ==, every layer and frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from crnn_snn_ros.core import qann
from crnn_snn_ros.core.bounds import prove
from crnn_snn_ros.core.engines.base import Engine, FrameResult
from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.core.faults import (
    NETWORK,
    NOT_AN_INTEGER,
    JudgedFrame,
    cut_faults,
    faults,
    integers,
)
from crnn_snn_ros.core.graph import Graph

__all__ = ["NETWORK", "Difference", "Report", "random_video", "verify"]


@dataclass(frozen=True)
class Difference:
    """The first place where an engine is not the QANN."""

    engine: str
    what: str  # what was compared, in words
    layer: str
    frame: int  # from 0
    index: tuple[int, ...]  # of the neuron within the layer
    qann: int  # what the reference says
    snn: int  # what the engine gave

    def __str__(self) -> str:
        return (
            f"engine {self.engine}, frame {self.frame}, layer {self.layer}, neuron "
            f"{list(self.index)}: {self.what} is {self.snn}, expected {self.qann}"
        )


@dataclass
class Report:
    """Outcome of a verification; exact where ``first_difference`` is None."""

    engines: tuple[str, ...]
    bound: int
    frames: int = 0
    activations: int = 0  # integers compared, per engine
    max_abs_diff: int = 0  # over all counts and head accumulators
    layer_max_abs_diff: dict[str, int] = field(default_factory=dict)
    settle_steps: list[int] = field(default_factory=list)  # zeros where no engine spikes
    first_difference: Difference | None = None


def verify(
    graph: Graph,
    engines: Mapping[str, Engine],
    frames: Iterable[NDArray[np.int8]],
    progress: Callable[[int], object] | None = None,
) -> Report:
    """Run one stream of frames with state through the QANN and every engine.

    Compared with ==, frame by frame: the spike count of every neuron and pool, the residue of every
    membrane (V = Q + r - threshold S), every head; further, spikes stay in {-1, 0, +1}, add up to
    the counts, end within the proven bound of their layer, and recurrent spikes arrive in canonical
    form. Each frame is run once more and cut somewhere: it must call itself settled exactly if
    nothing was lost. Of an engine that does not spike, counts, heads and carry are compared, and it
    must claim no activity and no time-step. Stops after the first frame with a fault.

    Args:
        graph: The integer network.
        engines: Engines to compare, by name.
        frames: Network inputs, int8 (C, H, W) each.
        progress: Called after each frame with the number done.

    Raises:
        ConfigError: there is no engine.
        DataError: there is no frame.
    """
    if not engines:
        raise ConfigError("nothing to verify: name at least one engine")
    modes = {engine.incremental for engine in engines.values()}
    bounds = {incremental: prove(graph, incremental=incremental) for incremental in modes}
    report = Report(tuple(engines), max(bound.settling_steps for bound in bounds.values()))
    carry, start = qann.initial_carry(graph), qann.initial_carry(graph)
    earlier: Mapping[str, NDArray[np.int64]] = {}
    carries = {name: engine.initial_carry() for name, engine in engines.items()}
    for number, pixels in enumerate(frames):
        reference, after = qann.run_frame(graph, pixels[None], carry)
        changed = {name: counts - start[name] for name, counts in carry.items()}
        whole = graph, number, torch.from_numpy(pixels[None]), reference
        settle_steps = 0
        for name, engine in engines.items():
            bound = bounds[engine.incremental]
            frame = (
                JudgedFrame(bound, *whole, changed, earlier)
                if engine.incremental
                else JudgedFrame(bound, *whole, carry, {})
            )
            result, next_carry = engine.step(frame.pixels, carries[name], trace=engine.spikes)
            _measure(reference, result, report)
            found = (
                *faults(frame, engine, result, next_carry),
                *cut_faults(frame, engine, carries[name], result),
            )
            if found and report.first_difference is None:
                report.first_difference = Difference(name, *found[0])
            carries[name] = next_carry
            settle_steps = max(settle_steps, int(result.settle_steps[0]))
        report.settle_steps.append(settle_steps)
        report.frames += 1
        report.activations += _size(reference)
        start, carry, earlier = carry, after, reference.counts
        if progress is not None:
            progress(report.frames)
        if report.first_difference is not None:
            break
    if report.frames == 0:
        raise DataError("nothing to verify: there is no frame")
    return report


def random_video(
    shape: tuple[int, int, int], frames: int, seed: int = 0
) -> Iterator[NDArray[np.int8]]:
    """Frames that exercise a network: noise, saturation, flat fields, and slow drifts between them.

    Args:
        shape: (C, H, W) of the network's input.
        frames: How many.
        seed: Of NumPy's PCG64, so that the video is the same everywhere.
    """
    rng = np.random.default_rng(seed)
    scene = rng.integers(-128, 128, shape)
    for number in range(frames):
        kind = number % 8
        if kind == 0:
            scene = rng.integers(-128, 128, shape)
        elif kind == 3:
            scene = np.where(rng.random(shape) < 0.5, -128, 127)
        elif kind == 6:
            scene = np.full(shape, rng.integers(-128, 128))
        else:
            scene = np.roll(scene + rng.integers(-9, 10, shape), 1, axis=2)
        scene = np.clip(scene, -128, 127)
        yield scene.astype(np.int8)


def _size(reference: qann.QannFrame) -> int:
    return sum(array.size for array in (*reference.counts.values(), *reference.heads.values()))


def _measure(reference: qann.QannFrame, result: FrameResult, report: Report) -> None:
    """Note how far each layer is off, in order of the graph."""
    wanted, given = reference.counts | reference.heads, dict(result.counts) | result.heads
    for layer in (name for name in wanted if name in given):
        want, values = wanted[layer], integers(given[layer])
        same_shape = values.shape == want.shape
        difference = int(np.abs(values - want).max()) if same_shape else NOT_AN_INTEGER
        report.layer_max_abs_diff[layer] = max(difference, report.layer_max_abs_diff.get(layer, 0))
        report.max_abs_diff = max(report.max_abs_diff, difference)
