"""A network over drives: spiking, as int64 QANN, in training's own arithmetic; and its figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from crnn_snn_ros.core import qann
from crnn_snn_ros.core.engines.base import Engine
from crnn_snn_ros.core.graph import Graph
from crnn_snn_ros.data.dataset import Sequence as Drive
from crnn_snn_ros.pipeline import COLLISION, STEERING
from crnn_snn_ros.training.evaluate import predict
from crnn_snn_ros.training.network import Network

HEADS = (STEERING, COLLISION)
Floats = NDArray[np.float64]
Heads = dict[str, Floats]  # in their units, frame by frame of all drives


class Spiking(NamedTuple):
    """What a spiking network did; an entry a frame of all drives."""

    heads: Heads
    settled: NDArray[np.bool_]
    steps: NDArray[np.int64]
    spikes: NDArray[np.int64]


def labels(drives: Sequence[Drive]) -> Heads:
    """What the teacher says: steering in rad, collision from 0 to 1."""
    return {
        STEERING: np.concatenate([drive.steering_rad for drive in drives]).astype(np.float64),
        COLLISION: np.concatenate([drive.collision for drive in drives]).astype(np.float64),
    }


def spiking(engine: Engine, drives: Sequence[Drive], cut: int | None = None) -> Spiking:
    """Every frame of every drive, run to its end or cut after so many time-steps."""
    rows: list[tuple[bool, int, int]] = []
    told: dict[str, list[float]] = {name: [] for name in HEADS}
    for drive in drives:
        carry = engine.initial_carry()
        for pixels in drive.frames:
            frame = torch.from_numpy(np.array(pixels[None]))
            result, carry = engine.step(frame, carry, num_steps=cut)
            spikes = sum(int(fired.sum()) for fired in result.activity.values())
            rows.append((bool(result.settled[0]), int(result.settle_steps[0]), spikes))
            for name, values in told.items():
                values.append(float(result.heads[name][0, 0]))
    settled, steps, spikes_of = (np.array(part) for part in zip(*rows, strict=True))
    return Spiking(_scaled(engine.graph, told), settled, steps, spikes_of)


def reference(graph: Graph, drives: Sequence[Drive]) -> Heads:
    """The heads of the int64 QANN."""
    told: dict[str, list[float]] = {name: [] for name in HEADS}
    for drive in drives:
        carry = qann.initial_carry(graph)
        for pixels in drive.frames:
            frame, carry = qann.run_frame(graph, pixels[None], carry)
            for name, values in told.items():
                values.append(float(frame.heads[name][0, 0]))
    return _scaled(graph, told)


def _scaled(graph: Graph, told: dict[str, list[float]]) -> Heads:
    scales = {head.name: head.scale for head in graph.heads()}
    return {name: np.array(values) * scales[name] for name, values in told.items()}


def in_training(network: Network, drives: Sequence[Drive]) -> Heads:
    """The heads as training computes them, float or fake-quantized."""
    told = [predict(network.eval(), drive) for drive in drives]
    return {name: np.concatenate([one[name].double().numpy() for one in told]) for name in HEADS}


def unequal(one: Heads, other: Heads) -> int:
    """How many values of the heads are not the same."""
    return sum(int((values != other[name]).sum()) for name, values in one.items())


def figures(told: Heads, truth: Heads) -> dict[str, Any]:
    """Mean cross entropy of collision, steering RMSE in rad."""
    loss = functional.binary_cross_entropy_with_logits(
        torch.from_numpy(told[COLLISION]), torch.from_numpy(truth[COLLISION])
    )
    error = told[STEERING] - truth[STEERING]
    return {"collision": float(loss), "steering": math.sqrt(float((error**2).mean()))}


def constant(before: Heads, truth: Heads) -> dict[str, Any]:
    """The same figures of whoever says the mean of other drives, whatever is seen."""
    share = float(before[COLLISION].mean())
    logit = math.log(share / (1.0 - share)) if 0.0 < share < 1.0 else 0.0
    said = {
        STEERING: np.full_like(truth[STEERING], before[STEERING].mean()),
        COLLISION: np.full_like(truth[COLLISION], logit),
    }
    return figures(said, truth)


def entropy(truth: Heads) -> float:
    """Mean entropy of the collision labels themselves: no loss is below it."""
    share = torch.from_numpy(truth[COLLISION])
    return float(functional.binary_cross_entropy(share, share))
