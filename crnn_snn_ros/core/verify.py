"""Proof by comparison: engines against the int64 QANN, integer ==, every layer, every frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from crnn_snn_ros.core import qann
from crnn_snn_ros.core.bounds import prove
from crnn_snn_ros.core.engines.base import Carry, Engine, FrameResult, Trace
from crnn_snn_ros.core.graph import Graph, Neurons

Int64 = NDArray[np.int64]


class Difference(NamedTuple):
    """The first place where an engine is not the QANN."""

    engine: str
    what: str  # what was compared, in words
    layer: str
    frame: int  # from 0
    neuron: tuple[int, ...]  # its index within the layer
    qann: int  # what the reference says
    snn: int  # what the engine gave

    def __str__(self) -> str:
        return (
            f"engine {self.engine}, frame {self.frame}, layer {self.layer}, neuron "
            f"{list(self.neuron)}: {self.what} is {self.snn}, expected {self.qann}"
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
    settle_steps: list[int] = field(default_factory=list)
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
    the counts, end within the proven bound and are settled, and recurrent spikes arrive in
    canonical form. Stops after the first frame with a fault.

    Args:
        graph: The integer network.
        engines: Engines to compare, by name.
        frames: Network inputs, int8 (C, H, W) each.
        progress: Called after each frame with the number done.
    """
    report = Report(tuple(engines), prove(graph).settling_steps)
    carry = qann.initial_carry(graph)
    carries = {name: engine.initial_carry() for name, engine in engines.items()}
    for number, pixels in enumerate(frames):
        before = carry
        reference, carry = qann.run_frame(graph, pixels[None], before)
        for name, engine in engines.items():
            result, carries[name] = engine.step(
                torch.from_numpy(pixels[None]), carries[name], trace=True
            )
            faults = _faults(graph, reference, before, result, carries[name], report)
            for what, layer, index, want, got in faults:
                if report.first_difference is None:
                    report.first_difference = Difference(
                        name, what, layer, number, index, want, got
                    )
            if len(report.settle_steps) == report.frames:
                report.settle_steps.append(int(result.settle_steps[0]))
        report.frames += 1
        report.activations += _size(reference)
        if progress is not None:
            progress(report.frames)
        if report.first_difference is not None:
            break
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


_Fault = tuple[str, str, tuple[int, ...], int, int]


def _faults(
    graph: Graph,
    reference: qann.QannFrame,
    before: Mapping[str, Int64],
    result: FrameResult,
    carry: Carry,
    report: Report,
) -> Iterator[_Fault]:
    trace = result.trace
    assert trace is not None
    outputs = [*result.counts.items(), *result.heads.items()]
    for layer, got in outputs:
        want = reference.heads[layer] if layer in reference.heads else reference.counts[layer]
        difference = int(np.abs(_integers(got) - want).max())
        report.layer_max_abs_diff[layer] = max(difference, report.layer_max_abs_diff.get(layer, 0))
        report.max_abs_diff = max(report.max_abs_diff, difference)
    for node in graph.nodes:  # in order of the graph, so that the first fault is nearest its cause
        if node.name in reference.heads:
            head = result.heads[node.name]
            yield from _unequal("accumulator", node.name, reference.heads[node.name], head)
        elif node.name in trace.spikes:
            yield from _spike_faults(node.name, reference, result, trace)
        if isinstance(node, Neurons):
            residue = _residue(node, reference)
            yield from _unequal("membrane", node.name, residue, trace.membranes[node.name])
            if node.recurrent is not None:
                yield from _carry_faults(node.name, reference, before, trace, carry)
    steps = int(result.settle_steps[0])
    if len(report.settle_steps) > report.frames and steps != report.settle_steps[-1]:
        yield "settle steps (engines differ)", "(network)", (), report.settle_steps[-1], steps
    if steps > report.bound:
        yield "last active time-step", "(network)", (), report.bound, steps
    if not bool(result.settled[0]):
        yield "settled flag", "(network)", (), 1, 0


def _spike_faults(
    layer: str, reference: qann.QannFrame, result: FrameResult, trace: Trace
) -> Iterator[_Fault]:
    yield from _unequal("spike count", layer, reference.counts[layer], result.counts[layer])
    spikes = _integers(trace.spikes[layer])
    largest = np.abs(spikes).max(axis=0)
    yield from _unequal("largest |spike|", layer, np.minimum(largest, 1), largest)
    yield from _unequal("sum of spikes", layer, reference.counts[layer], spikes.sum(axis=0))


def _carry_faults(
    layer: str, reference: qann.QannFrame, before: Mapping[str, Int64], trace: Trace, carry: Carry
) -> Iterator[_Fault]:
    spikes = _integers(trace.recurrent_spikes[layer])
    count = np.broadcast_to(before[layer], spikes.shape[1:])
    yield from _unequal("sum of recurrent spikes", layer, count, spikes.sum(axis=0))
    for t, spike in enumerate(spikes, start=1):
        canonical = np.sign(count) * (np.abs(count) >= t)
        yield from _unequal(f"recurrent spike at time-step {t}", layer, canonical, spike)
    yield from _unequal("carry", layer, reference.counts[layer], carry.counts[layer])


def _residue(node: Neurons, reference: qann.QannFrame) -> Int64:
    charge = reference.charges[node.name]
    threshold = node.threshold.astype(np.int64).reshape((-1,) + (1,) * (charge.ndim - 2))
    residue: Int64 = charge - threshold * reference.counts[node.name]
    return residue


def _unequal(what: str, layer: str, want: Int64, got: torch.Tensor | Int64) -> Iterator[_Fault]:
    """Yield the first neuron whose value is not the expected one, if there is any."""
    values = _integers(got) if isinstance(got, torch.Tensor) else got
    wrong = np.argwhere(values != want)
    if len(wrong):
        place = tuple(int(axis) for axis in wrong[0])
        yield what, layer, place[1:], int(want[place]), int(values[place])


def _integers(values: torch.Tensor) -> Int64:
    """Exact integers of a tensor that must hold integers; a fraction shows up as a difference."""
    array: Int64 = values.detach().cpu().to(torch.float64).numpy()
    if not np.array_equal(array, np.trunc(array)):
        return np.where(array == np.trunc(array), array, np.iinfo(np.int32).max).astype(np.int64)
    return array.astype(np.int64)
