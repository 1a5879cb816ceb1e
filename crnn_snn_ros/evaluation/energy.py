"""Energy of a frame's arithmetic, estimated from the usual figures for a 45 nm chip.

Source of the figures: M. Horowitz, "Computing's energy problem (and what we can do about it)",
IEEE ISSCC 2014, pp. 10-14. They are of arithmetic alone: fetching operands from memory costs more
than computing with them on most chips, and how much more depends on the chip. So this compares
networks, and predicts no chip's consumption.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from crnn_snn_ros.core.graph import Graph, validate

SOURCE = (
    "M. Horowitz, Computing's energy problem (and what we can do about it), "
    "IEEE ISSCC 2014, pp. 10-14: 45 nm"
)
FLOAT32_MULTIPLY_PJ, FLOAT32_ADD_PJ = 3.7, 0.9
INT8_MULTIPLY_PJ, INT32_ADD_PJ = 0.2, 0.1
FLOAT32_MAC_PJ = FLOAT32_MULTIPLY_PJ + FLOAT32_ADD_PJ
INT8_MAC_PJ = INT8_MULTIPLY_PJ + INT32_ADD_PJ  # products are summed in 32 bits


class Cost(NamedTuple):
    """Operations of one kind in a frame, and their energy."""

    network: str
    what: str
    operations: float
    picojoule: float  # of one operation

    @property
    def microjoule(self) -> float:
        """Energy of all of them."""
        return self.operations * self.picojoule / 1e6


def costs(
    graph: Graph,
    *,
    dense_operations: float,
    input_operations: float,
    additions: float,
    settle_steps: float,
) -> list[Cost]:
    """What a frame costs as a float network, as integers run once, and in spikes.

    Args:
        graph: The integer network; its neurons are looked at in every time-step.
        dense_operations: Multiply-accumulates of the network as an ordinary one.
        input_operations: Those of the analog input, which the spiking network has as well.
        additions: Accumulates that spikes cause.
        settle_steps: Time-steps to quiescence.

    Returns:
        One line for each network and kind of operation.
    """
    shapes = validate(graph)
    neurons = sum(math.prod(shapes[node.name]) for node in graph.neurons())
    return [
        Cost("float", "float32 multiply-accumulate", dense_operations, FLOAT32_MAC_PJ),
        Cost("qann", "int8 multiply, int32 add", dense_operations, INT8_MAC_PJ),
        Cost("snn", "first layer: int8 multiply, int32 add", input_operations, INT8_MAC_PJ),
        Cost("snn", "a spike's weight added, int32", additions, INT32_ADD_PJ),
        Cost("snn", "membrane compared, int32", neurons * settle_steps, INT32_ADD_PJ),
    ]


def totals_uj(lines: list[Cost]) -> dict[str, float]:
    """Energy of a frame for each network, uJ."""
    found: dict[str, float] = {}
    for line in lines:
        found[line.network] = found.get(line.network, 0.0) + line.microjoule
    return found
