"""Cells beyond the paper, spiking and exact: minGRU, a GRU and an LSTM with hard gates.

    minGRU  h = q((L - z) h' + z c),  z = gate(x), c = q(W x)
    GRU     the same with z = gate(x, h'), c = q(W x + U p), p = q(r h'), r = gate(x, h')
    LSTM    m = q(f m' + i g), h = q(o m), all of f, i, o, g from (x, h')

A prime: the frame before. Gates count in [0, L], what they gate in [-L, L], thresholds of products
are L. A product of two counts is charged spike by spike: a spike of one factor adds the other's
tracer. It is exact because its change from step to step is just that sum. These cells are written
out here; the graph of a model file does not know them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.study.figures import Line, Panel, draw
from crnn_snn_ros.core.neuron import BifParams, begin_frame, bif_step, canonical_spike, would_fire

GATES = {"minGRU": "zc", "GRU": "zrc", "LSTM": "fiog"}
SIGNED = "cg"  # the rest are gates
STATES = {"minGRU": "h", "GRU": "h", "LSTM": "mh"}
Counts = dict[str, Tensor]  # int64 (streams, units) by name


class Size(NamedTuple):
    """What is measured."""

    inputs: int = 24
    units: int = 32
    streams: int = 8
    frames: int = 250
    levels: tuple[int, ...] = (1, 3, 7, 15)


TINY = Size(5, 6, 2, 20, (1, 3))


class Weights(NamedTuple):
    """Drawn integers by name of gate or candidate."""

    w: Counts  # (units, inputs)
    u: Counts  # (units, units); none in a minGRU
    bias: Counts  # (units,)
    threshold: int


class Product:
    """The product of two counts, charged spike by spike."""

    def __init__(self) -> None:
        self._a: Tensor | int = 0
        self._b: Tensor | int = 0

    def charge(self, a: Tensor, b: Tensor) -> Tensor:
        """How much it changes when each factor changes by a spike in {-1, 0, 1}."""
        after = self._a + a
        change = a * self._b + after * b
        self._a, self._b = after, self._b + b
        return change


class Population:
    """Bipolar integrate-and-fire neurons in one frame."""

    def __init__(self, bias: Tensor, threshold: int, levels: int, signed: bool) -> None:
        self._params = BifParams(torch.tensor(threshold), -levels if signed else 0, levels)
        self._state = begin_frame(bias, torch.zeros_like(bias), self._params)

    def fire(self, charge: Tensor) -> Tensor:
        """Spikes of one time-step."""
        spike, self._state = bif_step(charge, self._state, self._params)
        return spike.long()

    @property
    def count(self) -> Tensor:
        """Spikes so far."""
        return self._state.spike_count.long()

    @property
    def quiet(self) -> bool:
        """Whether none would fire if nothing arrived."""
        return not bool(would_fire(self._state, self._params).any())


def draw_weights(cell: str, size: Size, levels: int, seed: int) -> Weights:
    """Integers that use the range of the neurons."""
    random = torch.Generator().manual_seed(seed)

    def integers(*shape: int, most: int) -> Tensor:
        return torch.randint(-most, most + 1, shape, generator=random)

    inner = {"minGRU": "", "GRU": "zrc", "LSTM": "fiog"}[cell]
    threshold = 50
    return Weights(
        {name: integers(size.units, size.inputs, most=4 * levels) for name in GATES[cell]},
        {name: integers(size.units, size.units, most=20) for name in inner},
        {name: integers(size.units, most=threshold * levels // 2) for name in GATES[cell]},
        threshold,
    )


def reference(cell: str, weights: Weights, x: Tensor, carry: Counts, levels: int) -> Counts:
    """The same frame in closed form, int64: no spikes, no products of tracers."""

    def q(charge: Tensor, threshold: int, signed: bool) -> Tensor:
        counts = torch.div(charge + threshold // 2, threshold, rounding_mode="floor")
        return counts.clamp(-levels if signed else 0, levels)

    def dense(name: str, state: Tensor) -> Tensor:
        charge = x @ weights.w[name].T + weights.bias[name]
        if name in weights.u:
            charge = charge + state @ weights.u[name].T
        return q(charge, weights.threshold, name in SIGNED)

    h = carry["h"]
    if cell == "LSTM":
        got = {name: dense(name, h) for name in "fiog"}
        got["m"] = q(got["f"] * carry["m"] + got["i"] * got["g"], levels, True)
        return got | {"h": q(got["o"] * got["m"], levels, True)}
    got = {"z": dense("z", h)}
    if cell == "GRU":
        got["r"] = dense("r", h)
        got["p"] = q(got["r"] * h, levels, True)
    got["c"] = dense("c", got.get("p", h))
    return got | {"h": q((levels - got["z"]) * h + got["z"] * got["c"], levels, True)}


def spiking(
    cell: str, weights: Weights, x: Tensor, carry: Counts, levels: int
) -> tuple[Counts, int]:
    """One frame in spikes, to quiescence: the counts, and how many time-steps it took."""
    shape = carry["h"]
    silence = torch.zeros_like(shape)
    neurons = {
        name: Population(silence + weights.bias[name], weights.threshold, levels, name in SIGNED)
        for name in GATES[cell]
    }
    inside = {"minGRU": "h", "GRU": "ph", "LSTM": "mh"}[cell]
    neurons |= {name: Population(silence, levels, levels, True) for name in inside}
    step = {"minGRU": _gru_step, "GRU": _gru_step, "LSTM": _lstm_step}[cell]
    products = {name: Product() for name in ("first", "second", "third")}
    t = 0
    while t < levels or not all(population.quiet for population in neurons.values()):
        t += 1
        back = {name: canonical_spike(counts, t).long() for name, counts in carry.items()}

        def dense(name: str, state: Tensor, t: int = t) -> Tensor:
            charge = x @ weights.w[name].T if t == 1 else silence
            if name in weights.u:
                charge = charge + state @ weights.u[name].T
            return neurons[name].fire(charge)

        step(dense, neurons, products, back, levels)
    return {name: population.count for name, population in neurons.items()}, t


Dense = Callable[[str, Tensor], Tensor]
Neurons = dict[str, Population]
Products = dict[str, Product]


def _gru_step(
    dense: Dense, neurons: Neurons, products: Products, back: Counts, levels: int
) -> None:
    h, z = back["h"], dense("z", back["h"])
    if "r" in neurons:
        reset = neurons["p"].fire(products["third"].charge(dense("r", h), h))
        c = dense("c", reset)
    else:
        c = dense("c", h)
    kept = levels * h - products["first"].charge(z, h)
    neurons["h"].fire(kept + products["second"].charge(z, c))


def _lstm_step(
    dense: Dense,
    neurons: Neurons,
    products: Products,
    back: Counts,
    levels: int,  # noqa: ARG001
) -> None:
    f, i, o, g = (dense(name, back["h"]) for name in "fiog")
    kept = products["first"].charge(f, back["m"])
    m = neurons["m"].fire(kept + products["second"].charge(i, g))
    neurons["h"].fire(products["third"].charge(o, m))


def bound(cell: str, levels: int) -> int:
    """Time-steps that always suffice: the recursion of a model's proof, along the cell."""
    one = 2 * levels - 1  # R - 1 of signed neurons
    gate = levels + levels - 1  # canonical recurrent spikes arrive for L steps
    if cell == "minGRU":
        return levels + one
    if cell == "GRU":
        return gate + 3 * one  # gate, p, c, h
    return levels + one + 2 * one  # g, m, h


def measure(size: Size, seed: int, device: str, out: Path) -> dict[str, Any]:  # noqa: ARG001
    """Random input through every cell at every number of levels; the spiking state is its own."""
    return {
        "size": size._asdict(),
        "rows": [_row(cell, levels, size, seed) for cell in GATES for levels in size.levels],
    }


def _row(cell: str, levels: int, size: Size, seed: int) -> dict[str, Any]:
    weights = draw_weights(cell, size, levels, seed)
    random = torch.Generator().manual_seed(seed + 1)
    nothing = torch.zeros(size.streams, size.units, dtype=torch.int64)
    want_carry = carry = dict.fromkeys(STATES[cell], nothing)
    unequal, compared, moved, steps = 0, 0, 0, []
    for _ in range(size.frames):
        x = torch.randint(-16, 17, (size.streams, size.inputs), generator=random)
        want = reference(cell, weights, x, want_carry, levels)
        got, took = spiking(cell, weights, x, carry, levels)
        unequal += sum(int((got[name] != values).sum()) for name, values in want.items())
        compared += sum(values.numel() for values in want.values())
        moved += int((want["h"] != want_carry["h"]).sum())
        want_carry = {name: want[name] for name in want_carry}
        carry = {name: got[name] for name in carry}
        steps.append(took)
    return {
        "cell": cell, "levels": levels, "unequal": unequal, "compared": compared,
        "moved": moved / (size.frames * nothing.numel()),
        "mean": sum(steps) / len(steps), "max": max(steps), "bound": bound(cell, levels),
    }  # fmt: skip


def section(found: dict[str, Any]) -> str:
    """Its part of the page."""
    size = found["size"]
    lines = "\n".join(
        f"| {row['cell']} | {row['levels']} | {row['unequal']} | {row['compared']:,} "
        f"| {row['moved']:.0%} | {row['mean']:.1f} | {row['max']} | {row['bound']} |"
        for row in found["rows"]
    )
    return f"""## Cells beyond the paper

{size["units"]} units, {size["streams"]} streams of {size["frames"]} frames of random integers,
**drawn integer weights, nothing trained**; the spiking cell carries its own state. Every gate,
candidate and state is compared with the closed form in int64. A study beside the product: the
graph of a model file and its engines do not know these cells.

| cell | counts to | differences | integers compared | states that change a frame | steps, mean \
| max | bound |
|---|---|---|---|---|---|---|---|
{lines}

What makes them exact, and what it costs:

- Products are charged spike by spike: a spike of one factor adds the tracer of the other. Their
  charge is a small integer, not one synaptic weight.
- minGRU: the gate is a count, so 1 - z is L - z, and the mean of old state and candidate is a
  neuron of threshold L.
- GRU: one more layer of neurons between reset gate and candidate, which fires r h / L; sigmoid and
  tanh become clipped lines (hard sigmoid, hard tanh), for a spike count can be nothing else.
- LSTM: the same, and its memory must be **bounded** (here to [-L, L]) and rounded to whole counts
  at every frame. A float LSTM's memory is neither: it would have to be trained so. That has not
  been tried here; only the arithmetic is shown to be exact.

![settling of the cells](study_cells.svg)
"""


def picture(found: dict[str, Any], folder: Path) -> None:
    """Longest settling and bound against levels."""
    lines = []
    for cell in GATES:
        rows = [row for row in found["rows"] if row["cell"] == cell]
        levels = [row["levels"] for row in rows]
        lines.append(Line(f"{cell}: longest", levels, [row["max"] for row in rows], "-", "o"))
        lines.append(Line(f"{cell}: bound", levels, [row["bound"] for row in rows], "--"))
    draw(folder / "study_cells.svg", [Panel("Settling", "largest count L", "time-steps", lines)])
