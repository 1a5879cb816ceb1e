"""Small faults, as replacements in the source text of the core, each in one place."""

from __future__ import annotations

from typing import NamedTuple


class Mutation(NamedTuple):
    name: str
    file: str  # below core/
    replacements: tuple[tuple[str, str], ...]  # (what is there exactly once, what takes its place)
    engine: str  # in which the fault shows; in the order of the command, stepwise comes first
    network: bool = False  # the fault is in what is said of the whole frame, not in a neuron


def neuron(name: str, old: str, new: str) -> Mutation:
    return Mutation(name, "neuron.py", ((old, new),), "stepwise")


def stepwise(name: str, *replacements: tuple[str, str], network: bool = False) -> Mutation:
    return Mutation(f"{name}-stepwise", "engines/stepwise.py", replacements, "stepwise", network)


def folded(name: str, *replacements: tuple[str, str], network: bool = False) -> Mutation:
    return Mutation(f"{name}-folded", "engines/folded.py", replacements, "folded", network)


def collapsed(
    name: str, old: str, new: str, file: str = "engines/collapsed.py", network: bool = False
) -> Mutation:
    return Mutation(f"{name}-collapsed", file, ((old, new),), "collapsed", network)


SPIKE = "spike = rises.to(v.dtype) - falls.to(v.dtype)"
CANONICAL = "count.sign() * (count.abs() >= t)"
BEGIN_STEPWISE = "engine._resume(node, zeros, memory)"
BEGIN_FOLDED = "state = self._resume(node, silence, memory)"
KEEP_STEPWISE = (
    "settled = carry.exact & sim",
    "self.kept = sim.states\n        settled = carry.exact & sim",
)
KEEP_FOLDED = (
    "settled = carry.exact & ~busy",
    "self.kept = states\n        settled = carry.exact & ~busy",
)
OLD_STEPWISE = "getattr(engine, 'kept', {}).get(node.name)"
OLD_FOLDED = "\n        old = getattr(self, 'kept', {}).get(node.name)\n        state = "

MUTATIONS = [
    # The two threshold tests, the clip and the reset
    neuron("above-threshold-not-at-it", "(v >= params.threshold)", "(v > params.threshold)"),
    neuron("at-zero-not-below-it", "(v < 0)", "(v <= 0)"),
    neuron("clip-one-high-at-top", "spike_count < params.n_max", "spike_count <= params.n_max"),
    neuron("clip-one-low-at-top", "spike_count < params.n_max", "spike_count < params.n_max - 1"),
    neuron("clip-one-low-at-bottom", "spike_count > params.n_min", "spike_count >= params.n_min"),
    neuron(
        "clip-one-high-at-bottom", "spike_count > params.n_min", "spike_count > params.n_min + 1"
    ),
    neuron("no-clip-at-top", " & (state.spike_count < params.n_max)", ""),
    neuron("no-clip-at-bottom", " & (state.spike_count > params.n_min)", ""),
    neuron("hard-reset", "v - params.threshold * spike", "v * (spike == 0)"),
    neuron("no-negative-spikes", SPIKE, "spike = rises.to(v.dtype)"),
    neuron(
        "two-spikes-at-once",
        SPIKE,
        f"{SPIKE}\n    spike = spike + (rises & (v >= 2 * params.threshold)"
        " & (state.spike_count + 2 <= params.n_max))",
    ),
    # Rounding
    neuron("r-one-high", "params.threshold // 2", "params.threshold // 2 + 1"),
    neuron("r-one-low", "params.threshold // 2", "params.threshold // 2 - 1"),
    neuron("half-rounds-down", "params.threshold // 2", "(params.threshold - 1) // 2"),
    neuron("r-not-an-integer", "params.threshold // 2", "params.threshold / 2"),
    neuron("no-r", " + (params.threshold // 2)", ""),
    # Recurrent spikes
    neuron("carry-replayed-late", CANONICAL, "count.sign() * (count.abs() > 15 - t) * (t <= 15)"),
    neuron("carry-at-once", CANONICAL, "count * (t == 1)"),
    neuron("carry-one-spike-short", CANONICAL, "count.sign() * (count.abs() > t)"),
    neuron("carry-one-spike-long", CANONICAL, "count.sign() * (count.abs() >= t - 1)"),
    neuron("carry-without-sign", CANONICAL, "(count.abs() >= t).to(count.dtype)"),
    stepwise("recurrent-weight-sign", ("recurrent_charge = self", "recurrent_charge = -self")),
    folded("recurrent-weight-sign", ("recurrent_charge = self", "recurrent_charge = -self")),
    stepwise("carry-is-never-renewed", ("Carry(counts, settled", "Carry(carry.counts, settled")),
    folded("carry-is-never-renewed", ("Carry(counts, settled", "Carry(carry.counts, settled")),
    # What belongs to time-step 1 alone
    stepwise(
        "bias-at-every-step",
        ("bif_step(charge, state", "bif_step(charge + self._engine._biases[node.name], state"),
    ),
    folded(
        "bias-at-every-step",
        ("bif_step(charge, state", "bif_step(charge + self._biases[node.name], state"),
    ),
    stepwise(
        "head-bias-at-every-step",
        (
            "+ self._charge(node, spikes)\n",
            "+ self._charge(node, spikes) + self._engine._biases[node.name]\n",
        ),
    ),
    folded("head-without-bias", ("else self._biases[node.name]", "else 0")),
    stepwise("input-at-every-step", ("pixels if t == 1 else torch.zeros_like(pixels)", "pixels")),
    folded(
        "input-at-every-step",
        ("pixels.unsqueeze(0)}", "pixels.unsqueeze(0).repeat(limit, 1, 1, 1, 1)}"),
    ),
    # Between frames
    stepwise(
        "membrane-not-reset",
        KEEP_STEPWISE,
        (BEGIN_STEPWISE, f"BifState(({OLD_STEPWISE} or {BEGIN_STEPWISE}).v, zeros)"),
    ),
    folded(
        "membrane-not-reset",
        KEEP_FOLDED,
        (
            BEGIN_FOLDED,
            f"{BEGIN_FOLDED}{OLD_FOLDED}BifState(old.v, silence) if old else state",
        ),
    ),
    stepwise(
        "residue-carried",
        KEEP_STEPWISE,
        (BEGIN_STEPWISE, f"BifState({BEGIN_STEPWISE}.v + getattr({OLD_STEPWISE}, 'v', 0), zeros)"),
    ),
    folded(
        "residue-carried",
        KEEP_FOLDED,
        (
            BEGIN_FOLDED,
            f"{BEGIN_FOLDED}{OLD_FOLDED}BifState(state.v + old.v, silence) if old else state",
        ),
    ),
    stepwise(
        "tracer-not-reset",
        KEEP_STEPWISE,
        (
            BEGIN_STEPWISE,
            f"BifState({BEGIN_STEPWISE}.v, getattr({OLD_STEPWISE}, 'spike_count', zeros))",
        ),
    ),
    folded(
        "tracer-not-reset",
        KEEP_FOLDED,
        (
            BEGIN_FOLDED,
            f"{BEGIN_FOLDED}{OLD_FOLDED}BifState(state.v, old.spike_count) if old else state",
        ),
    ),
    # Pools
    stepwise(
        "max-pool-over-spikes",
        (
            "= self._max_pool(node)\n",
            "= functional.max_pool2d("
            "spikes[node.source], node.kernel, node.stride, node.padding)\n",
        ),
    ),
    folded(
        "max-pool-over-spikes",
        ("return pooled.diff", "return each_step(train, pool)\n    return pooled.diff"),
    ),
    Mutation("sum-pool-is-a-mean", "engines/base.py", ((", divisor_override=1", ""),), "stepwise"),
    # When to stop, and what is said of it
    stepwise(
        "exit-ignores-pending-spikes",
        (
            "spike, per_stream(recurrent_spike != 0)",
            "spike, per_stream(recurrent_spike != recurrent_spike)",
        ),
    ),
    folded(
        "exit-ignores-pending-spikes", ("0 if before is None else int(before.abs().max())", "0")
    ),
    stepwise("exit-at-first-step", ("if not active.any()", "if t == 1")),
    folded(
        "exit-while-sources-fire",
        ("if t >= last_arrival and not spike.any()", "if not spike.any()"),
    ),
    stepwise(
        "settled-whatever-happened", ("return ~busy", "return torch.ones_like(busy)"), network=True
    ),
    folded(
        "settled-whatever-happened", ("carry.exact & ~busy", "carry.exact.clone()"), network=True
    ),
    stepwise(
        "settled-with-spikes-pending",
        ("counts[name].abs() > t)", "counts[name].abs() > 255)"),
        network=True,
    ),
    folded(
        "settled-with-spikes-pending",
        ("(before.abs() > limit)", "(before.abs() > 255)"),
        network=True,
    ),
    stepwise("cut-forgotten", ("Carry(counts, settled", "Carry(counts, carry.exact"), network=True),
    folded("cut-forgotten", ("Carry(counts, settled", "Carry(counts, carry.exact"), network=True),
    stepwise(
        "settle-step-one-low",
        ("settle_steps[active] = t", "settle_steps[active] = t - 1"),
        network=True,
    ),
    folded(
        "settle-step-ignores-pending",
        ("return torch.maximum(last, pending)", "return last"),
        network=True,
    ),
    Mutation(
        "bound-too-small",
        "bounds.py",
        (
            ("max(arrival, largest) + span - 1", "1"),
            ("arrival + span - 1", "1"),
        ),
        "stepwise",
    ),
    # Counts without spikes
    collapsed("r-one-high", "charge + threshold // 2", "charge + threshold // 2 + 1", "neuron.py"),
    collapsed(
        "rounds-to-even",
        "torch.floor((charge + threshold // 2) / threshold)",
        "torch.round(charge / threshold)",
        "neuron.py",
    ),
    collapsed("clip-one-high-at-top", "clamp(node.n_min, node.n_max)", "clamp(node.n_min, 99)"),
    collapsed("forgets", "* carry.counts[node.name]", "* 0 * carry.counts[node.name]"),
    collapsed("sends-no-bias", " + self._biases[node.name]", ""),
    collapsed("never-settled", "carry.exact.clone()", "~carry.exact", network=True),
    # The reference
    Mutation(
        "reference-r-one-high",
        "qann.py",
        (("charge + threshold // 2", "charge + threshold // 2 + 1"),),
        "stepwise",
    ),
    Mutation(
        "reference-rounds-to-even",
        "qann.py",
        (
            (
                "np.clip(charge // threshold,",
                "np.clip(np.rint((charge - threshold // 2) / threshold).astype(np.int64),",
            ),
        ),
        "stepwise",
    ),
    Mutation(
        "reference-truncates",
        "qann.py",
        (("np.clip(charge // threshold,", "np.clip(np.fix(charge / threshold).astype(np.int64),"),),
        "stepwise",
    ),
]
