"""The supervisor, with fake time: no command leaves that should not, and a stop always does."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crnn_snn_ros.core import supervisor as sv
from crnn_snn_ros.core.supervisor import INITIAL, Mode, Reason, Status, Timeouts
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


def test_a_late_answer_is_discarded_even_if_the_watchdog_slept():
    status, command = answered(driving(), 100, 601)
    assert (status.reason, command, status.counts) == (Reason.LATE, STOP, {Reason.LATE: 1})


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
    assert sv.answer(status, GOOD, GO, 510, TIMES) == (status, None)


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


EVENTS = st.sampled_from(
    ["begin", "good", "unsettled", "nan", "bad", "raise", "tick", "on", "off", "up", "down", "end"]
)


@given(st.lists(st.tuples(EVENTS, st.integers(0, 700)), max_size=60))
def test_nothing_but_a_good_fresh_answer_moves_the_robot(events):
    """Over any history: what leaves is right, and the last word while not driving is zero."""
    status, now_ns, in_force = INITIAL, 0, STOP
    arrived_ns, stopped_since = None, True
    for event, wait in events:
        now_ns += wait
        before = status
        if event == "begin":
            status, command = sv.begin(status, now_ns), None
            arrived_ns, stopped_since = now_ns, False
        elif event in ("good", "unsettled", "nan"):
            prediction = {
                "good": GOOD,
                "unsettled": GOOD._replace(settled=False),
                "nan": GOOD._replace(steering_rad=math.nan),
            }[event]
            status, command = sv.answer(status, prediction, GO, now_ns, TIMES)
        elif event in ("bad", "raise"):
            reason = Reason.BAD_FRAME if event == "bad" else Reason.ENGINE_FAILURE
            status, command = sv.fault(status, reason, now_ns, TIMES)
        elif event in ("on", "off"):
            status, command = sv.set_enabled(status, event == "on", now_ns, TIMES)
        else:
            steps = {"up": sv.activate, "down": sv.deactivate, "end": sv.shutdown, "tick": sv.tick}
            status, command = steps[event](status, now_ns, TIMES)
        if command is not None and command != STOP:
            assert event == "good"
            assert status.mode is Mode.DRIVING
            assert before.reason not in sv.HOLDS
            assert before.enabled
            assert arrived_ns is not None
            assert now_ns - arrived_ns <= TIMES.frame_ns
            assert not stopped_since, "a stop came between the frame and its answer"
        in_force = command if command is not None else in_force
        if status.mode is not Mode.DRIVING:
            assert in_force == STOP
            stopped_since = stopped_since or before.mode is Mode.DRIVING
        if event == "tick" and status.mode is Mode.DRIVING:
            assert now_ns - status.heard_ns <= TIMES.frame_ns
        assert (status.reason is not None) == (status.mode is Mode.STOPPED)
