"""Distances and rays against points laid out by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crnn_snn_ros.sim.course import Shape, shapes_of
from crnn_snn_ros.sim.geometry import Floats, cast, nearest, point_distance, segment_distance

coordinate = st.floats(-3.0, 3.0)
points = st.tuples(coordinate, coordinate).map(np.array)
STEP_M = 0.004  # of the border's points


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    kind = draw(st.sampled_from(("box", "cylinder")))
    half = draw(st.tuples(st.floats(0.05, 1.0), st.floats(0.05, 1.0)))
    yaw = draw(st.floats(-math.pi, math.pi))
    return Shape(kind, draw(coordinate), draw(coordinate), yaw, *half, 1.0)


def border(shape: Shape) -> Floats:
    """Points on a shape's border, at most ``STEP_M`` apart."""
    if shape.kind == "cylinder":
        turns = np.linspace(0, 2 * np.pi, int(2 * np.pi * shape.half_x_m / STEP_M) + 3)
        flat = shape.half_x_m * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    else:
        u = np.linspace(-1.0, 1.0, int(2.0 / STEP_M))
        one = np.ones_like(u)
        sides = [(u, one), (u, -one), (one, u), (-one, u)]
        flat = np.concatenate([np.stack(side, axis=1) for side in sides])
        flat = flat * (shape.half_x_m, shape.half_y_m)
    cos, sin = math.cos(shape.yaw_rad), math.sin(shape.yaw_rad)
    return flat @ np.array([(cos, sin), (-sin, cos)]) + (shape.x_m, shape.y_m)


def inside(shape: Shape, point: Floats) -> bool:
    x, y = point - (shape.x_m, shape.y_m)
    if shape.kind == "cylinder":
        return math.hypot(x, y) < shape.half_x_m
    cos, sin = math.cos(shape.yaw_rad), math.sin(shape.yaw_rad)
    return abs(x * cos + y * sin) < shape.half_x_m and abs(y * cos - x * sin) < shape.half_y_m


@given(shapes(), points)
def test_distance_of_a_point(shape: Shape, point: Floats) -> None:
    apart = np.hypot(*(border(shape) - point).T).min()
    expected = -apart if inside(shape, point) else apart
    assert point_distance(point[None], shapes_of((shape,)))[0] == pytest.approx(
        expected, abs=STEP_M
    )


@given(st.lists(shapes(), min_size=1, max_size=4), st.lists(points, min_size=1, max_size=5))
def test_the_nearest_is_the_least_of_all(made: list[Shape], spots: list[Floats]) -> None:
    several, here = shapes_of(tuple(made)), np.array(spots)
    apart = point_distance(here[:, None], several)
    assert np.array_equal(nearest(here, several), apart.min(axis=1))
    own = here + several.centre[:, None]  # each shape has points of its own
    apart = point_distance(own.swapaxes(0, 1), several)
    assert np.array_equal(nearest(own, several), apart.min(axis=1))


@given(shapes(), points, points)
@settings(max_examples=200)
def test_distance_of_a_segment(shape: Shape, start: Floats, end: Floats) -> None:
    along = start + np.linspace(0.0, 1.0, 600)[:, None] * (end - start)
    nearest = point_distance(along[:, None], shapes_of((shape,))).min()
    found = segment_distance(start, end, shapes_of((shape,)))[0]
    step = np.hypot(*(end - start)) / 599
    if nearest > step:
        assert found == pytest.approx(nearest, abs=step)
    elif nearest < -step:
        assert found <= 0.0


@given(st.lists(shapes(), min_size=1, max_size=4), points, st.floats(-math.pi, math.pi))
def test_a_ray_ends_where_a_march_along_it_does(
    several: list[Shape], origin: Floats, angle: float
) -> None:
    arrays = shapes_of(tuple(several))
    if point_distance(origin[None], arrays).min() <= 0.0:
        return
    found, seen = cast(origin, np.array([angle]), arrays, 5.0)
    way = np.array([math.cos(angle), math.sin(angle)])
    marched = np.linspace(0.0, 5.0, 2501)
    nearest = point_distance((origin + marched[:, None] * way)[:, None], arrays)
    hits = np.flatnonzero(nearest.min(axis=1) < 0.0)
    if len(hits):  # a march may step over a corner, so it can only be too long
        assert found[0] <= marched[hits[0]] + 1e-9
    if found[0] < 5.0:
        at = origin + found[0] * way
        touched = point_distance(at[None], arrays)
        assert abs(touched.min()) < 1e-6
        assert seen[touched.argmin()] == 1.0 or np.sort(touched)[1] < 1e-6
    else:
        assert not seen.any()


def test_nothing_in_reach() -> None:
    far = shapes_of((Shape("box", 20.0, 0.0, 0.0, 1.0, 1.0, 1.0),))
    ranges, seen = cast(np.zeros(2), np.zeros(3), far, 4.0)
    assert (ranges == 4.0).all()
    assert not seen.any()
