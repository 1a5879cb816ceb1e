"""A picture of what the network says of a picture, for people who watch."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.types import Prediction

CLEAR, DANGER, STEERING = (60, 200, 90), (230, 60, 40), (255, 220, 40)  # RGB
LEAST_HEIGHT = 240  # smaller pictures are enlarged, so that the text can be read


def overlay(image: NDArray[np.uint8], prediction: Prediction, text: str) -> NDArray[np.uint8]:
    """The image with a needle for the steering, a bar for the collision probability, and a line.

    The needle points up for straight ahead and leans by the steering angle, to the left where that
    is positive. What is not finite is not drawn.

    Args:
        image: uint8 (H, W, 3), RGB; not changed.
        prediction: of this image.
        text: the line below.

    Returns:
        uint8 (H', W', 3), RGB; larger by a whole factor where the image is small.
    """
    factor = max(1, math.ceil(LEAST_HEIGHT / image.shape[0]))
    shown = np.ascontiguousarray(image.repeat(factor, axis=0).repeat(factor, axis=1))
    height, width = shown.shape[:2]
    foot = (width // 2, height - 1)
    if math.isfinite(prediction.steering_rad):
        length = 0.5 * height
        lean = prediction.steering_rad
        head = (round(foot[0] - length * math.sin(lean)), round(foot[1] - length * math.cos(lean)))
        cv2.line(shown, foot, head, STEERING, max(2, height // 120), cv2.LINE_AA)
    share = prediction.collision_probability
    if 0.0 <= share <= 1.0:  # NaN is not
        colour = tuple(round(c + share * (d - c)) for c, d in zip(CLEAR, DANGER, strict=True))
        top = round((height - 1) * (1.0 - share))
        cv2.rectangle(shown, (0, top), (max(4, width // 40), height - 1), colour, cv2.FILLED)
    numbers = f"{prediction.steering_rad:+.2f} rad  p {share:.2f}  {text}"
    scale = height / 600
    for grey, thickness in ((0, 3), (255, 1)):
        place = (width // 20, round(0.06 * height))
        cv2.putText(shown, numbers, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (grey,) * 3, thickness)
    return shown
