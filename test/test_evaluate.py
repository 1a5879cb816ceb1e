from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from training_samples import bar_drive, blinded, quantized_network, random_network, small_config

from crnn_snn_ros.training.evaluate import evaluate, predict


def test_prediction_over_long_drives_carries_state():
    network = quantized_network(small_config())
    drive = bar_drive(150)  # longer than a window of evaluation
    whole = network(torch.from_numpy(drive.frames)[None]).heads
    for name, head in predict(network, drive).items():
        assert torch.equal(head, whole[name][0])


def test_what_has_no_label_is_not_judged():
    network, drive = random_network(small_config()), bar_drive(40)
    for label, missing in (("steering_rad", 1), ("collision", 2)):
        figures = evaluate(network, [blinded(drive, label)])
        assert [value is None for value in figures] == [number == missing for number in range(3)]
    assert math.isnan(evaluate(network, [blinded(drive, "steering_rad", "collision")])[0])
    one_class = dataclasses.replace(drive, collision=np.zeros(40, np.float32))
    assert evaluate(network, [one_class]).collision_auroc is None


def test_auroc_is_over_the_frames_of_all_drives():
    network = random_network(small_config())
    drives = [bar_drive(30, seed=seed) for seed in (1, 2)]
    logits = np.concatenate([predict(network, drive)["collision"].numpy() for drive in drives])
    labels = np.concatenate([drive.collision for drive in drives]) > 0.5
    wins = np.mean(logits[labels][:, None] > logits[~labels][None])
    ties = np.mean(logits[labels][:, None] == logits[~labels][None])
    assert evaluate(network, drives).collision_auroc == pytest.approx(wins + ties / 2)
