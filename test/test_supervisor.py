"""The supervisor, with fake time: no command leaves that should not, and a stop always does."""

from __future__ import annotations

import math
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crnn_snn_ros.core import supervisor as sv
from crnn_snn_ros.core.supervisor import INITIAL, Drop, Mode, Reason, Status, Timeouts
from crnn_snn_ros.core.types import STOP, Command, Prediction

TIMES = Timeouts(frame_ns=500, stop_ns=1000)
GOOD = Prediction(0.1, 0.2, True, 7, 100)
GO = Command(0.4, 0.1)


def started(now_ns: int = 0, enabled: bool = True) -> Status:
    return sv.activate(INITIAL._replace(enabled=enabled), now_ns, TIMES)[0]


def answered(status: Status, arrived_ns: int, now_ns: int, prediction=GOOD, command=GO):
    return sv.answer(sv.begin(status, arrived_ns), prediction, command, now_ns, TIMES)


def driving(now_ns: int = 0) -> Status:
    return answered(started(now_ns), now_ns, now_ns)[0]


def test_starts_stopped_and_says_so():
    status, command = sv.activate(INITIAL, 0, TIMES)
    assert (status.mode, status.reason, command) == (Mode.WAITING, None, STOP)
    assert [sv.tick(status, t, TIMES)[1] for t in (1, 999, 1000, 10**9)] == [STOP, STOP, None, None]
    assert sv.activate(status, 5, TIMES) == (status, None)


def test_a_good_answer_passes():
    status, command = answered(started(), 100, 110)
    assert (status.mode, status.reason, command) == (Mode.DRIVING, None, GO)
    assert (status.heard_ns, status.answered) == (100, 1)


def test_no_frame_stops_within_the_timeout_and_is_repeated_then_silent():
    status = driving()
    assert sv.tick(status, 500, TIMES) == (status, None)
    status, command = sv.tick(status, 501, TIMES)
    assert (status.mode, status.reason, command) == (Mode.STOPPED, Reason.NO_FRAME, STOP)
    ticks = [sv.tick(status, t, TIMES)[1] for t in (600, 1500, 1501, 5000)]
    assert ticks == [STOP, STOP, None, None]
    assert status.counts == {Reason.NO_FRAME: 1}
    assert answered(status, 6000, 6001)[1] == GO


def test_a_command_is_in_force_from_the_arrival_of_its_frame():
    status, _ = answered(driving(), 100, 400)
    assert sv.tick(status, 600, TIMES)[1] is None
    assert sv.tick(status, 601, TIMES)[1] == STOP


def test_a_busy_engine_is_stopped_for_and_its_answer_discarded():
    status = sv.begin(driving(), 100)
    status, command = sv.tick(status, 601, TIMES)
    assert (status.reason, command) == (Reason.LATE, STOP)
    status, command = sv.answer(status, GOOD, GO, 700, TIMES)
    assert (status.mode, command) == (Mode.STOPPED, None)
    assert status.counts == {Reason.LATE: 1}
    assert answered(status, 800, 810)[1] == GO


def test_an_answer_exactly_at_the_timeout_is_in_time():
    status, command = answered(driving(), 100, 600)
    assert (status.mode, command, status.recent[-1]) == (Mode.DRIVING, GO, False)


def test_the_rate_is_that_of_the_last_ten_intervals():
    """The eleventh back is forgotten, the tenth is not; a gap of the timeout is an interval."""
    times = TIMES._replace(period_ns=100)
    for slow, moves in ((10, False), (11, True)):
        status, now_ns = sv.activate(INITIAL, 0, times)[0], 0
        status = sv.answer(sv.begin(status, now_ns), GOOD, GO, now_ns, times)[0]
        for number in range(11):
            now_ns += 500 if 11 - number == slow else 61
            status, command = sv.answer(sv.begin(status, now_ns), GOOD, GO, now_ns, times)
        assert len(status.arrivals) == sv.RATE_FRAMES + 1
        assert command == (GO if moves else STOP), slow


def test_a_late_answer_is_discarded_even_if_the_watchdog_slept():
    status, command = answered(driving(), 100, 601)
    assert (status.reason, command, status.counts) == (Reason.LATE, STOP, {Reason.LATE: 1})
    assert (status.answered, status.drops) == (1, {Drop.VOIDED: 1})


def test_an_answer_at_the_very_end_of_the_timeout_counts():
    assert answered(driving(), 100, 600)[1] == GO
    busy = sv.begin(started(), 10)
    assert sv.tick(busy, 510, TIMES) == (busy, STOP)


def test_a_fault_when_repetition_has_just_ended_is_silent():
    status, _ = sv.fault(driving(), Reason.BAD_FRAME, 10, TIMES)
    assert sv.fault(status, Reason.BAD_FRAME, 1009, TIMES)[1] == STOP
    assert sv.fault(status, Reason.BAD_FRAME, 1010, TIMES)[1] is None


def test_an_engine_that_hangs_on_the_first_frame_is_named():
    status, _ = sv.tick(sv.begin(started(), 10), 511, TIMES)
    assert (status.mode, status.reason) == (Mode.STOPPED, Reason.LATE)


def test_a_stop_voids_the_frame_under_way():
    status = sv.begin(driving(), 450)
    status, command = sv.tick(status, 501, TIMES)
    assert (status.reason, command) == (Reason.NO_FRAME, STOP)
    after, command = sv.answer(status, GOOD, GO, 510, TIMES)
    assert (after, command) == (status._replace(drops={Drop.VOIDED: 1}), None)


ENDINGS = ("good", "unsettled", "nan", "bad", "raise")


@given(st.lists(st.tuples(st.sampled_from(ENDINGS), *[st.integers(0, 700)] * 3), max_size=60))
def test_every_frame_is_answered_or_counted_once(shown):
    """Of frames of any fate, with the watchdog at any time, none is lost from the figures."""
    status, now_ns = started(), 0
    for ending, *waits in shown:
        for event, wait in zip(("begin", "tick", ending), waits, strict=True):
            now_ns += wait
            status, _ = happen(event, status, now_ns, ALL)
    faults = sum(status.counts.get(why, 0) for why in (Reason.BAD_FRAME, Reason.ENGINE_FAILURE))
    assert status.answered + status.drops.get(Drop.VOIDED, 0) + faults == len(shown)


@pytest.mark.parametrize("reason", [Reason.BAD_FRAME, Reason.ENGINE_FAILURE])
def test_faults_stop_are_counted_and_left_by_a_good_frame(reason):
    status, command = sv.fault(driving(), reason, 10, TIMES)
    assert (status.mode, status.reason, command) == (Mode.STOPPED, reason, STOP)
    status, command = sv.fault(status, reason, 20, TIMES)
    assert (command, status.counts[reason]) == (STOP, 2)
    status, command = sv.fault(status, reason, 5000, TIMES)
    assert (command, status.counts[reason]) == (None, 3)
    assert answered(status, 6000, 6010)[1] == GO


@pytest.mark.parametrize(
    ("prediction", "command", "reason"),
    [
        (GOOD._replace(settled=False), GO, Reason.NOT_SETTLED),
        (GOOD._replace(steering_rad=math.nan), GO, Reason.NOT_FINITE),
        (GOOD._replace(collision_probability=math.inf), GO, Reason.NOT_FINITE),
        (GOOD, Command(math.nan, 0.0), Reason.NOT_FINITE),
        (GOOD, Command(0.1, -math.inf), Reason.NOT_FINITE),
    ],
)
def test_bad_answers_become_zero_every_time(prediction, command, reason):
    status = driving()
    for now_ns in (10, 5000):
        status, out = answered(status, now_ns, now_ns, prediction, command)
        assert (status.mode, status.reason, out) == (Mode.STOPPED, reason, STOP)
    disabled, _ = sv.set_enabled(status, False, 5001, TIMES)
    assert answered(disabled, 5002, 5003, prediction, command)[1] is None


def test_disabled_holds_until_enabled():
    status, command = sv.set_enabled(driving(), False, 10, TIMES)
    assert (status.reason, command) == (Reason.DISABLED, STOP)
    assert sv.set_enabled(status, False, 11, TIMES) == (status, None)
    status, command = answered(status, 20, 21)
    assert (status.reason, command, status.answered) == (Reason.DISABLED, None, 2)
    status, command = sv.fault(status, Reason.BAD_FRAME, 22, TIMES)
    assert (status.reason, command, status.counts[Reason.BAD_FRAME]) == (Reason.DISABLED, None, 1)
    status, command = sv.set_enabled(status, True, 23, TIMES)
    assert (status.mode, command) == (Mode.WAITING, None)
    assert answered(status, 30, 31)[1] == GO


def test_enable_before_activation_is_remembered():
    status, command = sv.set_enabled(INITIAL, False, 0, TIMES)
    assert (status.reason, command) == (Reason.INACTIVE, None)
    status, command = sv.activate(status, 1, TIMES)
    assert (status.mode, status.reason, command) == (Mode.STOPPED, Reason.DISABLED, STOP)


def test_deactivation_stops_and_goes_deaf():
    status, command = sv.deactivate(driving(), 10, TIMES)
    assert (status.reason, command) == (Reason.INACTIVE, STOP)
    assert sv.deactivate(status, 11, TIMES) == (status, None)
    assert sv.begin(status, 12) == status
    assert sv.fault(status, Reason.BAD_FRAME, 12, TIMES) == (status, None)
    assert sv.tick(status, 500, TIMES)[1] == STOP
    assert sv.tick(status, 1010, TIMES)[1] is None
    status, command = sv.activate(status, 2000, TIMES)
    assert (status.mode, command) == (Mode.WAITING, STOP)


def test_shutdown_is_for_good_and_always_says_zero():
    silent = sv.tick(driving(), 501, TIMES)[0]
    status, command = sv.shutdown(silent, 99999, TIMES)
    assert (status.reason, command) == (Reason.SHUTDOWN, STOP)
    assert sv.activate(status, 100000, TIMES) == (status, None)
    assert sv.set_enabled(status, True, 100001, TIMES)[1] is None
    assert sv.answer(sv.begin(status, 100002), GOOD, GO, 100003, TIMES)[1] is None
    assert sv.shutdown(INITIAL, 0, TIMES)[1] is None


SLOW = TIMES._replace(late_ns=100)


def run(events, times, status=None):
    """Answers as (wait, latency): what left, and the status."""
    status, now_ns, out = status or started(), 0, []
    for wait, latency in events:
        now_ns += wait
        arrived = sv.begin(status, now_ns)
        status, command = sv.answer(arrived, GOOD, GO, now_ns + latency, times)
        out.append(command)
    return out, status


def test_a_late_answer_is_dropped_and_the_command_in_force_stays():
    out, status = run([(50, 0), (150, 101), (200, 100)], SLOW)
    assert out == [GO, None, GO]
    assert (status.drops, status.answered, status.counts) == ({Drop.LATE: 1}, 3, {})
    late, _ = sv.answer(sv.begin(driving(), 100), GOOD, GO, 300, SLOW)
    assert late.heard_ns == 0, "what is in force is the older command"
    assert sv.tick(late, 501, SLOW)[1] == STOP


def test_a_late_zero_leaves_all_the_same():
    status = sv.begin(driving(), 100)
    assert sv.answer(status, GOOD, STOP, 300, SLOW)[1] == STOP


def test_too_many_late_answers_stop_until_most_are_in_time():
    out, status = run([(200, 150)] * sv.MOST_LATE, SLOW, driving())
    assert status.mode is Mode.DRIVING, "or the next would prove nothing"
    out, status = run([(200, 150)] * 5, SLOW, status)
    assert (status.mode, status.reason, out[0]) == (Mode.STOPPED, Reason.OVERLOADED, STOP)
    good = sv.RECENT - sv.MOST_LATE - 1
    out, status = run([(200, 0)] * good, SLOW, status)
    assert set(out) == {STOP}
    assert sum(status.recent) == sv.MOST_LATE + 1
    out, status = run([(200, 0)], SLOW, status)
    assert out == [GO]
    assert status.mode is Mode.DRIVING


def test_answers_that_the_watchdog_stopped_for_are_late_too():
    status = driving()
    for n in range(sv.MOST_LATE + 1):
        status, _ = sv.tick(sv.begin(status, 1000 * n), 1000 * n + 501, SLOW)
    assert answered(status, 99_000, 99_001)[0].reason is Reason.OVERLOADED
    down, _ = sv.deactivate(status, 99_002, SLOW)
    assert answered(sv.activate(down, 99_003, SLOW)[0], 99_004, 99_005)[1] == GO


RATED = TIMES._replace(period_ns=200)


@pytest.mark.parametrize(("wait", "moves"), [(200, True), (201, False), (450, False)])
def test_too_few_answers_stop(wait, moves):
    out, status = run([(wait, 0)] * 30, RATED)
    assert out[0] == STOP, "of one frame no rate is known"
    assert set(out[1:]) == {GO if moves else STOP}
    assert status.reason is (None if moves else Reason.LOW_RATE)


def test_the_rate_is_a_mean_and_comes_back():
    assert run([(100, 0), (100, 0), (299, 0)], RATED)[0] == [STOP, GO, GO]
    out, _ = run([(100, 0), (400, 0)] + [(100, 0)] * 10, RATED)
    assert out == [STOP] * 3 + [GO] * 9


def test_once_a_second_never_moves_even_where_one_frame_is_enough():
    out, status = run([(1000, 0)] * 20, RATED)
    assert set(out) == {STOP}
    assert not status.counts, "the watchdog's business, which has stopped for each gap"


ASKED = TIMES._replace(input_ns=300)


def asking(status: Status, now_ns: int, wanted=GO):
    return sv.ask(status, wanted, now_ns, ASKED)


def test_nobody_asks_for_a_speed():
    status, command = sv.answer(sv.begin(started(), 10), GOOD, GO, 10, ASKED)
    assert (status.reason, command) == (Reason.NO_INPUT, STOP)
    status, _ = asking(status, 100)
    status, command = sv.answer(sv.begin(status, 400), GOOD, GO, 400, ASKED)
    assert (status.mode, command) == (Mode.DRIVING, GO)
    status, command = sv.tick(status, 401, ASKED)
    assert (status.reason, command) == (Reason.NO_INPUT, STOP)
    silent, command = sv.answer(sv.begin(status, 5000), GOOD, GO, 5000, ASKED)
    assert (silent.reason, command) == (Reason.NO_INPUT, None), "then silent, for somebody else"


def test_asking_for_zero_stops_at_once_and_asking_for_more_waits_for_a_frame():
    status = asking(driving(), 10)[0]
    assert asking(status, 20) == (status._replace(asked_ns=20), None)
    assert asking(status, 20, STOP)[1] == STOP
    assert asking(started(), 20, STOP)[1] is None


def test_asking_for_nonsense_stops_at_once():
    status, command = sv.ask(driving(), Command(math.nan, 0.0), 10, TIMES)
    assert (status.reason, command, status.counts) == (
        Reason.NOT_FINITE,
        STOP,
        {Reason.NOT_FINITE: 1},
    )
    assert sv.ask(started(), Command(0.0, math.inf), 10, TIMES)[1] is None


def test_dropped_frames_are_counted_while_active():
    status = sv.drop(sv.drop(driving(), Drop.REPEATED), Drop.REPEATED)
    assert status.drops == {Drop.REPEATED: 2}
    assert sv.drop(status, Drop.MISSED, 3).drops == {Drop.REPEATED: 2, Drop.MISSED: 3}
    assert sv.drop(INITIAL, Drop.REPEATED) == INITIAL


def test_the_last_fault_is_remembered():
    status, _ = sv.fault(driving(), Reason.BLIND, 10, TIMES)
    status, _ = sv.deactivate(status, 20, TIMES)
    assert (status.reason, status.last_fault) == (Reason.INACTIVE, Reason.BLIND)


FRAME_EVENTS = ("begin", "good", "unsettled", "nan", "bad", "raise", "drop")
OTHER_EVENTS = ("tick", "ask", "halt", "nonsense", "on", "off", "up", "down", "end")
ASKS = {"ask": GO, "halt": STOP, "nonsense": Command(math.nan, 0.0)}
EVENTS = st.sampled_from(("begin", "good", "good", *FRAME_EVENTS, *OTHER_EVENTS))
ALL = Timeouts(frame_ns=500, stop_ns=1000, late_ns=400, period_ns=250, input_ns=600)
histories = st.lists(
    st.tuples(EVENTS, st.one_of(st.integers(0, 30), st.integers(0, 700))), max_size=80
)


def happen(event: str, status: Status, now_ns: int, times: Timeouts):
    """One event; the next status and what leaves."""
    if event in ("good", "unsettled", "nan"):
        prediction = {
            "good": GOOD,
            "unsettled": GOOD._replace(settled=False),
            "nan": GOOD._replace(steering_rad=math.nan),
        }[event]
        return sv.answer(status, prediction, GO, now_ns, times)
    if event in ("bad", "raise"):
        reason = Reason.BAD_FRAME if event == "bad" else Reason.ENGINE_FAILURE
        return sv.fault(status, reason, now_ns, times)
    if event in ("on", "off"):
        return sv.set_enabled(status, event == "on", now_ns, times)
    if event in ASKS:
        return sv.ask(status, ASKS[event], now_ns, times)
    if event in ("begin", "drop"):
        after = sv.begin(status, now_ns) if event == "begin" else sv.drop(status, Drop.REPEATED)
        return after, None
    steps = {"up": sv.activate, "down": sv.deactivate, "end": sv.shutdown, "tick": sv.tick}
    return steps[event](status, now_ns, times)


@given(histories, st.sampled_from([TIMES, ALL]))
def test_nothing_but_a_good_fresh_answer_moves_the_robot(events, times):
    """Over any history: what leaves is right, and the last word while not driving is zero."""
    status, now_ns, in_force = INITIAL, 0, STOP
    arrived_ns, asked_ns, stopped_since = None, None, True
    for event, wait in [("up", 0), ("ask", 1), ("begin", 1), ("good", 1), *events]:
        now_ns += wait
        before = status
        status, command = happen(event, status, now_ns, times)
        if event == "begin":
            arrived_ns, stopped_since = now_ns, False
        elif event in ASKS:
            asked_ns = now_ns
        if command is not None and command != STOP:
            assert event == "good"
            assert status.mode is Mode.DRIVING
            assert before.reason not in sv.HOLDS
            assert before.enabled
            assert arrived_ns is not None
            assert now_ns - arrived_ns <= min(times.frame_ns, times.late_ns)
            assert not stopped_since, "a stop came between the frame and its answer"
            assert sum(status.recent) <= sv.MOST_LATE
            if times.input_ns:
                assert asked_ns is not None
                assert now_ns - asked_ns <= times.input_ns
            if times.period_ns:
                gaps = len(status.arrivals) - 1
                assert gaps > 0
                assert status.arrivals[-1] - status.arrivals[0] <= gaps * times.period_ns
        in_force = command if command is not None else in_force
        if status.mode is not Mode.DRIVING:
            assert in_force == STOP
            stopped_since = stopped_since or before.mode is Mode.DRIVING
        if event == "tick" and status.mode is Mode.DRIVING:
            assert now_ns - status.heard_ns <= times.frame_ns
            assert not times.input_ns or (now_ns - (status.asked_ns or 0) <= times.input_ns)
        assert (status.reason is not None) == (status.mode is Mode.STOPPED)
        assert len(status.arrivals) <= sv.RATE_FRAMES + 1
        assert len(status.recent) <= sv.RECENT


def name_of(status: Status) -> str:
    if status.mode is not Mode.STOPPED:
        return status.mode.value
    assert status.reason is not None
    return status.reason.value if status.reason in sv.HOLDS else "stopped"


def test_the_picture_in_the_documentation_is_that_of_the_code():
    rng = random.Random(5)
    found = set()
    for _ in range(300):
        status, now_ns = INITIAL, 0
        for _ in range(60):
            now_ns += rng.choice((0, 1, 20, 600))
            event = rng.choice(("begin", "good", *FRAME_EVENTS, *OTHER_EVENTS[:-1]))
            if rng.random() < 0.02:
                event = "end"
            before = name_of(status)
            status, _ = happen(event, status, now_ns, TIMES)
            if name_of(status) != before:
                found.add((before, name_of(status)))
    text = (Path(__file__).parents[1] / "docs" / "node.md").read_text()
    drawn = re.findall(r"^    (\w+) --> (\w+): ", text, re.MULTILINE)
    assert len(drawn) == len(set(drawn))
    assert set(drawn) == found
