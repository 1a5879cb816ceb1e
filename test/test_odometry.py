"""How a robot has moved, by its odometry."""

from __future__ import annotations

import math

import pytest
from geometry_msgs.msg import Quaternion
from hypothesis import given
from hypothesis import strategies as st
from nav_msgs.msg import Odometry

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.core.odometry import BEYOND_NS, KEPT_NS, Place, Places, heard, moved
from crnn_snn_ros.ros import messages

START_NS, STEP_NS = 5_000_000_000, 20_000_000
RATES = st.floats(-3.0, 3.0)


def driven(rates: list[float], yaw_rad: float = 0.0, speed_mps: float = 0.0) -> Places:
    """Places every 20 ms of a robot that turns at each rate in turn, as messages tell them."""
    places: Places = ()
    x_m = y_m = 0.0
    for number, rate in enumerate(rates):
        told = math.remainder(yaw_rad, 2.0 * math.pi)
        stamp_ns = START_NS + number * STEP_NS
        places = heard(places, Place(stamp_ns, x_m, y_m, told, speed_mps, rate))
        x_m += speed_mps * STEP_NS * 1e-9 * math.cos(yaw_rad)
        y_m += speed_mps * STEP_NS * 1e-9 * math.sin(yaw_rad)
        yaw_rad += rate * STEP_NS * 1e-9
    return places


@given(st.lists(RATES, min_size=2, max_size=40), st.floats(-9.0, 9.0), st.data())
def test_a_turn_is_that_of_the_rates(rates: list[float], yaw_rad: float, data: st.DataObject):
    places = driven(rates, yaw_rad)
    last_ns = places[-1].stamp_ns
    one, other = sorted(data.draw(st.integers(START_NS, last_ns)) for _ in range(2))
    wanted = sum(
        rate * 1e-9 * max(0, min(other, begin + STEP_NS) - max(one, begin))
        for rate, begin in zip(rates, range(START_NS, last_ns, STEP_NS), strict=False)
    )
    assert moved(places, one, other) == (pytest.approx(wanted, abs=1e-6), 0.0, 0.0)
    assert moved(places, one, one) == (0.0, 0.0, 0.0)


@given(st.floats(-9.0, 9.0), st.floats(-1.0, 1.0), st.data())
def test_a_way_is_told_in_the_axes_of_its_beginning(yaw: float, speed: float, data: st.DataObject):
    places = driven([0.0] * 20, yaw, speed)
    beyond_ns = BEYOND_NS // 2
    instants = st.integers(START_NS - beyond_ns, places[-1].stamp_ns + beyond_ns)
    one, other = data.draw(instants), data.draw(instants)
    gone_m = speed * 1e-9 * (other - one)
    assert moved(places, one, other) == pytest.approx((0.0, gone_m, 0.0), abs=1e-6)


@given(st.lists(RATES, min_size=20, max_size=20), st.floats(-9.0, 9.0), st.data())
def test_two_ways_are_one(rates: list[float], yaw_rad: float, data: st.DataObject):
    places = driven(rates, yaw_rad, 0.7)
    instants = st.integers(START_NS, places[-1].stamp_ns)
    one, other, third = (data.draw(instants) for _ in range(3))
    first, second = moved(places, one, other), moved(places, other, third)
    assert first is not None
    assert second is not None
    assert first.then(second) == pytest.approx(moved(places, one, third), abs=1e-6)


@given(RATES, st.integers(0, BEYOND_NS))
def test_a_frame_is_a_little_newer_than_the_odometry(rate: float, beyond_ns: int):
    places = driven([rate] * 10)
    first_ns, last_ns = places[0].stamp_ns, places[-1].stamp_ns
    after = moved(places, last_ns, last_ns + beyond_ns)
    before = moved(places, first_ns - beyond_ns, first_ns)
    assert after is not None
    assert before is not None
    assert after.turned_rad == pytest.approx(rate * beyond_ns * 1e-9)
    assert before.turned_rad == pytest.approx(rate * beyond_ns * 1e-9)


def test_what_no_odometry_reaches_is_not_known():
    places = driven([1.0] * 10)
    first_ns, last_ns = places[0].stamp_ns, places[-1].stamp_ns
    assert moved((), START_NS, START_NS) is None
    assert moved(places, first_ns, last_ns + BEYOND_NS + 1) is None
    assert moved(places, first_ns - BEYOND_NS - 1, last_ns) is None


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("field", Place._fields[1:])
def test_what_is_no_place_is_left_out(field: str, wrong: float):
    good = driven([1.0] * 3)
    later = good[-1]._replace(stamp_ns=good[-1].stamp_ns + STEP_NS)
    for place in (later._replace(**{field: wrong}), later._replace(stamp_ns=0), good[-1]):
        assert heard(good, place) == good


def test_it_begins_anew_where_time_goes_back_and_forgets_what_is_long_ago():
    places = driven([0.1] * 300)
    assert places[-1].stamp_ns - places[0].stamp_ns == KEPT_NS
    back = Place(START_NS, 0.0, 0.0, 2.0, 0.0, 0.0)
    assert heard(places, back) == (back,)


@given(st.floats(-math.pi, math.pi), st.floats(-0.4, 0.4), st.floats(-0.4, 0.4))
def test_a_base_that_leans_is_where_it_is(yaw: float, pitch: float, roll: float):
    message = Odometry()
    message.header.stamp.sec = 7
    message.twist.twist.linear.x, message.twist.twist.angular.z = 0.5, 0.25
    message.pose.pose.position.x, message.pose.pose.position.y = 3.0, -4.0
    message.pose.pose.orientation = quaternion(yaw, pitch, roll)
    place = messages.place(message)
    assert math.remainder(place.yaw_rad - yaw, 2.0 * math.pi) == pytest.approx(0.0, abs=1e-9)
    assert place._replace(yaw_rad=0.0) == (7_000_000_000, 3.0, -4.0, 0.0, 0.5, 0.25)


def test_the_time_of_a_message_must_be_one():
    message = Odometry()
    message.header.stamp.sec = -1
    with pytest.raises(DataError, match="is no time"):
        messages.place(message)


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
