"""What training makes small, over the labelled frames of all processes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from crnn_snn_ros.core.ways import SCALE
from crnn_snn_ros.data.dataset import Sequence as Drive
from crnn_snn_ros.training.ranks import ALONE, Ranks

STEERING_WEIGHT = 8.0  # per rad^2: errors of 0.2 rad weigh like the entropy of collision
WAYS_WEIGHT = 60.0  # of a mean squared error of aversions, 0 to 1
RAREST = 0.01  # a class that is rarer weighs as if it were not, or few frames would be everything


class Loss:
    """Weighted squared error of steering plus cross entropy of collision, over labelled frames.

    A network that says what every way to steer would cost is judged by that, else by its angle.

    Args:
        ranks: The processes over which it is a mean; this one returns its part of the sum.
        collisions: Share of collisions among the labels. Both classes then weigh alike, and the
            logit is moved by as much as its optimum would be: the chance of a collision stays what
            is learned, only mistakes cost otherwise. (A. Menon et al., "Long-tail learning via
            logit adjustment", ICLR 2021.) None: every frame weighs alike.
    """

    def __init__(self, ranks: Ranks = ALONE, collisions: float | None = None) -> None:
        self._ranks = ranks
        self._weights, self._move = (1.0, 1.0), 0.0  # of free, of collision
        if collisions is not None:
            share = min(max(collisions, RAREST), 1.0 - RAREST)
            self._weights = (0.5 / (1.0 - share), 0.5 / share)
            self._move = math.log((1.0 - share) / share)

    def __call__(
        self,
        heads: dict[str, Tensor],
        steering_rad: Tensor,
        collision: Tensor,
        way_costs: Tensor | None = None,
    ) -> Tensor | None:
        """Loss of heads, NaN labels left out; None where no process has a label.

        Args:
            heads: (N, T), or steering (N, T, WAYS).
            steering_rad: (N, T).
            collision: (N, T).
            way_costs: (N, T, WAYS); needed where the head says what they are like.
        """
        wanted, weight = steering_rad, STEERING_WEIGHT
        if heads["steering"].ndim > steering_rad.ndim:
            assert way_costs is not None
            wanted, weight = -torch.expm1(-way_costs / SCALE), WAYS_WEIGHT
        steered, judged = wanted.isfinite(), collision.isfinite()
        counts = self._ranks.add_up(torch.stack([steered.sum(), judged.sum()]).double())
        total: Tensor | None = None
        if counts[0] > 0:
            # Before the difference: a gradient through NaN is NaN, even where it weighs nothing.
            error = (heads["steering"] - torch.where(steered, wanted, 0.0)).square()
            total = weight * _mean(error, steered, counts[0])
        if counts[1] > 0:
            logits, truth = heads["collision"] + self._move, torch.where(judged, collision, 0.0)
            weights = self._weights[0] + (self._weights[1] - self._weights[0]) * truth
            entropy = functional.binary_cross_entropy_with_logits(
                logits, truth, weights, reduction="none"
            )
            part = _mean(entropy, judged, counts[1])
            total = part if total is None else total + part
        return total


def share_of_collisions(drives: Sequence[Drive]) -> float | None:
    """Share of collisions among the frames that have such a label; None where there is none."""
    known = [drive.collision[np.isfinite(drive.collision)] for drive in drives]
    count = sum(len(labels) for labels in known)
    return sum(float(labels.sum(dtype=np.float64)) for labels in known) / count if count else None


def _mean(values: Tensor, known: Tensor, count: Tensor) -> Tensor:
    return torch.where(known, values, 0.0).sum() / count.float()
