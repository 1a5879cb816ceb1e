"""The network on which faults of the core must show. Run it to write the model file anew.

It has what a fault can hide behind: a recurrent layer on the input with gains of -3 to 3, a
max-pool that overlaps and is padded, a sum-pool, residuals by identity and by convolution, ReLU and
signed layers, even and odd thresholds down to 2 (so that membranes often meet them exactly),
neurons that saturate at either end, and recurrent spikes that go on after all else is silent.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from model_samples import model_of, vector
from numpy.typing import NDArray

from crnn_snn_ros.core.graph import (
    INPUT,
    Conv,
    Graph,
    Head,
    Identity,
    Linear,
    MaxPool,
    Neurons,
    Node,
    SumPool,
)
from crnn_snn_ros.io.model_file import Model, save

EXERCISE = Path(__file__).parent / "data" / "exercise.snn"


def scattered(seed: int, largest: int, *shape: int) -> NDArray[np.int8]:
    """Weights in [-largest, largest], the same in every version of NumPy."""
    hashed = (np.arange(np.prod(shape), dtype=np.uint64) + np.uint64(1000 * seed + 1)) * np.uint64(
        2654435761
    )
    values = (hashed % np.uint64(2**32) >> np.uint64(9)) % np.uint64(2 * largest + 1)
    return (values.astype(np.int64) - largest).astype(np.int8).reshape(shape)


def exercise_graph() -> Graph:
    """Input (1, 8, 12) -> 4 recurrent maps -> residual blocks -> memory -> two heads."""
    return Graph((1, 8, 12), (*_vision(), *_memory(), *_heads()))


def _vision() -> tuple[Node, ...]:
    eye = Neurons(
        "eye",
        (Conv(INPUT, scattered(1, 15, 4, 1, 3, 3), stride=1, padding=1),),
        vector(-40, 300, 0, 5),
        vector(901, 700, 1001, 64),
        -3,
        3,
        recurrent=vector(2703, -2100, 500, -64),
    )
    peak = MaxPool("peak", "eye", kernel=3, stride=2, padding=1)
    block1 = Neurons(
        "block1",
        (
            Conv("peak", scattered(2, 2, 4, 4, 3, 3), padding=1),
            Identity("peak", vector(2, -3, 5, 1)),
        ),
        vector(1, 0, 9, -4),
        vector(3, 4, 2, 5),
        0,
        7,
    )
    block2 = Neurons(
        "block2",
        (
            Conv("block1", scattered(3, 2, 6, 4, 3, 3), stride=2, padding=1),
            Conv("peak", scattered(4, 3, 6, 4, 1, 1), stride=2),
        ),
        vector(0, -7, 12, 3, 1, 40),
        vector(8, 11, 6, 7, 2, 9),
        -5,
        5,
    )
    return eye, peak, block1, block2, SumPool("mean", "block2", (2, 1))


def _memory() -> tuple[Node, ...]:
    memory = Neurons(
        "memory",
        (Linear("mean", scattered(5, 4, 6, 18)),),
        vector(3, -2, 0, 150, -150, 1),
        vector(47, 40, 29, 30, 31, 2),
        -7,
        7,
        recurrent=vector(51, -120, 10, 0, 93, 1),
    )
    # Of its three neurons the first forbids itself to fire again, the second fires last of all.
    echo = Neurons(
        "echo",
        (Linear("mean", scattered(10, 9, 3, 18)),),
        vector(60, -126, 4),
        vector(4, 3, 40),
        0,
        15,
        recurrent=vector(-12, 9, 1),
    )
    mind = Neurons(
        "mind",
        (Linear("memory", scattered(6, 3, 5, 6)), Linear("echo", scattered(11, 2, 5, 3))),
        vector(0, 2, -3, 30, -30),
        vector(12, 9, 14, 15, 6),
        -3,
        4,
        recurrent=vector(36, -27, 1, -4, 0),
    )
    return memory, echo, mind


def _heads() -> tuple[Node, ...]:
    return (
        Head("steering", (Linear("mind", scattered(7, 90, 1, 5)),), vector(-8), 0.001),
        Head(
            "collision",
            (Linear("memory", scattered(8, 90, 1, 6)), Linear("mean", scattered(9, 50, 1, 18))),
            vector(9),
            2.0**-10,
            "logit",
        ),
    )


def exercise_model() -> Model:
    """The graph as a model of a camera that a robot could carry."""
    return model_of(
        exercise_graph(),
        provenance={"data": "none: scattered integers", "licence": "CC0-1.0", "seed": None},
    )


if __name__ == "__main__":
    print(save(EXERCISE, exercise_model()))
