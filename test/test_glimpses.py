"""Glimpses of courses: the same for ever, from places where a robot can be, with true answers."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from sim_support import needs_pictures

from crnn_snn_ros.data.scans import BEARINGS, REACH_M
from crnn_snn_ros.sim.glimpses import NEAR_M, SOON_S, free_paths, take_glimpses
from crnn_snn_ros.sim.suites import SUITES, Setup

SETUP = Setup(camera=(24, 16), rate_hz=5.0)
pytestmark = needs_pictures


def test_the_same_seed_gives_the_same_glimpses() -> None:
    first, again = (take_glimpses("movers", 1000, 3, SETUP, past=4) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one, other)
    assert first.frames.shape == (3, 2, 16, 24, 3)
    assert not np.array_equal(first.frames[0], first.frames[1])
    assert take_glimpses("movers", 1000, 3, SETUP).frames.shape == (3, 1, 16, 24, 3)


@pytest.mark.parametrize("suite", ["rush", "narrow"])
@pytest.mark.parametrize("seed", [1000, 1002, 1004], ids=["corridor", "room", "open"])
def test_they_are_taken_where_a_robot_can_be_and_often_near_something(
    suite: str, seed: int
) -> None:
    taken = take_glimpses(suite, seed, 20, SETUP, past=1)
    for paths in (taken.free_m, taken.soon_m):
        assert (paths >= 0.0).all()
        assert (paths <= REACH_M).all()
    nearest = taken.free_m[::3].min(axis=-1)
    assert (nearest < NEAR_M + 0.3).mean() >= 0.8  # as was asked for; what moves has moved since


def test_a_wider_lens_shows_more_and_is_asked_for_more() -> None:
    wide = dataclasses.replace(SETUP, fov_deg=120.0)
    near, far = (take_glimpses("static", 1000, 6, setup) for setup in (SETUP, wide))
    for one, other in zip(near.mounts, far.mounts, strict=True):
        assert other.horizontal_fov_rad > one.horizontal_fov_rad + 0.4
        assert other[:2] == one[:2]
    assert not np.array_equal(near.frames, far.frames)
    course = SUITES["static"].course(1000)
    shapes, pose = course.at(0.0), course.start
    asked = [free_paths(pose, shapes, 0.18, math.radians(view)) for view in (90.0, 120.0)]
    assert asked[0][BEARINGS // 2] == pytest.approx(asked[1][BEARINGS // 2])
    # 12 degrees to the left: 4 bearings of 3 degrees, 3 of 4
    assert asked[0][BEARINGS // 2 + 4] == pytest.approx(asked[1][BEARINGS // 2 + 3], abs=0.02)


def test_soon_differs_where_something_moves_only() -> None:
    still = take_glimpses("static", 1004, 6, SETUP, past=1)
    assert np.array_equal(still.free_m, still.soon_m)
    moving = take_glimpses("rush", 1004, 30, SETUP, past=1)
    changed = np.abs(moving.soon_m - moving.free_m)
    assert np.median(changed) < 0.7 * SOON_S + 0.01  # nothing moves faster
    seen = changed.max(axis=1) > 0.1
    assert seen[2::3].mean() >= 0.7  # every third looks at something that moves
