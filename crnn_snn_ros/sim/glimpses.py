"""Glimpses: a few frames from anywhere on a course, and how far the robot could go from there.

An eye learns from them where things are, before it learns to drive. A drive shows one course for a
minute, from places that hardly differ from frame to frame; of the time that it takes to record one,
hundreds of glimpses can be had, each from another place and each with a look of its own.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.mount import CameraMount
from crnn_snn_ros.core.types import Moved, Pose
from crnn_snn_ros.data.scans import BEARINGS, REACH_M, VIEW_RAD
from crnn_snn_ros.sim.course import Course, Mover
from crnn_snn_ros.sim.geometry import Shapes, cast, point_distance
from crnn_snn_ros.sim.looks import Lens, Look
from crnn_snn_ros.sim.scene import Scene
from crnn_snn_ros.sim.suites import SUITES, Setup

STREAM = 8  # of the seed: where glimpses are taken
SOON_S = 0.5  # the second answer is of what will be by then, from where the robot is now
NEAR_M = 1.0  # every third glimpse has something within this
MOVER_M = 2.5  # and another third something that moves, within this, where anything does
_RAY_RAD = math.radians(0.5)  # between two rays: the thinnest post fills two at 4 m
_TRIES = 40
_LOOKS = 1000  # of one course
_ASKED = ("near", "anywhere", "mover")


class Glimpses(NamedTuple):
    """Some glimpses of one course."""

    frames: NDArray[np.uint8]  # (N, 1 or 2, H, W, 3) RGB; of two the first is the other's past
    free_m: NDArray[np.float32]  # (N, BEARINGS) at the last frame, as ``free_paths``
    soon_m: NDArray[np.float32]  # the same SOON_S later, had the robot not moved
    mounts: tuple[CameraMount, ...]  # N of them
    moved: tuple[Moved, ...]  # N of them, from the first frame to the last
    lately: tuple[Moved, ...]  # N of them, in the last period of the camera


def take_glimpses(suite: str, seed: int, count: int, setup: Setup, past: int = 0) -> Glimpses:
    """Glimpses of a course; the same seed gives the same ones.

    Args:
        suite: a key of ``SUITES``.
        seed: of the course.
        count: how many, each with a look of its own, but under one ceiling or sky.
        setup: robot and camera.
        past: so many frames of the camera before each there is another, to see motion by; 0: none.

    Raises:
        ConfigError: nothing can be drawn on this machine.
    """
    course = SUITES[suite].course(seed)
    random = np.random.default_rng(np.random.SeedSequence([seed, STREAM]))
    seen = (0, past) if past else (0,)  # frames after the first
    frames = np.empty((count, len(seen), setup.camera[1], setup.camera[0], 3), np.uint8)
    free, soon = (np.empty((count, BEARINGS), np.float32) for _ in range(2))
    mounts, moved, lately = [], [], []
    view_rad = math.radians(setup.fov_deg)
    scene = Scene(course, SUITES[suite].look(seed), *setup.camera)
    try:
        for number in range(count):
            look = Look.from_seed(seed * _LOOKS + number).with_lens(setup.fov_deg)
            scene.repaint(look)
            lens = Lens(look.camera, look.seed)
            mounts.append(look.camera.mount)
            time_s = random.uniform(0.0, course.timeout_s)
            way = _way(course, random, setup, time_s, past, _ASKED[number % 3])
            for k, frame in enumerate(seen):
                picture = scene.render(way[frame], time_s + frame / setup.rate_hz)
                frames[number, k] = lens(picture, k)
            moved.append(Moved.between(way[0], way[-1]))
            lately.append(Moved.between(way[max(past - 1, 0)], way[-1]))
            now_s = time_s + past / setup.rate_hz
            for answer, when_s in ((free, now_s), (soon, now_s + SOON_S)):
                shapes = course.at(when_s)
                answer[number] = free_paths(way[-1], shapes, setup.robot.radius_m, view_rad)
    finally:
        scene.close()
    return Glimpses(frames, free, soon, tuple(mounts), tuple(moved), tuple(lately))


def free_paths(
    pose: Pose, shapes: Shapes, radius_m: float, view_rad: float = VIEW_RAD
) -> NDArray[np.float64]:
    """How far a round robot could go along each bearing until it touches something in view.

    A thin post in the way fills one ray of a scan, and bars as many bearings as are of use to know
    of. Ranges alone are nearly all of walls.

    Args:
        pose: of the robot.
        shapes: what is there.
        radius_m: of the robot.
        view_rad: over which the bearings are.

    Returns:
        (BEARINGS,) evenly over the view, as of ``data.scans``, m: from 0, where it touches already,
        to REACH_M.
    """
    rays = np.linspace(-view_rad / 2, view_rad / 2, _rays(view_rad))
    ranges = cast(np.array(pose[:2]), pose[2] + rays, shapes, REACH_M)[0]
    off = rays - np.linspace(-view_rad / 2, view_rad / 2, BEARINGS)[:, None]
    aside = ranges * np.sin(off)
    bars = (np.abs(aside) < radius_m) & (ranges < REACH_M)
    overlap = np.sqrt(np.maximum(radius_m**2 - aside**2, 0.0))  # of the disc, ahead of its middle
    until = np.where(bars, ranges * np.cos(off) - overlap, REACH_M)
    return np.asarray(np.maximum(until.min(axis=1), 0.0))


def _rays(view_rad: float) -> int:
    return round(view_rad / _RAY_RAD) + 1


def _nearest(pose: Pose, shapes: Shapes, view_rad: float) -> float:
    bearings = np.linspace(-view_rad / 2, view_rad / 2, BEARINGS)
    return float(cast(np.array(pose[:2]), pose[2] + bearings, shapes, REACH_M)[0].min())


def _way(
    course: Course,
    random: np.random.Generator,
    setup: Setup,
    time_s: float,
    frames: int,
    asked: str,
) -> list[Pose]:
    """A robot that for so many frames drives at some speed along some arc, and touches nothing."""
    found: list[Pose] = []
    view_rad = math.radians(setup.fov_deg)
    for _ in range(_TRIES):
        speed, turn = random.uniform(0.0, 1.0), random.normal(0.0, 0.7)
        if random.random() < 0.2:
            speed = 0.0
        toward = course.movers if asked == "mover" else ()
        x, y, yaw = _before(toward, random, time_s, view_rad) if toward else _place(course, random)
        way = []
        for k in range(frames + 1):
            shapes = course.at(time_s + k / setup.rate_hz)
            if point_distance(np.array([[x, y]]), shapes).min() <= setup.robot.radius_m:
                break
            way.append((x, y, yaw))
            yaw += turn / setup.rate_hz
            x += speed * math.cos(yaw) / setup.rate_hz
            y += speed * math.sin(yaw) / setup.rate_hz
        if len(way) <= frames:
            continue
        found = way
        if asked != "near" or _nearest(way[-1], course.at(time_s), view_rad) < NEAR_M:
            break
    return found or [course.start] * (frames + 1)


def _before(
    movers: tuple[Mover, ...], random: np.random.Generator, time_s: float, view_rad: float
) -> Pose:
    """Somewhere from where one of them is in view, if nothing is in between."""
    mover = movers[int(random.integers(len(movers)))]
    x, y = mover.position(np.asarray(time_s))
    bearing, away = random.uniform(-math.pi, math.pi), random.uniform(0.4, MOVER_M)
    aside = random.uniform(-view_rad / 2, view_rad / 2)
    return x - away * math.cos(bearing), y - away * math.sin(bearing), bearing + aside


def _place(course: Course, random: np.random.Generator) -> Pose:
    if course.route:
        x, y, heading = course.route_pose(random.uniform(0.3, course.goal_m))
        aside = random.normal(0.0, 0.5)
        return (
            x - aside * math.sin(heading), y + aside * math.cos(heading),
            heading + random.normal(0.0, 0.7),
        )  # fmt: skip
    low_x, low_y, high_x, high_y = course.bounds
    x, y = random.uniform(low_x, high_x), random.uniform(low_y, high_y)
    return x, y, random.uniform(-math.pi, math.pi)
