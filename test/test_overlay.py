"""The picture for people."""

from __future__ import annotations

import math

import numpy as np
import pytest

from crnn_snn_ros.core.types import Prediction
from crnn_snn_ros.io.overlay import LEAST_HEIGHT, STEERING, overlay

GREY = np.full((480, 640, 3), 90, np.uint8)


def needle(steering_rad: float) -> float:
    """Mean column of the needle's upper end, from the middle, pixels."""
    drawn = overlay(GREY, Prediction(steering_rad, 0.0, True, 3, 9), "")
    columns = np.nonzero((drawn[250:300] == STEERING).all(axis=2))[1]
    return float(columns.mean()) - 320


def test_the_needle_leans_to_the_side_that_is_steered_to():
    assert needle(0.0) == pytest.approx(0.0, abs=2.0)
    assert needle(0.4) < -20
    assert needle(-0.4) > 20


def test_the_bar_grows_with_the_probability():
    heights = []
    for p in (0.0, 0.5, 1.0):
        drawn = overlay(GREY, Prediction(0.0, p, True, 3, 9), "")
        heights.append(int((drawn[:, 2] != 90).any(axis=1).sum()))
    assert heights == pytest.approx([1, 240, 480], abs=2)


def test_nonsense_is_not_drawn_and_the_image_is_left_alone():
    before = GREY.copy()
    nonsense = Prediction(math.nan, math.nan, False, 3, 9)
    assert not (overlay(GREY, nonsense, "")[250:300] == STEERING).all(axis=2).any()
    assert np.array_equal(GREY, before)


def test_small_pictures_are_enlarged():
    small = np.zeros((64, 96, 3), np.uint8)
    height, width, _ = overlay(small, Prediction(0.0, 0.0, True, 3, 9), "").shape
    assert (height, width) == (256, 384)
    assert height >= LEAST_HEIGHT
