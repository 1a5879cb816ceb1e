"""The report of a network that sees motion runs its frames again as they were."""

from __future__ import annotations

import numpy as np

from crnn_snn_ros.evaluation.replay_output import Seen
from crnn_snn_ros.io.preprocess import InputContract, see_all

IMAGES = [np.random.default_rng(n).integers(0, 256, (8, 12, 3), np.uint8) for n in range(6)]


def test_a_frame_is_seen_with_those_before_it():
    for motion in (0, 1, 3):
        contract = InputContract(6, 4, "rgb", motion=motion)
        wanted = list(see_all(IMAGES, contract))
        for row, image in enumerate(IMAGES):
            before = tuple(IMAGES[max(row - 3, 0) : row])  # as many as the model that needs most
            assert np.array_equal(Seen(image, before).input(contract), wanted[row])
