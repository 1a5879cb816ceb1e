"""Frames with what was predicted drawn upon them, for reports and videos."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

SNN_COLOUR: Colour = (46, 134, 255)
RIVAL_COLOUR: Colour = (230, 159, 0)
TRUTH_COLOUR: Colour = (255, 255, 255)
ALARM_COLOUR: Colour = (255, 90, 60)
CLEAR_COLOUR: Colour = (70, 190, 110)
_SHADE = 70  # of what lies behind text and bars
_ARC_STEPS = 24
_FULL_LOCK_RAD = 0.6  # steering at which the arc leaves the picture


class Shown(NamedTuple):
    """What is drawn upon a frame."""

    steering_rad: float | None = None  # predicted
    true_steering_rad: float | None = None
    collision_probability: float | None = None
    collision: bool | None = None  # label
    settled: bool = True
    text: str = ""
    rival_steering_rad: float | None = None  # predicted by another model


def annotate(image: Picture, shown: Shown, width: int = 320) -> Picture:
    """A copy of a frame with steering arcs, collision bar, label and flag.

    Args:
        image: uint8 (H, W, 3), RGB.
        shown: What to draw; what is None or NaN is left out.
        width: Of the copy, pixels; the shape is kept.

    Returns:
        uint8 (height, width, 3), RGB; both even, as videos want it.
    """
    height = max(2, round(image.shape[0] * width / image.shape[1] / 2) * 2)
    larger = width > image.shape[1]
    way = cv2.INTER_NEAREST if larger and image.shape[1] < width / 2 else cv2.INTER_AREA
    resized = cv2.resize(image, (width, height), interpolation=way)
    canvas = np.ascontiguousarray(resized, np.uint8)
    for steering, colour in (
        (shown.true_steering_rad, TRUTH_COLOUR),
        (shown.rival_steering_rad, RIVAL_COLOUR),
        (shown.steering_rad, SNN_COLOUR),
    ):
        if steering is not None and math.isfinite(steering):
            _arc(canvas, steering, colour)
    probability = shown.collision_probability
    if probability is not None and math.isfinite(probability):
        _bar(canvas, probability, shown.collision)
    if not shown.settled:
        cv2.rectangle(canvas, (0, 0), (width - 1, height - 1), ALARM_COLOUR, 3)
    text = " ".join(filter(None, (shown.text, "" if shown.settled else "NOT SETTLED")))
    if text:
        _write(canvas, text)
    return canvas


def jpeg(image: Picture, quality: int = 80) -> bytes:
    """An RGB picture as the bytes of a JPEG file."""
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    assert done  # of memory to memory
    return data.tobytes()


def _arc(canvas: Picture, steering_rad: float, colour: Colour) -> None:
    """From the middle of the lower edge, bent to the side that is steered to."""
    height, width = canvas.shape[:2]
    ahead = np.linspace(0.0, 1.0, _ARC_STEPS)
    side = -np.sign(steering_rad) * min(abs(steering_rad) / _FULL_LOCK_RAD, 1.5)
    across = width * (0.5 + 0.5 * side * ahead**2)
    down = height * (0.98 - 0.45 * ahead)
    points = [np.stack([across, down], axis=1).round().astype(np.int32)]
    thick = max(2, width // 110)
    cv2.polylines(canvas, points, False, (0, 0, 0), thick + 2, cv2.LINE_AA)
    cv2.polylines(canvas, points, False, colour, thick, cv2.LINE_AA)


def _bar(canvas: Picture, probability: float, label: bool | None) -> None:
    """Probability as a column at the right edge; a frame around it where the label is set."""
    height, width = canvas.shape[:2]
    thick = max(6, width // 32)
    left, right = width - thick - 4, width - 4
    top, bottom = round(height * 0.12), round(height * 0.96)
    _shade(canvas, left, top, right, bottom)
    level = bottom - round((bottom - top) * min(max(probability, 0.0), 1.0))
    colour = ALARM_COLOUR if probability >= 0.5 else CLEAR_COLOUR
    cv2.rectangle(canvas, (left, level), (right, bottom), colour, cv2.FILLED)
    if label:
        cv2.rectangle(canvas, (left - 2, top - 2), (right + 2, bottom + 2), TRUTH_COLOUR, 2)


def _write(canvas: Picture, text: str) -> None:
    scale = canvas.shape[1] / 760
    (_, tall), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    _shade(canvas, 0, 0, canvas.shape[1], tall + base + 5)
    at = (4, tall + 3)
    cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, TRUTH_COLOUR, 1, cv2.LINE_AA)


def _shade(canvas: Picture, left: int, top: int, right: int, bottom: int) -> None:
    part = canvas[top:bottom, left:right]
    part[:] = (part.astype(np.uint16) * _SHADE // 255).astype(np.uint8)
