"""How good a network is on whole drives, with its memory carried through each of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from crnn_snn_ros.core.ways import WAYS, choose
from crnn_snn_ros.data.dataset import Sequence as Drive
from crnn_snn_ros.data.tables import whole
from crnn_snn_ros.evaluation.scores import Ranking
from crnn_snn_ros.training.loss import Loss
from crnn_snn_ros.training.network import HEADS, Network

EVALUATION_WINDOW = 64


class Figures(NamedTuple):
    """What a network is judged by; None where there is no label for it."""

    validation_loss: float  # NaN where there is no label at all
    steering_rmse_rad: float | None
    collision_auroc: float | None  # None too where all labels are of one class


@torch.no_grad()
def evaluate(network: Network, drives: Sequence[Drive]) -> Figures:
    """Judge a network; the loss is the mean over drives, the others over all frames."""
    network.eval()
    loss_of = Loss()
    losses, errors, logits, collisions = [], [], [], []
    for drive in drives:
        heads = predict(network, drive)
        steering = torch.from_numpy(np.array(drive.steering_rad))
        collision = torch.from_numpy(np.array(drive.collision))
        way_costs = torch.from_numpy(np.array(whole(drive.way_costs, len(drive), WAYS)))
        loss = loss_of(heads, steering, collision, way_costs)
        if loss is not None:
            losses.append(loss.item())
        errors.append((_angle(heads["steering"]) - steering)[steering.isfinite()].square())
        logits.append(heads["collision"][collision.isfinite()])
        collisions.append(collision[collision.isfinite()] > 0.5)
    squared = torch.cat(errors)
    return Figures(
        float(np.mean(losses)) if losses else math.nan,
        float(squared.mean().sqrt()) if len(squared) else None,
        _auroc(torch.cat(collisions), torch.cat(logits)),
    )


@torch.no_grad()
def predict(network: Network, drive: Drive) -> dict[str, Tensor]:
    """Heads over a whole drive, (T,) or (T, WAYS), on the CPU, in bounded memory."""
    device = next(network.parameters()).device
    carry: dict[str, Tensor] = {}
    parts: dict[str, list[Tensor]] = {name: [] for name in HEADS}
    for start in range(0, len(drive.frames), EVALUATION_WINDOW):
        frames = np.array(drive.frames[start : start + EVALUATION_WINDOW])
        output = network(torch.from_numpy(frames)[None].to(device), carry)
        carry = output.carry
        for name, values in output.heads.items():
            parts[name].append(values[0].cpu())
    return {name: torch.cat(values) for name, values in parts.items()}


def _angle(steering: Tensor) -> Tensor:
    """The angle (T,) of a head, or of the ways (T, WAYS) that it tells apart, rad."""
    if steering.ndim == 1:
        return steering
    return torch.tensor([choose(ways) for ways in steering.double().numpy()], dtype=torch.float32)


def _auroc(labels: Tensor, scores: Tensor) -> float | None:
    if not len(labels) or not scores.isfinite().all():
        return None
    ranking = Ranking(labels.numpy(), scores.double().numpy())
    return ranking.auroc(np.ones(len(labels)))
