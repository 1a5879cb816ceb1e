"""What is proven of a graph before it may run: exact arithmetic and a settling time.

Both are recursions over the graph, from the weights alone, for every input there can be. The
claims and their derivation: README, "The science".
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import ConversionError
from crnn_snn_ros.core.graph import (
    INPUT,
    INPUT_MIN,
    MAX_THRESHOLD,
    MIN_THRESHOLD,
    Graph,
    Head,
    MaxPool,
    Neurons,
    SumPool,
    sources,
    validate,
)

ACCUMULATOR_LIMIT = 2**24  # float32 holds every integer below it, so sums are exact in any order


class Bounds(NamedTuple):
    """Proven limits of a graph."""

    accumulator: int  # largest |partial sum| of any membrane or head, below ACCUMULATOR_LIMIT
    settling_steps: int  # no spike after this time-step of a frame
    layer_steps: dict[str, int]  # the same for each node


def prove(graph: Graph, *, incremental: bool = False) -> Bounds:
    """Check the values in a graph and compute its bounds.

    Args:
        graph: Valid or not.
        incremental: Of a network that is charged with differences between frames: they span twice
            the range of what they are differences of, and a count may begin at any value.

    Raises:
        ConversionError: the structure is wrong, a threshold is outside [2, 2047], or a membrane
            could leave the integers that float32 represents exactly.
    """
    validate(graph)
    largest = largest_counts(graph, differences=incremental)
    accumulator = 0
    for node in graph.nodes:
        if isinstance(node, Neurons | Head):
            reach = _largest_membrane(node, largest)
            if reach >= ACCUMULATOR_LIMIT:
                raise ConversionError(
                    f"node '{node.name}': a membrane could reach {reach}, not below 2^24; "
                    "use fewer levels, a smaller threshold or fewer inputs"
                )
            accumulator = max(accumulator, reach)
    steps = _settling_steps(graph, incremental)
    return Bounds(accumulator, max(steps.values()), steps)


def largest_counts(graph: Graph, *, differences: bool = False) -> dict[str, int]:
    """Largest |count| that one element of every node (and of the input) can deliver in a frame.

    Args:
        graph: A validated graph.
        differences: Of what is delivered between any two counts instead.

    Raises:
        ConversionError: a sum-pool could leave the integers that float32 represents exactly.
    """
    factor = 2 if differences else 1
    largest = {INPUT: factor * -INPUT_MIN}
    for node in graph.nodes:
        if isinstance(node, Neurons):
            largest[node.name] = factor * max(node.n_max, -node.n_min)
        elif isinstance(node, SumPool):
            largest[node.name] = node.kernel[0] * node.kernel[1] * largest[node.source]
            if largest[node.name] >= ACCUMULATOR_LIMIT:
                raise ConversionError(
                    f"node '{node.name}': a sum could reach {largest[node.name]}, not below 2^24; "
                    "use a smaller pool"
                )
        elif isinstance(node, MaxPool):
            largest[node.name] = largest[node.source]
    return largest


def _largest_membrane(node: Neurons | Head, largest: dict[str, int]) -> int:
    reach: NDArray[np.int64] = np.abs(node.bias.astype(np.int64))
    for synapse in node.synapses:
        if reach.max() >= ACCUMULATOR_LIMIT:  # enough is known, and int64 must not overflow
            break
        reach = reach + _row_magnitudes(synapse.weight) * largest[synapse.source]
    if isinstance(node, Neurons):
        threshold = node.threshold.astype(np.int64)
        if threshold.min() < MIN_THRESHOLD or threshold.max() > MAX_THRESHOLD:
            raise ConversionError(
                f"node '{node.name}': thresholds span {threshold.min()}..{threshold.max()}, "
                f"allowed is {MIN_THRESHOLD}..{MAX_THRESHOLD}"
            )
        count = max(node.n_max, -node.n_min)
        reach = reach + threshold // 2 + threshold * count
        if node.recurrent is not None:
            reach = reach + np.abs(node.recurrent.astype(np.int64)) * largest[node.name]
    return int(reach.max())


def _row_magnitudes(weight: NDArray[np.signedinteger[Any]]) -> NDArray[np.int64]:
    """Sum of |weight| per output channel, without a copy eight times as large as int8 weights."""
    rows = weight.reshape(len(weight), -1)
    positive = rows.sum(axis=1, dtype=np.int64, where=rows > 0)
    magnitude: NDArray[np.int64] = 2 * positive - rows.sum(axis=1, dtype=np.int64)
    return magnitude


def _settling_steps(graph: Graph, incremental: bool) -> dict[str, int]:
    """Last time-step at which each node can still change (README, "How many time-steps")."""
    steps = {INPUT: 1}
    for node in graph.nodes:
        arrival = max(steps[source] for source in sources(node))
        if isinstance(node, Neurons):
            span = node.n_max - node.n_min
            largest = span if incremental else max(node.n_max, -node.n_min)
            if node.recurrent is not None:
                steps[node.name] = max(arrival, largest) + span - 1
            elif arrival == 1:  # the whole charge is there at once, so the count only walks one way
                steps[node.name] = largest
            else:
                steps[node.name] = arrival + span - 1
        else:
            steps[node.name] = arrival
    return steps
