"""Recordings made by hand, for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from crnn_snn_ros.core.graph import INPUT, Graph, Head, Linear, Neurons
from crnn_snn_ros.evaluation.recording import Recording

RATE_HZ = 20.0
START_NS = 10**18


def tiny_graph() -> Graph:
    """Two layers, the second recurrent, and the heads of a driver."""

    def to(source: str, outputs: int, inputs: int) -> tuple[Linear, ...]:
        return (Linear(source, np.ones((outputs, inputs), np.int8)),)

    def constant(size: int, value: int) -> np.ndarray:
        return np.full(size, value, np.int32)

    nodes = (
        Neurons("first", to(INPUT, 3, 4), constant(3, 0), constant(3, 9), 0, 3),
        Neurons("memory", to("first", 2, 3), constant(2, 0), constant(2, 9), -3, 3,
                recurrent=constant(2, 2)),
        Head("steering", to("memory", 1, 2), constant(1, 0), 0.1),
        Head("collision", to("memory", 1, 2), constant(1, 0), 0.1, "logit"),
    )  # fmt: skip
    return Graph((1, 2, 2), nodes)


def recording(
    steering: ArrayLike,
    collision: ArrayLike,
    *,
    true_steering: ArrayLike | None = None,
    label: ArrayLike | None = None,
    settled: ArrayLike | None = None,
    drives: Sequence[int] = (),
    float_net: bool = True,
) -> Recording:
    """The QANN says what the SNN says; the float network says the opposite.

    ``drives`` are the lengths of the drives; by default there is one.
    """
    steering, collision = np.asarray(steering, float), np.asarray(collision, float)
    count = len(steering)
    flags = np.ones(count, bool) if settled is None else np.asarray(settled, bool)
    made = Recording(tiny_graph(), RATE_HZ)
    made.input_operations, made.dense_operations, made.pipeline_s = 12, 24, 0.5
    number = 0
    for length in drives or (count,):
        made.begin(f"drive{len(made.drives)}")
        for within in range(length):
            estimate = (steering[number], collision[number])
            opposite = (-steering[number], 1 - collision[number])
            made.add(
                stamp_ns=START_NS + round(within * 1e9 / RATE_HZ),
                was_reset=within == 0,
                settled=flags[number],
                settle_steps=3 + number % 5,
                spikes=10 * number,
                snn=estimate,
                qann=estimate,
                float=opposite if float_net else (np.nan, np.nan),
                command=(0.5 * (estimate[1] < 0.7), 1.5 * estimate[0]),
                layer_spikes=(6 * number, 4 * number),
                layer_additions=(60 * number, 40 * number),
            )
            number += 1
    unknown = np.full(count, np.nan)
    truth = unknown if true_steering is None else np.asarray(true_steering, float)
    labels = unknown if label is None else np.asarray(label, float)
    for drive in range(len(made.drives)):
        mine = made.rows["drive"] == drive
        made.label(drive, truth[mine], labels[mine])
    return made
