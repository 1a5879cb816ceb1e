"""Proof by comparison: every engine against the int64 QANN, integer ==, every layer and frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from crnn_snn_ros.core import qann
from crnn_snn_ros.core.bounds import Bounds, prove
from crnn_snn_ros.core.engines.base import Carry, Engine, FrameResult, Trace
from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.core.graph import Graph, MaxPool, Neurons

Int64 = NDArray[np.int64]
NETWORK = "(network)"  # the layer named where a fault is of the whole frame
NOT_AN_INTEGER = int(np.iinfo(np.int32).max)  # stands for a fraction, infinity or NaN in a report


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
    the counts, end within the proven bound of their layer, and recurrent spikes arrive in canonical
    form. Each frame is run once more and cut somewhere: it must call itself settled exactly if
    nothing was lost. Stops after the first frame with a fault.

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
    bounds = prove(graph)
    report = Report(tuple(engines), bounds.settling_steps)
    carry = qann.initial_carry(graph)
    carries = {name: engine.initial_carry() for name, engine in engines.items()}
    for number, pixels in enumerate(frames):
        reference, after = qann.run_frame(graph, pixels[None], carry)
        frame = _Frame(graph, bounds, number, torch.from_numpy(pixels[None]), reference, carry)
        for name, engine in engines.items():
            result, next_carry = engine.step(frame.pixels, carries[name], trace=True)
            _measure(reference, result, report)
            faults = (
                *_faults(frame, result, next_carry),
                *_cut_faults(frame, engine, carries[name], result),
            )
            if faults and report.first_difference is None:
                report.first_difference = Difference(name, *faults[0])
            carries[name] = next_carry
        report.settle_steps.append(int(result.settle_steps[0]))
        report.frames += 1
        report.activations += _size(reference)
        carry = after
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


class _Frame(NamedTuple):
    """What every engine is held to in one frame."""

    graph: Graph
    bounds: Bounds
    number: int
    pixels: torch.Tensor  # (1, C, H, W)
    reference: qann.QannFrame
    before: Mapping[str, Int64]  # carry of the reference


_Fault = tuple[str, str, int, tuple[int, ...], int, int]  # a Difference without its engine


def _size(reference: qann.QannFrame) -> int:
    return sum(array.size for array in (*reference.counts.values(), *reference.heads.values()))


def _measure(reference: qann.QannFrame, result: FrameResult, report: Report) -> None:
    """Note how far each layer is off, in order of the graph."""
    wanted, given = reference.counts | reference.heads, result.counts | result.heads
    for layer in (name for name in wanted if name in given):
        want, values = wanted[layer], _integers(given[layer])
        same_shape = values.shape == want.shape
        difference = int(np.abs(values - want).max()) if same_shape else NOT_AN_INTEGER
        report.layer_max_abs_diff[layer] = max(difference, report.layer_max_abs_diff.get(layer, 0))
        report.max_abs_diff = max(report.max_abs_diff, difference)


def _faults(frame: _Frame, result: FrameResult, carry: Carry) -> Iterator[_Fault]:
    """All faults, in order of the graph, so that the first is nearest its cause."""
    trace, reference = result.trace, frame.reference
    assert trace is not None
    for node in frame.graph.nodes:
        if node.name in reference.heads:
            head = result.heads[node.name]
            yield from _unequal(
                frame, "accumulator", node.name, reference.heads[node.name], _integers(head)
            )
        elif isinstance(node, Neurons | MaxPool):
            yield from _spike_faults(frame, node.name, result, trace)
        if isinstance(node, Neurons):
            membrane = _integers(trace.membranes[node.name])
            yield from _unequal(frame, "membrane", node.name, _residue(node, reference), membrane)
            if node.recurrent is not None:
                yield from _carry_faults(frame, node.name, trace, carry)
    yield from _network_faults(frame, result, trace, carry)


def _spike_faults(frame: _Frame, layer: str, result: FrameResult, trace: Trace) -> Iterator[_Fault]:
    want = frame.reference.counts[layer]
    spikes = _integers(trace.spikes[layer])
    largest = np.abs(spikes).max(axis=0)
    steps = np.arange(1, len(spikes) + 1).reshape(-1, *[1] * want.ndim)
    last = np.where(spikes != 0, steps, 0).max(axis=0)
    fired, count = _integers(result.activity[layer]), _integers(result.counts[layer])
    bound = frame.bounds.layer_steps[layer]
    yield from _unequal(frame, "spike count", layer, want, count)
    yield from _unequal(frame, "largest |spike|", layer, np.minimum(largest, 1), largest)
    yield from _unequal(frame, "sum of spikes", layer, want, spikes.sum(axis=0))
    yield from _unequal(frame, "number of spikes", layer, np.abs(spikes).sum(axis=0), fired)
    yield from _unequal(frame, "last spike's time-step", layer, np.minimum(last, bound), last)


def _carry_faults(frame: _Frame, layer: str, trace: Trace, carry: Carry) -> Iterator[_Fault]:
    want = frame.reference.counts[layer]
    spikes = _integers(trace.recurrent_spikes[layer])
    before = frame.before[layer]  # (N, 1) in the first frame
    before = before.reshape(before.shape + (1,) * (want.ndim - before.ndim))
    count = np.broadcast_to(before, want.shape)
    yield from _unequal(frame, "sum of recurrent spikes", layer, count, spikes.sum(axis=0))
    for t, spike in enumerate(spikes, start=1):
        canonical = np.sign(count) * (np.abs(count) >= t)
        yield from _unequal(frame, f"recurrent spike at time-step {t}", layer, canonical, spike)
    yield from _unequal(frame, "carry", layer, want, _integers(carry.counts[layer]))


def _network_faults(
    frame: _Frame, result: FrameResult, trace: Trace, carry: Carry
) -> Iterator[_Fault]:
    """Of what the engine says about the frame: how long it took, and whether it is exact."""
    neurons = (trace.spikes[node.name] for node in frame.graph.neurons())
    trains = (*neurons, *trace.recurrent_spikes.values())
    want = max(_last_activity(train) for train in trains)
    said = [
        ("last active time-step", want, int(result.settle_steps[0])),
        ("settled flag", 1, int(result.settled[0])),
        ("settled flag of the carry", 1, int(carry.exact[0])),
    ]
    for what, expected, got in said:
        if got != expected:
            yield what, NETWORK, frame.number, (), expected, got


def _cut_faults(
    frame: _Frame, engine: Engine, before: Carry, whole: FrameResult
) -> Iterator[_Fault]:
    """Cut the frame at some time-step, another one in each frame, and see what the engine says."""
    settle_steps = int(whole.settle_steps[0])
    cut = 1 + frame.number % (settle_steps + 1)
    result, carry = engine.step(frame.pixels, before, num_steps=cut)
    want, got = int(cut >= settle_steps), int(result.settled[0])
    if got != want:
        yield f"settled flag, cut at time-step {cut}", NETWORK, frame.number, (), want, got
    if int(carry.exact[0]) != want:
        yield f"settled flag of the carry, cut at {cut}", NETWORK, frame.number, (), want, 1 - want
    if want:
        for layer, head in frame.reference.heads.items():
            values = _integers(result.heads[layer])
            yield from _unequal(frame, f"accumulator, cut at {cut}", layer, head, values)
        for layer, counts in carry.counts.items():
            count = frame.reference.counts[layer]
            yield from _unequal(frame, f"carry, cut at {cut}", layer, count, _integers(counts))


def _residue(node: Neurons, reference: qann.QannFrame) -> Int64:
    charge = reference.charges[node.name]
    threshold = node.threshold.astype(np.int64).reshape((-1,) + (1,) * (charge.ndim - 2))
    residue: Int64 = charge - threshold * reference.counts[node.name]
    return residue


def _last_activity(train: torch.Tensor) -> int:
    steps = train.flatten(1).any(dim=1).nonzero()
    return int(steps[-1]) + 1 if len(steps) else 0


def _unequal(frame: _Frame, what: str, layer: str, want: Int64, got: Int64) -> Iterator[_Fault]:
    """Yield the first neuron whose value is not the expected one, if there is any."""
    if got.shape != want.shape:
        yield f"size of the {what}", layer, frame.number, got.shape, want.size, got.size
        return
    wrong = np.argwhere(got != want)
    if len(wrong):
        place = tuple(int(axis) for axis in wrong[0])
        yield what, layer, frame.number, place[1:], int(want[place]), int(got[place])


def _integers(values: torch.Tensor) -> Int64:
    """Exact integers of a tensor that must hold integers; anything else shows as a difference."""
    array = values.detach().cpu().to(torch.float64).numpy()
    whole = np.isfinite(array) & (array == np.trunc(array))
    integers: Int64 = np.where(whole, array, NOT_AN_INTEGER).astype(np.int64)
    return integers
