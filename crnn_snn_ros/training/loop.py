"""One phase of training, step by step, with all that changes in it in one place.

chunk of every stream --network--> loss --gradients, summed over processes--> weights [--> average]

Truncated back-propagation through time over real sequences: the recurrent state crosses from window
to window (detached), as it will cross from frame to frame on the robot.
"""

from __future__ import annotations

import copy
import math
from typing import Any, Generic

import numpy as np
import torch
from torch import Tensor, nn

from crnn_snn_ros.training.config import TrainConfig
from crnn_snn_ros.training.log import Epoch
from crnn_snn_ros.training.loss import Loss
from crnn_snn_ros.training.network import AnyNetwork
from crnn_snn_ros.training.probe import Probe
from crnn_snn_ros.training.ranks import Ranks
from crnn_snn_ros.training.state import Tensors, moments, named, parts, restore_moments
from crnn_snn_ros.training.streams import Streams, kept

RECURRENT_LIMIT = 1.0  # of |u|: beyond it an IndRNN explodes in float
LARGEST_GRADIENT = 10.0  # norm: cuts what is out of the ordinary only
WARM_UP = 100  # steps in which the learning rate rises, or a twentieth of all, whichever is less
LAST_RATE = 1 / 50  # of the highest


class Loop(Generic[AnyNetwork]):
    """A phase under way.

    Args:
        network: To be trained, in place.
        streams: What it learns from.
        config: How.
        epochs: How long, at most.
        loss: What is made small.
        ranks: The processes that train together.

    Attributes:
        step: Steps done.
        judged: The network that is evaluated and kept: the average where there is one.
    """

    def __init__(
        self,
        network: AnyNetwork,
        streams: Streams,
        config: TrainConfig,
        epochs: int,
        loss: Loss,
        ranks: Ranks,
    ) -> None:
        rate = config.qat_learning_rate if network.quantized else config.learning_rate
        self._probe: Probe | None = None
        groups = parameter_groups(network, rate, config.weight_decay)
        if config.scan_weight and network.eye:
            self._probe = Probe(network, config.scan_weight, ranks, config.seed)
            # It begins anew, and so at the full rate, where the network only settles.
            groups += parameter_groups(self._probe, config.learning_rate, config.weight_decay)
        self._learning = nn.ModuleList([network, *([self._probe] if self._probe else [])])
        self._rates = [group["lr"] for group in groups]
        self._optimizer = torch.optim.AdamW(groups)
        self._network, self._streams, self._config = network, streams, config
        self._loss, self._ranks = loss, ranks
        self._device = next(network.parameters()).device
        self._carry: Tensors = {}  # recurrent activations, (streams, hidden)
        self._losses: list[float] = []  # of this epoch
        self._best: Tensors = {}
        self._best_worth, self._best_epoch = -math.inf, 0
        self.judged = copy.deepcopy(network) if config.ema else network
        self.step, self.epochs = 0, epochs

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self.step // self._streams.steps

    @property
    def at_end_of_epoch(self) -> bool:
        """Whether it is time to judge."""
        return self.step % self._streams.steps == 0

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or enough of them without a better one."""
        patience = self._config.patience
        tired = 0 < patience <= self.epoch - self._best_epoch
        return self.epoch >= self.epochs or (tired and self.at_end_of_epoch)

    @property
    def rate(self) -> float:
        """Learning rate of weights in this step: it rises, and falls as a cosine."""
        total = self.epochs * self._streams.steps
        return float(self._rates[0]) * rate_factor(self.step, total)

    def learn(self) -> None:
        """One step: a window of all streams."""
        self._network.train()
        chunk = next(self._streams)
        pixels, steering, collision, ranges, way_costs, fresh = (
            part.to(self._device) for part in chunk
        )
        amp = self._config.amp and not self._network.has_integers
        with torch.autocast(self._device.type, torch.bfloat16, enabled=amp):
            output = self._network(pixels, kept(self._carry, fresh))
        self._carry = {name: state.detach().float() for name, state in output.carry.items()}
        heads = {name: values.float() for name, values in output.heads.items()}
        loss = self._loss(heads, steering, collision, way_costs)
        if self._probe is not None:
            scales = self._network.scales() if self._network.quantized else {}
            beside = self._probe(output.activations, scales, ranges)
            loss = beside if loss is None else loss if beside is None else loss + beside
        if loss is not None:
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self._losses.append(self._exchange(loss.detach()))
            self._update()
        self.step += 1

    def close_epoch(self, epoch: Epoch) -> None:
        """Keep the network where it was never better, and forget the losses of the epoch."""
        worth = epoch.worth(self._config.metric)
        if worth > self._best_worth:
            self._best_worth, self._best_epoch = worth, epoch.number
            self._best = {name: value.clone() for name, value in self.judged.state_dict().items()}
        self._losses = []

    @property
    def train_loss(self) -> float | None:
        """Mean over the steps of this epoch."""
        return float(np.mean(self._losses)) if self._losses else None

    def result(self) -> AnyNetwork:
        """The best network."""
        self.judged.load_state_dict(self._best)
        return self.judged

    def save(self) -> tuple[Tensors, dict[str, Any]]:
        """All that changes: tensors, and JSON. Every process must ask."""
        tensors = named("network", self._network.state_dict()) | named("best", self._best)
        if self.judged is not self._network:
            tensors |= named("average", self.judged.state_dict())
        if self._probe is not None:
            tensors |= named("probe", self._probe.state_dict())
        tensors |= named("optimizer", moments(self._optimizer))
        for name, state in self._carry.items():
            whole = torch.zeros(self._streams.count, state.shape[1], device=self._device)
            whole[self._streams.seen.start : self._streams.seen.stop] = state
            tensors[f"carry.{name}"] = self._ranks.add_up(whole)
        facts = {
            "step": self.step, "losses": self._losses, "streams": self._streams.state(),
            "best": [self._best_worth if self._best else None, self._best_epoch],
        }  # fmt: skip
        return tensors, facts

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Go on from what ``save`` gave."""
        given = parts(tensors)
        self._network.load_state_dict(given["network"])
        if self.judged is not self._network:
            self.judged.load_state_dict(given["average"])
        if self._probe is not None:
            self._probe.load_state_dict(given["probe"])
        restore_moments(self._optimizer, given.get("optimizer", {}))
        seen = slice(self._streams.seen.start, self._streams.seen.stop)
        self._carry = {
            name: value[seen].to(self._device) for name, value in given.get("carry", {}).items()
        }
        self._best = given.get("best", {})
        worth, self._best_epoch = facts["best"]
        self._best_worth = -math.inf if worth is None else worth
        self.step, self._losses = facts["step"], facts["losses"]
        self._streams.restore(facts["streams"])

    def _exchange(self, loss: Tensor) -> float:
        """Sum gradients and loss over all processes; the whole loss."""
        gradients = [p.grad for p in self._learning.parameters() if p.grad is not None]
        if self._ranks.count > 1:
            flat = torch.cat([loss.reshape(1), *(gradient.flatten() for gradient in gradients)])
            self._ranks.add_up(flat)
            sizes = [1, *(gradient.numel() for gradient in gradients)]
            loss, *summed = torch.split(flat, sizes)
            for gradient, total in zip(gradients, summed, strict=True):
                gradient.copy_(total.reshape(gradient.shape))
        return loss.item()

    def _update(self) -> None:
        nn.utils.clip_grad_norm_(self._learning.parameters(), LARGEST_GRADIENT)
        factor = self.rate / self._rates[0]
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        self._optimizer.step()
        self._network.clip_recurrent(RECURRENT_LIMIT)
        if self.judged is not self._network:
            follow(self.judged, self._network, min(self._config.ema, self.step / (self.step + 10)))


def rate_factor(step: int, total: int) -> float:
    """Share of the highest learning rate in a step: a rise, then a cosine to ``LAST_RATE``.

    Example:
        >>> [round(rate_factor(step, 10000), 2) for step in (0, 50, 100, 5000, 10000)]
        [0.01, 0.5, 1.0, 0.51, 0.02]
    """
    rise = min(WARM_UP, total // 20)
    rising = min(1.0, (step + 1) / (rise + 1))
    cosine = (1.0 + math.cos(math.pi * step / total)) / 2.0
    return rising * (LAST_RATE + (1.0 - LAST_RATE) * cosine)


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move an average toward a network: its parameters, and the statistics of its batch norms."""
    for mean, value in zip(
        average.state_dict().values(), network.state_dict().values(), strict=True
    ):
        if mean.is_floating_point():
            mean.lerp_(value, 1.0 - decay)
        else:
            mean.copy_(value)


def parameter_groups(learning: nn.Module, rate: float, decay: float) -> list[dict[str, Any]]:
    """Weights decay; biases, scales and recurrent weights do not; scales learn slowly."""
    weights, plain, scales = [], [], []
    for name, parameter in learning.named_parameters():
        if name.endswith(".scale"):
            scales.append(parameter)
        elif parameter.ndim > 1:
            weights.append(parameter)
        else:
            plain.append(parameter)
    return [
        {"params": weights, "lr": rate, "weight_decay": decay},
        {"params": plain, "lr": rate, "weight_decay": 0.0},
        {"params": scales, "lr": rate / 5, "weight_decay": 0.0},
    ]
