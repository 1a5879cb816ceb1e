"""Short training on windows of drives, in float or on integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from crnn_snn_ros.data.dataset import Sequence as Drive
from crnn_snn_ros.training.loop import rate_factor
from crnn_snn_ros.training.loss import Loss
from crnn_snn_ros.training.network import Network


class Plan(NamedTuple):
    """How long, and from how much at a time."""

    steps: int
    rate: float
    streams: int = 8  # windows that a step learns from
    window: int = 8  # frames of each


def fit(
    net: Network, drives: Sequence[Drive], plan: Plan, random: np.random.Generator
) -> list[float]:
    """Train a network in place, as its mode is; it is in eval mode afterwards.

    Returns:
        The loss of every step.
    """
    optimizer = torch.optim.AdamW(net.parameters(), plan.rate, weight_decay=1e-3)
    loss_of, losses = Loss(), []
    net.train()
    for step in range(plan.steps):
        pixels, steering, collision = windows(drives, plan, random)
        loss = loss_of(net(pixels).heads, steering, collision)
        assert loss is not None
        optimizer.param_groups[0]["lr"] = plan.rate * rate_factor(step, plan.steps)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        net.clip_recurrent()
        losses.append(float(loss.detach()))
    net.eval()
    return losses


def windows(
    drives: Sequence[Drive], plan: Plan, random: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Frames, steering and collision of a window each of so many drives, drawn."""
    parts = []
    for index in random.choice(len(drives), plan.streams):
        drive = drives[index]
        start = int(random.integers(len(drive) - plan.window + 1))
        end = start + plan.window
        parts.append(
            (drive.frames[start:end], drive.steering_rad[start:end], drive.collision[start:end])
        )
    pixels, steering, collision = (np.stack(part) for part in zip(*parts, strict=True))
    return torch.from_numpy(pixels), torch.from_numpy(steering), torch.from_numpy(collision)
