"""The lemma on which everything rests: what arrives decides the count, not when it arrives."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crnn_snn_ros.core.neuron import (
    BifParams,
    BifState,
    begin_frame,
    bif_step,
    canonical_spike,
    rbif_step,
    would_fire,
)

thresholds = st.integers(2, 2047)
bottoms = st.integers(-15, 0)
tops = st.integers(1, 15)


def one(value: int) -> torch.Tensor:
    return torch.tensor([float(value)])


def run(charges: list[int], threshold: int, n_min: int, n_max: int) -> list[tuple[int, int, int]]:
    """(spike, v, spike count) at each time-step of one neuron that begins at V = 0."""
    params = BifParams(one(threshold), n_min, n_max)
    state = BifState(one(0), one(0))
    steps = []
    for charge in charges:
        spike, state = bif_step(one(charge), state, params)
        steps.append((int(spike), int(state.v), int(state.spike_count)))
    return steps


@settings(deadline=None)
@given(
    charges=st.lists(st.integers(-40_000, 40_000), max_size=40),
    threshold=thresholds,
    n_min=bottoms,
    n_max=tops,
)
def test_lemma(charges: list[int], threshold: int, n_min: int, n_max: int) -> None:
    """S = clip(floor(Q / threshold), n_min, n_max) after n_max - n_min silent steps, V the rest."""
    silence = [0] * (n_max - n_min)
    steps = run([*charges, *silence], threshold, n_min, n_max)
    total = sum(charges)
    count = min(max(total // threshold, n_min), n_max)
    assert steps[-1][1:] == (total - threshold * count, count)
    assert {spike for spike, _, _ in steps} <= {-1, 0, 1}
    assert all(n_min <= tracer <= n_max for _, _, tracer in steps)
    extra = run([*charges, *silence, 0, 0], threshold, n_min, n_max)
    assert [spike for spike, _, _ in extra[-2:]] == [0, 0]  # and nothing fires ever after


@settings(deadline=None)
@given(
    charges=st.lists(st.integers(-9, 9), min_size=1, max_size=20),
    order=st.randoms(use_true_random=False),
)
def test_order_does_not_matter(charges: list[int], order: object) -> None:
    """Small charges and thresholds, where membranes meet their thresholds all the time."""
    shuffled = list(charges)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    for threshold in (2, 3, 4):
        ends = {run([*c, *[0] * 10], threshold, -5, 5)[-1][1:] for c in (charges, shuffled)}
        assert len(ends) == 1


@pytest.mark.parametrize("threshold", [2, 3, 100, 101, 2047])
def test_ties(threshold: int) -> None:
    """The upper test is half-open to one side, the lower to the other: no charge is in neither."""
    assert run([threshold], threshold, -3, 3) == [(1, 0, 1)]
    assert run([threshold - 1], threshold, -3, 3) == [(0, threshold - 1, 0)]
    assert run([0], threshold, -3, 3) == [(0, 0, 0)]
    assert run([-1], threshold, -3, 3) == [(-1, threshold - 1, -1)]
    assert run([-threshold, 0], threshold, -3, 3)[-1] == (0, 0, -1)


def test_saturated_neuron_keeps_its_charge_and_waits() -> None:
    assert run([50, 0, 0, 0], 10, 0, 2) == [(1, 40, 1), (1, 30, 2), (0, 30, 2), (0, 30, 2)]
    assert run([-50, 0], 10, 0, 2) == [(0, -50, 0), (0, -50, 0)]
    assert run([50, 0, 0, -31, 0], 10, 0, 2)[-1] == (0, 9, 1)


@settings(deadline=None)
@given(threshold=thresholds, bias=st.integers(-9000, 9000), n_min=bottoms, n_max=tops)
def test_frame_begins_with_bias_and_half_a_threshold(
    threshold: int, bias: int, n_min: int, n_max: int
) -> None:
    """Which rounds half up, for even and odd thresholds: floor(bias / threshold + 1/2)."""
    params = BifParams(one(threshold), n_min, n_max)
    state = begin_frame(one(bias), one(0), params)
    assert int(state.v) == bias + threshold // 2
    for _ in range(n_max - n_min):
        _, state = bif_step(one(0), state, params)
    rounded = (2 * bias + threshold) // (2 * threshold)
    assert int(state.spike_count) == min(max(rounded, n_min), n_max)


@settings(deadline=None)
@given(charge=st.integers(-200, 200), recurrent=st.integers(-200, 200), v=st.integers(-200, 200))
def test_recurrent_charge_counts_like_any_other(charge: int, recurrent: int, v: int) -> None:
    params, state = BifParams(one(7), -3, 3), BifState(one(v), one(0))
    assert rbif_step(one(charge), one(recurrent), state, params) == bif_step(
        one(charge + recurrent), state, params
    )


@settings(deadline=None)
@given(v=st.integers(-50, 50), count=st.integers(-3, 3), threshold=st.integers(2, 20))
def test_would_fire_tells_the_next_silent_step(v: int, count: int, threshold: int) -> None:
    params, state = BifParams(one(threshold), -3, 3), BifState(one(v), one(count))
    spike, after = bif_step(one(0), state, params)
    assert bool(would_fire(state, params)) == bool(spike)
    if not spike:
        assert after == state  # quiescence lasts


@settings(deadline=None)
@given(counts=st.lists(st.integers(-255, 255), min_size=1, max_size=8))
def test_canonical_train(counts: list[int]) -> None:
    """All spikes of one sign, without a gap, from time-step 1 on."""
    count = torch.tensor(counts, dtype=torch.float32)
    longest = max(map(abs, counts))
    train = [canonical_spike(count, t).tolist() for t in range(1, longest + 3)]
    for index, value in enumerate(counts):
        sign = (value > 0) - (value < 0)
        size = abs(value)
        assert [step[index] for step in train] == [sign] * size + [0] * (longest + 2 - size)
