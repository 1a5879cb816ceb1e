"""Where an engine's answer to one frame is not what the int64 QANN and the bounds say.

``verify`` runs the frames; here each is judged. Spikes and membranes are judged where there is a
trace; an engine that does not spike has counts, heads and a carry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from crnn_snn_ros.core import qann
from crnn_snn_ros.core.bounds import Bounds
from crnn_snn_ros.core.engines.base import Carry, Engine, FrameResult, Trace
from crnn_snn_ros.core.graph import Graph, MaxPool, Neurons

Int64 = NDArray[np.int64]
NETWORK = "(network)"  # the layer named where a fault is of the whole frame
NOT_AN_INTEGER = int(np.iinfo(np.int32).max)  # stands for a fraction, infinity or NaN in a report


class JudgedFrame(NamedTuple):
    """What every engine is held to in one frame."""

    bounds: Bounds
    graph: Graph
    number: int
    pixels: torch.Tensor  # (1, C, H, W)
    reference: qann.QannFrame
    arriving: Mapping[str, Int64]  # recurrent counts that are charged in this frame
    start: Mapping[str, Int64]  # counts at its begin, none for zeros


Fault = tuple[str, str, int, tuple[int, ...], int, int]  # a Difference without its engine


def faults(
    frame: JudgedFrame, engine: Engine, result: FrameResult, carry: Carry
) -> Iterator[Fault]:
    """All faults, in order of the graph, so that the first is nearest its cause."""
    trace, reference = result.trace, frame.reference
    assert (trace is not None) == engine.spikes
    for node in frame.graph.nodes:
        if node.name in reference.heads:
            want, got = reference.heads[node.name], integers(result.heads[node.name])
            yield from _unequal(frame, "accumulator", node.name, want, got)
        elif isinstance(node, Neurons | MaxPool):
            want, got = reference.counts[node.name], integers(result.counts[node.name])
            yield from _unequal(frame, "spike count", node.name, want, got)
            if trace is not None:
                yield from _spike_faults(frame, node.name, result, trace)
        if isinstance(node, Neurons):
            if trace is not None:
                want, got = _residue(node, reference), integers(trace.membranes[node.name])
                yield from _unequal(frame, "membrane", node.name, want, got)
            if node.recurrent is not None:
                yield from _carry_faults(frame, node.name, trace, carry)
    yield from _network_faults(frame, result, carry)


def _spike_faults(
    frame: JudgedFrame, layer: str, result: FrameResult, trace: Trace
) -> Iterator[Fault]:
    want = frame.reference.counts[layer]
    spikes = integers(trace.spikes[layer])
    largest = np.abs(spikes).max(axis=0)
    steps = np.arange(1, len(spikes) + 1).reshape(-1, *[1] * want.ndim)
    last = np.where(spikes != 0, steps, 0).max(axis=0)
    fired, bound = integers(result.activity[layer]), frame.bounds.layer_steps[layer]
    yield from _unequal(frame, "largest |spike|", layer, np.minimum(largest, 1), largest)
    change = want - frame.start.get(layer, 0)
    yield from _unequal(frame, "sum of spikes", layer, change, spikes.sum(axis=0))
    yield from _unequal(frame, "number of spikes", layer, np.abs(spikes).sum(axis=0), fired)
    yield from _unequal(frame, "last spike's time-step", layer, np.minimum(last, bound), last)


def _carry_faults(
    frame: JudgedFrame, layer: str, trace: Trace | None, carry: Carry
) -> Iterator[Fault]:
    want = frame.reference.counts[layer]
    if trace is not None:
        spikes = integers(trace.recurrent_spikes[layer])
        before = frame.arriving[layer]  # (N, 1) in the first frame
        before = before.reshape(before.shape + (1,) * (want.ndim - before.ndim))
        count = np.broadcast_to(before, want.shape)
        yield from _unequal(frame, "sum of recurrent spikes", layer, count, spikes.sum(axis=0))
        for t, spike in enumerate(spikes, start=1):
            canonical = np.sign(count) * (np.abs(count) >= t)
            yield from _unequal(frame, f"recurrent spike at time-step {t}", layer, canonical, spike)
    yield from _unequal(frame, "carry", layer, want, integers(carry.counts[layer]))


def _network_faults(frame: JudgedFrame, result: FrameResult, carry: Carry) -> Iterator[Fault]:
    """Of what the engine says about the frame: how long it took, and whether it is exact."""
    said = [
        ("last active time-step", _last_active(frame, result.trace), int(result.settle_steps[0])),
        ("settled flag", 1, int(result.settled[0])),
        ("settled flag of the carry", 1, int(carry.exact[0])),
    ]
    if result.trace is None:
        said.append(("number of active layers", 0, len(result.activity)))
    for what, expected, got in said:
        if got != expected:
            yield what, NETWORK, frame.number, (), expected, got


def _last_active(frame: JudgedFrame, trace: Trace | None) -> int:
    """Last time-step at which a neuron fired or a recurrent spike arrived; 0: there was none."""
    if trace is None:
        return 0
    neurons = (trace.spikes[node.name] for node in frame.graph.neurons())
    last = 0
    for train in (*neurons, *trace.recurrent_spikes.values()):
        steps = train.flatten(1).any(dim=1).nonzero()
        last = max(last, int(steps[-1]) + 1 if len(steps) else 0)
    return last


def cut_faults(
    frame: JudgedFrame, engine: Engine, before: Carry, whole: FrameResult
) -> Iterator[Fault]:
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
            values = integers(result.heads[layer])
            yield from _unequal(frame, f"accumulator, cut at {cut}", layer, head, values)
        for layer, counts in carry.counts.items():
            count = frame.reference.counts[layer]
            yield from _unequal(frame, f"carry, cut at {cut}", layer, count, integers(counts))


def _residue(node: Neurons, reference: qann.QannFrame) -> Int64:
    charge = reference.charges[node.name]
    threshold = node.threshold.astype(np.int64).reshape((-1,) + (1,) * (charge.ndim - 2))
    residue: Int64 = charge - threshold * reference.counts[node.name]
    return residue


def _unequal(frame: JudgedFrame, what: str, layer: str, want: Int64, got: Int64) -> Iterator[Fault]:
    """Yield the first neuron whose value is not the expected one, if there is any."""
    if got.shape != want.shape:
        yield f"size of the {what}", layer, frame.number, got.shape, want.size, got.size
        return
    wrong = np.argwhere(got != want)
    if len(wrong):
        place = tuple(int(axis) for axis in wrong[0])
        yield what, layer, frame.number, place[1:], int(want[place]), int(got[place])


def integers(values: torch.Tensor) -> Int64:
    """Exact integers of a tensor that must hold integers; anything else shows as a difference."""
    array = values.detach().cpu().to(torch.float64).numpy()
    whole = np.isfinite(array) & (array == np.trunc(array))
    integers: Int64 = np.where(whole, array, NOT_AN_INTEGER).astype(np.int64)
    return integers
