"""How far a robot has turned, by its odometry."""

from __future__ import annotations

import math

import pytest
from geometry_msgs.msg import Quaternion
from hypothesis import given
from hypothesis import strategies as st
from nav_msgs.msg import Odometry

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.core.odometry import BEYOND_NS, KEPT_NS, Heading, Headings, heard, turned_rad
from crnn_snn_ros.ros import messages

START_NS, STEP_NS = 5_000_000_000, 20_000_000
RATES = st.floats(-3.0, 3.0)


def turning(rates: list[float], yaw_rad: float = 0.0) -> Headings:
    """Headings every 20 ms of a robot that turns at each rate in turn, as messages tell them."""
    headings: Headings = ()
    for number, rate in enumerate(rates):
        told = math.remainder(yaw_rad, 2.0 * math.pi)
        headings = heard(headings, Heading(START_NS + number * STEP_NS, told, rate))
        yaw_rad += rate * STEP_NS * 1e-9
    return headings


@given(st.lists(RATES, min_size=2, max_size=40), st.floats(-9.0, 9.0), st.data())
def test_a_turn_is_that_of_the_rates(rates: list[float], yaw_rad: float, data: st.DataObject):
    headings = turning(rates, yaw_rad)
    last_ns = headings[-1].stamp_ns
    one, other = sorted(data.draw(st.integers(START_NS, last_ns)) for _ in range(2))
    wanted = sum(
        rate * 1e-9 * max(0, min(other, begin + STEP_NS) - max(one, begin))
        for rate, begin in zip(rates, range(START_NS, last_ns, STEP_NS), strict=False)
    )
    assert turned_rad(headings, one, other) == pytest.approx(wanted, abs=1e-6)
    assert turned_rad(headings, one, one) == 0.0


@given(RATES, st.integers(0, BEYOND_NS))
def test_a_frame_is_a_little_newer_than_the_odometry(rate: float, beyond_ns: int):
    headings = turning([rate] * 10)
    first_ns, last_ns = headings[0].stamp_ns, headings[-1].stamp_ns
    after = turned_rad(headings, last_ns, last_ns + beyond_ns)
    before = turned_rad(headings, first_ns - beyond_ns, first_ns)
    assert after == pytest.approx(rate * beyond_ns * 1e-9)
    assert before == pytest.approx(rate * beyond_ns * 1e-9)


def test_what_no_odometry_reaches_is_not_known():
    headings = turning([1.0] * 10)
    first_ns, last_ns = headings[0].stamp_ns, headings[-1].stamp_ns
    assert turned_rad((), START_NS, START_NS) is None
    assert turned_rad(headings, first_ns, last_ns + BEYOND_NS + 1) is None
    assert turned_rad(headings, first_ns - BEYOND_NS - 1, last_ns) is None


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_what_is_no_heading_is_left_out(wrong: float):
    good = turning([1.0] * 3)
    later_ns = good[-1].stamp_ns + STEP_NS
    nonsense = (Heading(later_ns, wrong, 0.0), Heading(later_ns, 0.0, wrong), Heading(0, 0.0, 0.0))
    for heading in (*nonsense, good[-1]):
        assert heard(good, heading) == good


def test_it_begins_anew_where_time_goes_back_and_forgets_what_is_long_ago():
    headings = turning([0.1] * 300)
    assert headings[-1].stamp_ns - headings[0].stamp_ns == KEPT_NS
    back = Heading(START_NS, 2.0, 0.0)
    assert heard(headings, back) == (back,)


@given(st.floats(-math.pi, math.pi), st.floats(-0.4, 0.4), st.floats(-0.4, 0.4))
def test_a_base_that_leans_has_the_same_heading(yaw: float, pitch: float, roll: float):
    message = Odometry()
    message.header.stamp.sec = 7
    message.twist.twist.angular.z = 0.25
    message.pose.pose.orientation = quaternion(yaw, pitch, roll)
    heading = messages.heading(message)
    assert math.remainder(heading.yaw_rad - yaw, 2.0 * math.pi) == pytest.approx(0.0, abs=1e-9)
    assert (heading.stamp_ns, heading.rate_radps) == (7_000_000_000, 0.25)


def test_the_time_of_a_message_must_be_one():
    message = Odometry()
    message.header.stamp.sec = -1
    with pytest.raises(DataError, match="is no time"):
        messages.heading(message)


def quaternion(yaw: float, pitch: float, roll: float) -> Quaternion:
    """Of a rotation about z, then y, then x of the body (REP-103)."""
    (cy, sy), (cp, sp), (cr, sr) = (
        (math.cos(angle / 2), math.sin(angle / 2)) for angle in (yaw, pitch, roll)
    )
    return Quaternion(
        x=sr * cp * cy - cr * sp * sy,
        y=cr * sp * cy + sr * cp * sy,
        z=cr * cp * sy - sr * sp * cy,
        w=cr * cp * cy + sr * sp * sy,
    )
