from __future__ import annotations

import cv2
import numpy as np
import pytest

from crnn_snn_ros.evaluation.pictures import (
    ALARM_COLOUR,
    CLEAR_COLOUR,
    SNN_COLOUR,
    TRUTH_COLOUR,
    Shown,
    annotate,
    jpeg,
)

GREY = np.full((60, 80, 3), 128, np.uint8)


def where(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Rows and columns of the pixels of a colour."""
    return np.argwhere((image == colour).all(axis=2))


def test_nothing_to_show_changes_nothing_but_the_size():
    out = annotate(GREY, Shown(), 160)
    assert (out.shape, out.dtype) == ((120, 160, 3), np.uint8)
    assert (out == 128).all()
    assert (GREY == 128).all()


@pytest.mark.parametrize("shape", [(61, 81, 3), (17, 97, 3), (480, 640, 3)])
def test_sizes_are_even(shape):
    out = annotate(np.zeros(shape, np.uint8), Shown(), 320)
    assert out.shape[1] == 320
    assert out.shape[0] % 2 == 0


@pytest.mark.parametrize("steering", [-0.4, 0.4])
def test_the_arc_bends_to_the_side_that_is_steered_to(steering):
    """Positive is left (REP-103)."""
    out = annotate(GREY, Shown(steering_rad=steering, true_steering_rad=-steering), 320)
    for colour, sign in ((SNN_COLOUR, 1), (TRUTH_COLOUR, -1)):
        pixels = where(out, colour)
        top = pixels[pixels[:, 0] == pixels[:, 0].min()]
        assert (top[:, 1].mean() < 160) == (sign * steering > 0)


def test_the_bar_is_as_high_as_the_probability():
    heights = []
    for probability in (0.1, 0.3, 0.6, 0.9):
        out = annotate(GREY, Shown(collision_probability=probability), 320)
        colour = ALARM_COLOUR if probability >= 0.5 else CLEAR_COLOUR
        heights.append(np.ptp(where(out, colour)[:, 0]))
    assert np.diff(heights) == pytest.approx(np.array([0.2, 0.3, 0.3]) * 240 * 0.84, abs=3)


def test_a_label_frames_the_bar_and_a_cut_frame_is_framed_itself():
    clear = annotate(GREY, Shown(collision_probability=0.2, collision=False), 320)
    labelled = annotate(GREY, Shown(collision_probability=0.2, collision=True), 320)
    assert len(where(clear, TRUTH_COLOUR)) == 0
    assert len(where(labelled, TRUTH_COLOUR)) > 100
    cut = annotate(GREY, Shown(settled=False), 320)
    assert tuple(cut[-1, 0]) == ALARM_COLOUR


def test_what_is_not_known_is_not_drawn():
    nan = float("nan")
    out = annotate(GREY, Shown(nan, nan, nan, None), 160)
    assert (out == 128).all()


def test_jpeg_keeps_the_colours_in_order():
    image = np.zeros((32, 32, 3), np.uint8)
    image[..., 0] = 200  # red
    back = cv2.imdecode(np.frombuffer(jpeg(image, 95), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert back[16, 16, 0] > 180
    assert back[16, 16, 2] < 20
