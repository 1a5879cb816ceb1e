"""How far a round robot could go along each bearing, before walls and posts where it is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crnn_snn_ros.data.scans import BEARINGS, REACH_M, VIEW_RAD
from crnn_snn_ros.sim.course import Shape, shapes_of
from crnn_snn_ros.sim.geometry import point_distance
from crnn_snn_ros.sim.glimpses import free_paths

RADIUS_M = 0.18
ORIGIN = (0.0, 0.0, 0.0)
AHEAD = BEARINGS // 2
BEARING_RAD = np.linspace(-VIEW_RAD / 2, VIEW_RAD / 2, BEARINGS)


def post(away_m: float, bearing_rad: float, radius_m: float = 0.05) -> Shape:
    x, y = away_m * math.cos(bearing_rad), away_m * math.sin(bearing_rad)
    return Shape("cylinder", x, y, 0.0, radius_m, radius_m, 1.0)


def test_where_nothing_is_the_way_is_free_as_far_as_can_be_seen() -> None:
    behind = shapes_of((post(1.0, math.pi),))
    assert (free_paths(ORIGIN, behind, RADIUS_M) == REACH_M).all()


def test_a_wall_stops_the_robot_by_its_border_and_not_by_its_middle() -> None:
    wall = shapes_of((Shape("box", 2.0, 0.0, 0.0, 0.1, 50.0, 1.0),))
    expected = (1.9 - RADIUS_M) / np.cos(BEARING_RAD)
    found = free_paths(ORIGIN, wall, RADIUS_M)
    inner = slice(5, -5)  # at the ends of the view the robot's border touches what is out of it
    assert found[inner] == pytest.approx(expected[inner], abs=0.01)


def test_a_thin_post_bars_every_bearing_on_which_the_robot_would_touch_it() -> None:
    found = free_paths(ORIGIN, shapes_of((post(1.0, 0.0),)), RADIUS_M)
    barred = np.flatnonzero(found < REACH_M)
    assert found[AHEAD] == pytest.approx(1.0 - 0.05 - RADIUS_M, abs=0.01)
    widest = math.asin((RADIUS_M + 0.05) / 1.0)
    expected = np.flatnonzero(np.abs(BEARING_RAD) < widest)
    assert set(expected[1:-1]) <= set(barred) <= set(expected)
    assert len(barred) >= 7  # of a scan's 31 rays the post fills two


@given(
    away=st.floats(0.4, 6.0), bearing=st.floats(-0.7, 0.7), radius=st.floats(0.04, 0.4),
    yaw=st.floats(-math.pi, math.pi), x=st.floats(-5.0, 5.0),
)  # fmt: skip
def test_a_robot_touches_at_the_end_of_its_path_and_not_before(
    away: float, bearing: float, radius: float, yaw: float, x: float
) -> None:
    start = np.array([x, 1.0])
    distance = RADIUS_M + radius + away
    at = start + distance * np.array([math.cos(yaw + bearing), math.sin(yaw + bearing)])
    shapes = shapes_of((Shape("cylinder", *map(float, at), 0.0, radius, radius, 1.0),))
    found = free_paths((x, 1.0, yaw), shapes, RADIUS_M)
    for bearing_rad, free in zip(yaw + BEARING_RAD, found, strict=True):
        ahead = np.array([math.cos(bearing_rad), math.sin(bearing_rad)])
        way = start + np.linspace(0.0, max(free - 0.02, 0.0), 30)[:, None] * ahead
        if free < REACH_M:
            end = start + (free + 1e-6) * ahead
            assert point_distance(end[None], shapes)[0] <= RADIUS_M + 1e-5
            # What the nearest rays leave between them is less than this.
            assert (point_distance(way[:, None], shapes) >= RADIUS_M - 0.02).all()
