from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from training_samples import bar_drive, blinded

from crnn_snn_ros.core.ways import WAYS
from crnn_snn_ros.training.loss import STEERING_WEIGHT, WAYS_WEIGHT, Loss, share_of_collisions

NAN = math.nan


def heads(steering: list[float], collision: list[float]) -> dict[str, torch.Tensor]:
    values = {"steering": steering, "collision": collision}
    return {name: torch.tensor([value], requires_grad=True) for name, value in values.items()}


def test_it_is_the_mean_over_what_is_labelled_and_has_no_gradient_elsewhere():
    out = heads([0.1, 0.5, -0.2], [1.0, -2.0, 3.0])
    loss = Loss()(out, torch.tensor([[0.2, NAN, 0.1]]), torch.tensor([[NAN, 0.0, 1.0]]))
    steering = STEERING_WEIGHT * (0.1**2 + 0.3**2) / 2
    collision = (math.log(1 + math.exp(-2.0)) + math.log(1 + math.exp(-3.0))) / 2
    assert loss.item() == pytest.approx(steering + collision, rel=1e-6)
    loss.backward()
    assert out["steering"].grad[0, 1] == 0.0
    assert out["collision"].grad[0, 0] == 0.0
    assert all(head.grad.isfinite().all() for head in out.values())


def test_a_head_without_a_label_is_left_alone():
    out = heads([0.1], [1.0])
    none = torch.tensor([[NAN]])
    assert Loss()(out, none, none) is None
    Loss()(out, torch.tensor([[0.0]]), none).backward()
    assert out["collision"].grad is None


def test_a_head_of_all_ways_is_judged_by_what_they_would_cost():
    said = torch.full((1, 2, WAYS), 0.5, requires_grad=True)
    wanted = torch.full((1, 2, WAYS), -2.0 * math.log(0.75))  # an aversion of 0.25
    wanted[0, 1] = NAN
    none = torch.full((1, 2), NAN)
    out = {"steering": said, "collision": torch.zeros(1, 2)}
    loss = Loss()(out, torch.zeros(1, 2), none, wanted)
    assert loss.item() == pytest.approx(WAYS_WEIGHT * 0.0625)
    loss.backward()
    assert (said.grad[0, 0] > 0.0).all()
    assert (said.grad[0, 1] == 0.0).all()


def learned(loss: Loss, truth: torch.Tensor) -> float:
    """Probability that one logit for all frames ends with."""
    logit = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([logit], 6.0)
    unknown = torch.full_like(truth, NAN)
    for _ in range(60):
        optimizer.zero_grad()
        loss({"steering": truth, "collision": logit.expand(truth.shape)}, unknown, truth).backward()
        optimizer.step()
    return logit.sigmoid().item()


def test_balance_weighs_both_classes_alike_and_learns_the_same_chance():
    truth = torch.zeros(1, 100)
    truth[0, :10] = 1.0
    balanced = Loss(collisions=0.1)
    for loss in (Loss(), balanced):
        assert learned(loss, truth) == pytest.approx(0.1, abs=1e-3)
    # At the optimum of one logit for all, the pulls of both classes are equal in any case. What
    # balance changes is how much one frame of the rare class counts for: here nine times.
    pulls = []
    for label in (0.0, 1.0):
        logit = torch.full((1, 1), math.log(0.1 / 0.9), requires_grad=True)
        one = torch.tensor([[label]])
        balanced({"steering": one, "collision": logit}, torch.full((1, 1), NAN), one).backward()
        pulls.append(abs(float(logit.grad)))
    assert pulls[1] == pytest.approx(9.0 * pulls[0], rel=1e-4)


def test_balance_of_a_class_that_is_hardly_there_stays_finite():
    for share in (0.0, 1.0, 1e-9):
        out = heads([0.0], [0.5])
        loss = Loss(collisions=share)(out, torch.tensor([[NAN]]), torch.tensor([[1.0]]))
        loss.backward()
        assert 0.0 < loss.item() < 100.0


def test_the_share_of_collisions_is_over_labelled_frames():
    drive = bar_drive(40)
    some = np.where(np.arange(40) % 2 == 0, drive.collision, np.float32(NAN)).astype(np.float32)
    drives = [dataclasses.replace(drive, collision=some), blinded(drive, "collision")]
    assert share_of_collisions(drives) == pytest.approx(float(np.nanmean(some)))
    assert share_of_collisions(drives[1:]) is None
