"""Which frames are answered: stamps of every kind, a faster camera, pictures without a picture."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crnn_snn_ros.core.gate import (
    DARK,
    FASTER,
    FIRST,
    NS_PER_S,
    GateConfig,
    GateState,
    admit,
    look,
    missed,
    recognise,
)
from crnn_snn_ros.core.supervisor import Drop, Reason

CHECKED = GateConfig(max_age_ns=500, max_future_ns=100)
RATE = GateConfig(period_ns=NS_PER_S // 20)


def outcomes(stamps, config, now=None):
    """(reason or drop or None) for each stamp, in order."""
    state, told = FIRST, []
    for stamp_ns in stamps:
        admission, state = admit(stamp_ns, stamp_ns if now is None else now, state, config)
        told.append(admission.refusal.reason if admission.refusal else admission.drop)
    return told


@pytest.mark.parametrize(
    ("stamp_ns", "reason"),
    [
        (10_000, None),
        (9_500, None),
        (9_499, Reason.OLD_FRAME),
        (-5, Reason.OLD_FRAME),
        (10_100, None),
        (10_101, Reason.FUTURE_FRAME),
        (2**61, Reason.FUTURE_FRAME),
    ],
)
def test_age_and_future(stamp_ns, reason):
    assert outcomes([stamp_ns], CHECKED, now=10_000) == [reason]
    assert outcomes([stamp_ns], GateConfig(), now=10_000) == [None], "unless it is not checked"


def test_a_zero_stamp_is_the_time_of_arrival_or_refused():
    admission, state = admit(0, 700, FIRST, CHECKED)
    assert (admission.stamp_ns, admission.refusal, state.stamp_ns) == (700, None, 700)
    assert admit(0, 700, state, CHECKED)[0].drop is Drop.REPEATED, "a clock that stands still"
    refused, after = admit(0, 700, state, CHECKED._replace(refuse_zero=True))
    assert refused.refusal is not None
    assert refused.refusal.reason is Reason.ZERO_STAMP
    assert after == state


def test_repeated_is_dropped_and_backward_costs_one_frame():
    told = outcomes([5, 6, 6, 7, 3, 3, 4, 5], GateConfig())
    back = Reason.TIME_BACK
    assert told == [None, None, Drop.REPEATED, None, back, Drop.REPEATED, None, None]


def test_clock_set_back_by_far_recovers_with_the_next_frame():
    state = admit(10**18, 10**18, FIRST, CHECKED)[1]
    admission, state = admit(50, 60, state, CHECKED)
    assert admission.refusal is not None
    assert admission.refusal.reason is Reason.TIME_BACK
    assert admit(90, 100, state, CHECKED)[0].refusal is None


def test_refused_frames_leave_no_trace():
    state = admit(10_000, 10_000, FIRST, CHECKED)[1]
    for stamp_ns in (10**15, 20_000):
        assert admit(stamp_ns, 30_000, state, CHECKED)[1] == state


anything = st.integers(-(2**62), 2**62)
configs = st.builds(
    GateConfig,
    st.sampled_from([0, 1, 500]),
    st.sampled_from([0, 1, 100]),
    st.booleans(),
    st.sampled_from([0, 50]),
)
near = st.integers(-700, 700)


@given(configs, st.lists(st.tuples(st.one_of(near, anything), near), max_size=60))
def test_what_is_admitted_is_fresh_and_later_than_all_since_time_went_back(config, events):
    state, now_ns, newest = FIRST, 10_000, None
    for step, offset in events:
        now_ns = max(now_ns + step, 0) if abs(step) <= 700 else abs(step)
        admission, state = admit(max(now_ns + offset, 0), now_ns, state, config)
        stamp_ns = admission.stamp_ns
        if admission.refusal is None and admission.drop is None:
            age_ns = now_ns - stamp_ns
            assert not config.max_age_ns or age_ns <= config.max_age_ns
            assert not config.max_future_ns or -age_ns <= config.max_future_ns
            assert newest is None or stamp_ns > newest
            assert not (config.refuse_zero and now_ns + offset == 0)
        if admission.refusal is None or admission.refusal.reason is Reason.TIME_BACK:
            newest = stamp_ns


@pytest.mark.parametrize(
    ("camera_hz", "answered_hz"), [(200, 21), (60, 21), (30, 21), (20.5, 20.5), (20, 20), (7, 7)]
)
def test_a_faster_camera_is_answered_at_the_rate_of_the_network(camera_hz, answered_hz):
    seconds = 20
    stamps = [NS_PER_S + round(n * NS_PER_S / camera_hz) for n in range(round(seconds * camera_hz))]
    told = outcomes(stamps, RATE)
    assert set(told) <= {None, Drop.DECIMATED}
    assert told.count(None) == pytest.approx(seconds * answered_hz, rel=0.01)


@given(st.lists(st.integers(0, 11), min_size=2, max_size=200))
def test_jitter_drops_no_frame_of_the_right_camera(jitter_ms):
    stamps = [NS_PER_S + n * 50_000_000 + j * 1_000_000 for n, j in enumerate(jitter_ms)]
    assert set(outcomes(stamps, RATE)) == {None}


@given(st.lists(st.integers(1, 400_000_000), min_size=1, max_size=200))
def test_never_more_than_the_network_was_made_for(gaps_ns):
    stamps = list(itertools.accumulate(gaps_ns, initial=NS_PER_S))
    told = outcomes(stamps, RATE)
    passed = [stamp for stamp, what in zip(stamps, told, strict=True) if what is None]
    period_ns = RATE.period_ns / FASTER
    assert told[0] is None
    for first, last in itertools.combinations(range(0, len(passed), 5), 2):
        assert passed[last] - passed[first] >= (last - first - 1) * period_ns - 4


@given(st.sets(st.integers(1, 500), min_size=1))
def test_what_came_and_what_was_missed_is_all_that_was_sent(came):
    before, told = None, 0
    for number in sorted(came):
        told += missed(number, before)
        before = number
    assert len(came) + told == max(came) - min(came) + 1
    assert missed(1, before) == 0, "a camera that was started again"


def picture(height=24, width=32, level=0):
    return np.full((height, width, 3), level, np.uint8)


def test_another_name_is_another_camera():
    refusal, state = recognise("front", FIRST)
    assert refusal is None
    for _ in range(2):
        refusal, after = recognise("rear", state)
        assert refusal is not None
        assert refusal.reason is Reason.BAD_FRAME
        assert after == state
        assert recognise("front", state) == (None, state)


def test_another_size_is_another_camera():
    config = GateConfig()
    refusal, state = look(picture(), FIRST, config)
    assert (refusal, state) == (None, GateState(size=(24, 32)))
    refusal, after = look(picture(48, 64), state, config)
    assert refusal is not None
    assert refusal.reason is Reason.BAD_FRAME
    assert "its size is 64x48, it was 32x24" in str(refusal)
    assert look(picture(), after, config)[0] is None


@pytest.mark.parametrize(("level", "word"), [(0, "black"), (DARK, "black"), (255, "white")])
def test_nothing_to_be_seen(level, word):
    blind = GateConfig(refuse_blind=True)
    shot = picture(120, 160, level)
    shot[0, 0] = 128  # a hot pixel
    refusal, _ = look(shot, FIRST, blind)
    assert refusal is not None
    assert (refusal.reason, str(refusal)) == (Reason.BLIND, f"it is {word} all over")
    assert look(shot, FIRST, GateConfig())[0] is None
    shot[:, :4] = 128  # a crack of light
    assert look(shot, FIRST, blind)[0] is None


def test_a_plain_wall_is_a_picture():
    assert look(picture(level=60), FIRST, GateConfig(refuse_blind=True))[0] is None
