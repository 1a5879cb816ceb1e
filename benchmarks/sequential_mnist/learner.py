"""One step of learning after another: cross entropy after the last pixel, by AdamW."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.sequential_mnist.data import frames
from benchmarks.sequential_mnist.forms import paces
from benchmarks.sequential_mnist.model import HEAD
from crnn_snn_ros.training.loop import LARGEST_GRADIENT
from crnn_snn_ros.training.network import Network


class Learner:
    """A network that learns, in float or on the grids of its conversion.

    Args:
        network: Changed in place.
        rate: Of learning, at its highest.
        decay: Of weights, not of what belongs to a channel.
        longest_growth: Of a recurrent layer's state over a whole sequence, in float.
    """

    def __init__(self, network: Network, rate: float, decay: float, longest_growth: float) -> None:
        self.network = network
        self._rate, self._longest_growth, self._paces = rate, longest_growth, paces(network)
        learned = [p for p in network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in learned if p.ndim > 1], "weight_decay": decay},
                {"params": [p for p in learned if p.ndim == 1], "weight_decay": 0.0},
            ],
            rate,
        )

    def learn(self, pixels: Tensor, digits: Tensor, window: int, factor: float) -> float:
        """Learn from some pictures.

        Args:
            pixels: int8 (N, T), on the network's device, and so are
            digits: int64 (N,).
            window: Pixels that a step sees.
            factor: Of the rate.

        Returns:
            Their loss.
        """
        self.network.train()
        out = self.network(frames(pixels, window)).heads[HEAD][:, -1]
        loss = functional.cross_entropy(out, digits)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate * factor
        before = [parameter.detach().clone() for parameter, _ in self._paces]
        self.optimizer.step()
        with torch.no_grad():
            for (parameter, pace), old in zip(self._paces, before, strict=True):
                parameter.copy_(old + pace * (parameter - old))
        self.network.clip_recurrent(self._longest_growth ** (1.0 / pixels.shape[1]))
        return float(loss.item())
