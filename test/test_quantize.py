from __future__ import annotations

from fractions import Fraction
from math import floor

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from crnn_snn_ros.training.quantize import (
    best_scale,
    count_spikes,
    integer_weight,
    largest_threshold,
    round_half_up,
    to_threshold,
)

LIMIT = 2**24
floats32 = st.floats(-1e4, 1e4, width=32)
positive = st.floats(2.0**-20, 2.0**10, width=32)


@given(st.lists(floats32, min_size=1, max_size=20))
@example([0.5, 1.5, 2.5, -0.5, -1.5, -2.5])
def test_round_half_up_is_exact(values):
    got = round_half_up(torch.tensor(values)).tolist()
    # x + 0.5 is itself rounded to float32, which no converted network can tell: both sides use it
    sums = (torch.tensor(values) + 0.5).tolist()
    assert got == [floor(Fraction(total)) for total in sums]


def test_ties_go_up_and_not_to_even():
    ties = torch.arange(-9, 10) + 0.5
    assert round_half_up(ties).tolist() == list(range(-8, 11))
    assert not torch.equal(round_half_up(ties), torch.round(ties))


@st.composite
def charges(draw):
    """Charge and threshold such that the charge with its offset stays below 2^24."""
    threshold = draw(st.integers(2, 2047))
    limit = LIMIT - 1 - threshold // 2
    near = st.builds(
        lambda count, off: max(-limit, min(limit, count * threshold - threshold // 2 + off)),
        st.integers(-(LIMIT // threshold), LIMIT // threshold),
        st.integers(-1, 1),
    )
    return draw(st.one_of(st.integers(-limit, limit), near)), threshold


@given(st.lists(charges(), min_size=1, max_size=30), st.integers(-255, 0), st.integers(1, 255))
def test_count_is_the_exact_floor_division(pairs, n_min, n_max):
    charge = torch.tensor([float(q) for q, _ in pairs])
    threshold = torch.tensor([float(theta) for _, theta in pairs])
    assert [int(q) for q in charge] == [q for q, _ in pairs]  # all are exact in float32
    want = [max(n_min, min(n_max, (q + theta // 2) // theta)) for q, theta in pairs]
    assert count_spikes(charge, threshold, n_min, n_max).tolist() == want
    unclipped = [(q + theta // 2) // theta for q, theta in pairs]
    assert count_spikes(charge, threshold, -LIMIT, LIMIT).tolist() == unclipped


def test_every_threshold_at_every_step_of_its_staircase():
    for theta in range(2, 2048):
        counts = torch.cat([torch.arange(-300, 301), torch.tensor([LIMIT // theta - 2])])
        edges = counts * theta - theta // 2  # the smallest charge that reaches each count
        threshold = torch.tensor(float(theta))
        at = count_spikes(edges.float(), threshold, -LIMIT, LIMIT)
        below = count_spikes((edges - 1).float(), threshold, -LIMIT, LIMIT)
        assert torch.equal(at, counts.float())
        assert torch.equal(below, counts.float() - 1)


def test_gradients_go_straight_through_inside_the_range_only():
    x = torch.tensor([0.2, 0.5, -3.7], requires_grad=True)
    (round_half_up(x) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad.tolist() == [1.0, 2.0, 3.0]
    # threshold 4, offset 2: counts -3, -1 (below 0), 0, 0, 3, 3, 4 (above 3)
    charge = torch.tensor([-11.0, -3.0, -2.0, 1.0, 10.0, 13.0, 14.0], requires_grad=True)
    threshold = torch.tensor(4.0, requires_grad=True)
    count_spikes(charge, threshold, 0, 3).sum().backward()
    assert charge.grad.tolist() == [0.0, 0.0, 0.25, 0.25, 0.25, 0.25, 0.0]
    assert threshold.grad is None


@given(
    st.lists(
        st.tuples(st.lists(floats32, min_size=6, max_size=6), positive), min_size=1, max_size=3
    ),
    positive,
)
def test_largest_threshold_formula(branches, scale):
    tensors = [(torch.tensor(w).reshape(2, 3), torch.tensor(s)) for w, s in branches]
    got = largest_threshold(torch.tensor(scale), tensors)
    assert got.shape == (2,)
    for channel in range(2):
        limits = [2047.0]
        for weight, source in branches:
            largest = max(abs(w) for w in weight[3 * channel : 3 * channel + 3])
            if largest > 0:
                limits.append(127.0 * scale / (source * largest))
        want = floor(min(limits))
        # float32 may land on either side of an integer, and so one below or above it
        assert abs(got[channel] - want) <= 1.0
        assert got[channel] == int(got[channel]) <= 2047


def test_largest_threshold_by_hand():
    weight = torch.tensor([[0.5, -1.0], [0.25, 0.0], [0.0, 0.0], [100.0, 0.0]])
    limit = largest_threshold(torch.tensor(0.5), [(weight, torch.tensor(0.25))])
    assert limit.tolist() == [254.0, 1016.0, 2047.0, 2.0]  # a dead channel takes any threshold
    other = torch.tensor([[2.0], [0.1], [1e6], [0.0]])
    both = [(weight, torch.tensor(0.25)), (other, torch.tensor(0.5))]
    limit = largest_threshold(torch.tensor(0.5), both)
    assert limit.tolist() == [63.0, 1016.0, 0.0, 2.0]
    assert to_threshold(limit).tolist() == [63.0, 1016.0, 2.0, 2.0]


@given(st.lists(floats32, min_size=4, max_size=4), positive, positive)
def test_integer_weights_never_leave_int8(weight, source_scale, scale):
    weights = torch.tensor(weight).reshape(2, 2)
    source = torch.tensor(source_scale)
    threshold = to_threshold(largest_threshold(torch.tensor(scale), [(weights, source)]))
    integers = integer_weight(weights, source, torch.tensor(scale) / threshold)
    assert integers.abs().max() <= 127
    assert torch.equal(integers, integers.to(torch.int8).float())


def test_the_largest_weight_fills_int8_where_the_threshold_allows():
    weights = torch.tensor([[1.0, -0.5, 0.001]])
    one = torch.tensor(1.0)
    threshold = to_threshold(largest_threshold(one, [(weights, one)]))
    assert integer_weight(weights, one, one / threshold).tolist() == [[127.0, -63.0, 0.0]]


@pytest.mark.parametrize("n_max", [1, 3, 7, 15])
def test_best_scale_finds_a_grid_that_is_there(n_max):
    rng = torch.Generator().manual_seed(n_max)
    steps = torch.randint(0, n_max + 1, (500,), generator=rng)
    steps[0] = n_max
    assert best_scale(steps * 0.25, n_max) == pytest.approx(0.25)
    signed = steps * torch.randint(0, 2, (500,), generator=rng).mul(2).sub(1)
    assert best_scale(signed * 0.25, n_max) == pytest.approx(0.25)


def test_best_scale_clips_an_outlier_and_survives_silence():
    values = torch.cat([torch.linspace(0, 1, 10_000), torch.tensor([3.0])])
    scale = best_scale(values, 3)
    assert 0.25 < scale < 0.5  # 1.0 would be the scale that reaches the outlier
    assert best_scale(torch.zeros(9), 7) == pytest.approx(1 / 7)


def test_best_scale_is_the_best_of_a_finer_search():
    values = torch.randn(4000, generator=torch.Generator().manual_seed(3)).relu()

    def error(scale: float) -> float:
        return float(((values / scale + 0.5).floor().clamp(0, 7) * scale - values).square().mean())

    finest = min(error(float(values.max()) * n / 7000) for n in range(100, 1001))
    assert error(best_scale(values, 7)) < 1.1 * finest
