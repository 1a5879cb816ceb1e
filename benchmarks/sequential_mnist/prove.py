"""Conversion of a trained network, and what its spiking form does, compared integer for integer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.sequential_mnist.data import Sequences, frames
from benchmarks.sequential_mnist.model import HEAD, Size
from benchmarks.sequential_mnist.train import predict
from crnn_snn_ros.core import qann
from crnn_snn_ros.core.engines import make_engine
from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.core.faults import integers
from crnn_snn_ros.core.graph import INPUT, Graph
from crnn_snn_ros.core.verify import verify
from crnn_snn_ros.training.convert import convert
from crnn_snn_ros.training.network import Network

VERIFIED = 1  # pictures for which spikes, membranes and cuts are judged as well
BATCH = 100
VERIFYING = ("stepwise", "folded")


def measure(
    original: Network, quantized: Network, size: Size, test: Sequences, images: int, device: str
) -> dict[str, Any]:
    """All figures of one case.

    Args:
        original: With float weights.
        quantized: The one to be converted.
        size: Of both.
        test: The test part.
        images: How many of its pictures run as spikes.
        device: "cpu" or "cuda".

    Raises:
        ConversionError: the network cannot be converted without loss.
        DataError: a spiking network is not the QANN.
    """
    conversion = convert(quantized)
    graph = conversion.graph
    every = predict(quantized, size, test.pixels)
    found = spiking(graph, quantized, size, test.pixels[:images], device)
    told = found.pop("digits")
    return {
        "pictures": len(test.digits),
        "float": _right(predict(original, size, test.pixels), test),
        "qann": _right(every, test),
        "snn": _right(torch.from_numpy(told), test),
        "qann_of_the_same": _right(every[:images], test),
        "bound": conversion.bounds.settling_steps,
        "accumulator": conversion.bounds.accumulator,
        "mismatches": sum(conversion.mismatches.values()),
        "verify": verified(graph, size, test.pixels[:VERIFIED], device),
        "spiking": found,
    }


def verified(graph: Graph, size: Size, pixels: torch.Tensor, device: str) -> dict[str, Any]:
    """``verify`` on whole pictures: every spike, membrane, recurrent spike, and cut frames.

    Raises:
        DataError: a difference was found.
    """
    engines = {name: make_engine(name, graph, device) for name in VERIFYING}
    report = verify(graph, engines, frames(pixels, size.window).flatten(0, 1).numpy())
    if report.first_difference is not None:
        raise DataError(f"verify: {report.first_difference}")
    return {"engines": report.engines, "frames": report.frames, "integers": report.activations}


def spiking(
    graph: Graph, quantized: Network, size: Size, pixels: torch.Tensor, device: str
) -> dict[str, Any]:
    """Run pictures as spikes, many at a time, beside the int64 QANN and training's arithmetic.

    Raises:
        DataError: at the first integer that is not the same, of any layer at any step.
    """
    steps: list[NDArray[np.int64]] = []
    digits, compared, spikes = [], 0, 0
    engine = make_engine("folded" if device == "cuda" else "stepwise", graph, device)
    for number, part in enumerate(torch.split(pixels, BATCH)):
        seen = frames(part, size.window)
        with torch.no_grad():
            trained = quantized.eval()(seen.to(device)).activations
        carry, reference_carry = engine.initial_carry(len(part)), qann.initial_carry(graph)
        heads: dict[str, NDArray[np.int64]] = {}
        for n in range(seen.shape[1]):
            frame = seen[:, n]
            reference, reference_carry = qann.run_frame(graph, frame.numpy(), reference_carry)
            result, carry = engine.step(frame, carry)
            for name, want in {**reference.counts, **reference.heads}.items():
                if name == INPUT:
                    continue
                got = result.heads[name] if name in result.heads else result.counts[name]
                place = f"pictures from {number * BATCH}, step {n}, layer {name}"
                _require_same(place, "training's arithmetic", trained[name][:, n], want)
                _require_same(place, f"engine {engine.name}", got, want)
                compared += want.size
            if not bool(result.settled.all()):
                raise DataError(f"pictures from {number * BATCH}, step {n}: not settled")
            steps.append(result.settle_steps.cpu().numpy())
            spikes += sum(int(fired.sum()) for fired in result.activity.values())
            heads = reference.heads
        digits.append(heads[HEAD].argmax(axis=1))
    each = np.concatenate(steps)
    return {
        "digits": np.concatenate(digits),
        "pictures": len(pixels),
        "integers": compared,
        "engine": engine.name,
        "steps_mean": float(each.mean()),
        "steps_p99": float(np.percentile(each, 99)),
        "steps_max": int(each.max()),
        "spikes_per_picture": spikes / len(pixels),
        "neurons": sum(math.prod(engine.shapes[node.name]) for node in graph.neurons()),
    }


def _require_same(place: str, what: str, got: torch.Tensor, want: NDArray[np.int64]) -> None:
    values = integers(got)
    wrong = np.argwhere(values != want) if values.shape == want.shape else [(0,) * want.ndim]
    if len(wrong):
        where = tuple(int(axis) for axis in wrong[0])
        raise DataError(f"{place}, {list(where)}: {what} is not the QANN's {want[where]}")


def _right(digits: torch.Tensor, test: Sequences) -> float:
    return float((digits == test.digits[: len(digits)]).float().mean())
