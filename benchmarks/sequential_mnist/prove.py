"""Conversion of a trained network, and what its spiking form does, compared integer for integer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.sequential_mnist.data import Sequences, frames
from benchmarks.sequential_mnist.forms import predict
from benchmarks.sequential_mnist.model import HEAD, Size
from crnn_snn_ros.core import qann
from crnn_snn_ros.core.engines import ENCODINGS, engines_on, make_engine
from crnn_snn_ros.core.engines.base import Engine
from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.core.faults import integers
from crnn_snn_ros.core.graph import INPUT, Graph
from crnn_snn_ros.core.verify import verify
from crnn_snn_ros.training.convert import convert
from crnn_snn_ros.training.network import Network

VERIFIED = 100  # steps of a picture for which spikes, membranes and cuts are judged as well
BATCH = 250
Integers = Mapping[str, NDArray[np.int64]]  # by layer


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
        "accumulator": conversion.bounds.accumulator,
        "mismatches": sum(conversion.mismatches.values()),
        "verify": verified(graph, size, _middle(test.pixels[:1]), device),
        "spiking": found,
    }


def verified(graph: Graph, size: Size, pixels: torch.Tensor, device: str) -> dict[str, Any]:
    """``verify`` on pictures: every spike, membrane, recurrent spike, and cut frames.

    Raises:
        DataError: a difference was found.
    """
    names = [name for name in engines_on(device) if name != "stepwise"]  # minutes for a picture
    engines = {name: make_engine(name, graph, device) for name in names}
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
    runs = [_Run(make_engine("auto", graph, device, encoding)) for encoding in ENCODINGS]
    digits, compared = [], 0
    for number, part in enumerate(torch.split(pixels, BATCH)):
        seen = frames(part, size.window)
        with torch.no_grad():
            trained = quantized.eval()(seen.to(device)).activations
        reference_carry = qann.initial_carry(graph)
        for run in runs:
            run.carry = run.engine.initial_carry(len(part))
        for n in range(seen.shape[1]):
            frame = seen[:, n]
            reference, reference_carry = qann.run_frame(graph, frame.numpy(), reference_carry)
            wanted = {**reference.counts, **reference.heads}
            wanted.pop(INPUT)
            compared += sum(want.size for want in wanted.values())
            place = f"pictures from {number * BATCH}, step {n}"
            told = {name: values[:, n] for name, values in trained.items()}
            _require_same(f"{place}, training's arithmetic", told, wanted)
            for run in runs:
                run.step(place, frame, wanted)
        digits.append(reference.heads[HEAD].argmax(axis=1))
    return {
        "digits": np.concatenate(digits),
        "pictures": len(pixels),
        "integers": compared,
        "engine": runs[0].engine.name,
        "neurons": sum(math.prod(runs[0].engine.shapes[node.name]) for node in graph.neurons()),
        "encodings": {
            name: run.figures(len(pixels)) for name, run in zip(ENCODINGS, runs, strict=True)
        },
    }


class _Run:
    """One way of charging, picture by picture."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.carry = engine, engine.initial_carry()
        self._steps: list[NDArray[np.int64]] = []
        self._spikes = 0

    def step(self, place: str, frame: torch.Tensor, wanted: Integers) -> None:
        """One step of all pictures, compared."""
        result, self.carry = self.engine.step(frame, self.carry)
        place += f", engine {self.engine.name}" + ", incremental" * self.engine.incremental
        _require_same(place, {**result.counts, **result.heads}, wanted)
        if not bool(result.settled.all()):
            raise DataError(f"{place}: not settled")
        self._steps.append(result.settle_steps.cpu().numpy())
        self._spikes += sum(int(fired.sum()) for fired in result.activity.values())

    def figures(self, pictures: int) -> dict[str, float]:
        """Time-steps of a step, spikes of a picture."""
        each = np.concatenate(self._steps)
        return {
            "mean": float(each.mean()),
            "p99": float(np.percentile(each, 99)),
            "most": int(each.max()),
            "bound": self.engine.bounds.settling_steps,
            "spikes": self._spikes / pictures,
        }


def _require_same(place: str, told: Mapping[str, torch.Tensor], wanted: Integers) -> None:
    for layer, want in wanted.items():
        values = integers(told[layer])
        wrong = np.argwhere(values != want) if values.shape == want.shape else [(0,) * want.ndim]
        if len(wrong):
            where = tuple(int(axis) for axis in wrong[0])
            raise DataError(
                f"{place}, layer {layer}, {list(where)}: is not the QANN's {want[where]}"
            )


def _middle(pixels: torch.Tensor) -> torch.Tensor:
    """Of pictures, where their digit is."""
    start = pixels.shape[1] // 3
    return pixels[:, start : start + VERIFIED]


def _right(digits: torch.Tensor, test: Sequences) -> float:
    return float((digits == test.digits[: len(digits)]).float().mean())
