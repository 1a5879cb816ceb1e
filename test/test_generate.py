"""Courses: the same for the same seed, passable, and each aspect from a stream of its own."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.sim.course import KINDS, Course, Shape, shapes_of
from crnn_snn_ros.sim.floor import ROBOT_RADIUS_M, furnished, passable
from crnn_snn_ros.sim.generate import NARROW, Difficulty, generate
from crnn_snn_ros.sim.geometry import point_distance, segment_distance

MOVERS = Difficulty(movers=(1, 2), mover_mps=(0.25, 0.7))
SEEDS = range(1000, 1008)


def courses(difficulty: Difficulty) -> list[Course]:
    return [generate(kind, seed, difficulty) for kind in KINDS for seed in SEEDS]


def test_a_seed_is_a_course() -> None:
    assert courses(MOVERS) == courses(MOVERS)
    assert generate("corridor", 1000) != generate("corridor", 1001)


def test_movers_leave_the_rest_as_it_is() -> None:
    for still, moved in zip(courses(Difficulty()), courses(MOVERS), strict=True):
        assert not still.movers
        assert moved.movers
        assert replace(moved, movers=()) == still


@pytest.mark.parametrize("difficulty", [Difficulty(), NARROW], ids=["wide", "narrow"])
def test_every_course_is_passable(difficulty: Difficulty) -> None:
    for course in courses(difficulty):
        assert passable(course, difficulty.margin_m)
        start = np.array([course.start[:2]])
        assert point_distance(start, course.fixed).min() > ROBOT_RADIUS_M + difficulty.margin_m


def test_what_is_blocked_is_not_passable() -> None:
    course = generate("corridor", 1000)
    x, y, heading = course.route_pose(10.0)
    bar = Shape("box", x, y, heading, 0.1, 2.0, 1.0)
    assert not passable(replace(course, obstacles=(*course.obstacles, bar)), 0.0)
    room = generate("room", 1000)
    x, y, _ = room.start
    cage = tuple(
        Shape("box", x + dx, y + dy, 0.0, 1.0, 1.0, 1.0)
        for dx, dy in ((-1.5, 0), (1.5, 0), (0, 1.5), (0, -1.5))
    )
    assert not passable(replace(room, obstacles=cage), 0.1)


def test_kinds_are_what_they_say() -> None:
    corridors = [generate("corridor", seed) for seed in range(1000, 1020)]
    assert all(18.0 < course.goal_m < 24.0 and course.route for course in corridors)
    assert 6 <= np.mean([len(course.obstacles) for course in corridors]) <= 10
    assert all(course.start != corridors[0].start for course in corridors[1:])
    for seed in SEEDS:
        assert generate("open", seed).goal_m == 30.0
        assert not generate("room", seed).route
        (a, b, c, d), (e, f, g, h) = (generate(k, seed).bounds for k in ("room", "open"))
        assert (c - a) * (d - b) < 90.0 < 220.0 < (g - e) * (h - f)
    with pytest.raises(ConfigError, match="corridor, room, open"):
        generate("maze", 1)


def test_movers_go_to_and_fro_and_never_start_upon_the_robot() -> None:
    times = np.linspace(0.0, 60.0, 4001)
    for course in courses(MOVERS):
        for mover in course.movers:
            path = mover.position(times)
            speeds = np.hypot(*np.diff(path, axis=0).T) / np.diff(times)
            assert 0.25 <= mover.speed_mps <= 0.7
            # Slower only in the step in which it turns round.
            turns = 60.0 * mover.speed_mps / mover.length_m + 1
            assert (speeds < mover.speed_mps * (1 - 1e-6)).sum() <= turns
            assert speeds.max() <= mover.speed_mps * (1 + 1e-6)
            ends = np.array([mover.start, mover.end])
            assert np.abs(segment_to(path, ends)).max() < 1e-9
            round_m = mover.shape.half_x_m
            assert point_distance(path[:, None], course.fixed).min() > round_m - 0.01
            away = np.hypot(*(path[times <= 2.0] - course.start[:2]).T)
            assert away.min() > 1.9


def segment_to(path: np.ndarray, ends: np.ndarray) -> np.ndarray:
    way = (ends[1] - ends[0]) / math.dist(*ends)
    return np.asarray((path - ends[0]) @ np.array([-way[1], way[0]]))


def test_progress_and_pose_on_the_route_agree() -> None:
    course = generate("corridor", 1003)
    for distance in np.linspace(0.0, course.goal_m, 40):
        x, y, _ = course.route_pose(float(distance))
        assert course.progress_m(x, y) == pytest.approx(distance, abs=1e-6)
    assert generate("room", 1003).progress_m(0.0, 0.0) == 0.0


def test_corridor_walls_leave_its_width_free() -> None:
    course = generate("corridor", 1005)
    walls = shapes_of(course.walls)
    for distance in np.linspace(0.5, course.goal_m, 60):
        x, y, heading = course.route_pose(float(distance))
        across = 0.4 * np.array([-math.sin(heading), math.cos(heading)])
        middle = np.array([x, y])
        assert segment_distance(middle - across, middle + across, walls).min() > 0.0


def test_the_way_to_the_goal_is_about_as_long_as_the_route() -> None:
    course = generate("corridor", 1002)
    floor = furnished(course, 0.08)
    far = floor.to_goal()
    for distance in (1.0, 8.0, 15.0):
        x, y, _ = course.route_pose(distance)
        rest = course.goal_m - distance
        assert 0.8 * rest < far[floor.cell((x, y))] < 1.2 * rest + 0.5
    assert np.isinf(furnished(generate("room", 1002), 0.08).to_goal()).all()
