"""A probe: what a laser scanner would say, read linearly out of what the eye hands to the memory.

eye --features--+--> recurrent layers --> steering, collision
                +--> probe --> nearness at some bearings, against the scan recorded with the frame

Steering and collision are two numbers a frame, from which an eye learns slowly where things are; a
scan says it of every bearing. The probe is thrown away when its phase of training ends, and the
next phase begins with another: nothing of it is in a network, and a robot needs no scanner.
(Auxiliary tasks in this place: P. Mirowski et al., "Learning to Navigate in Complex Environments",
ICLR 2017.)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from crnn_snn_ros.data.scans import BEARINGS
from crnn_snn_ros.training.network import Network
from crnn_snn_ros.training.ranks import Ranks

FAINT = 0.0013  # nearness at 10 m
NEAR_M = 1.5  # nearness falls by e over this distance: what is far off matters less


class Probe(nn.Module):
    """A linear readout of one layer, and its loss.

    Args:
        network: Whose last layer before its memory is read.
        weight: Of a squared error of nearness beside the losses of the heads.
        ranks: The processes over which the loss is a mean.
        seed: Of what it begins with.
    """

    def __init__(self, network: Network, weight: float, ranks: Ranks, seed: int) -> None:
        super().__init__()
        self._source = network.eye[-1]
        self._weight, self._ranks = weight, ranks
        with torch.no_grad():
            frame = torch.zeros(
                1, 1, *network.input_shape, device=next(network.parameters()).device
            )
            features = network.eval()(frame).activations[self._source]
        # Torch's own generator stays as it is: a run that goes on in a later phase has no probe of
        # the one before.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.readout = nn.Linear(features.numel(), BEARINGS).to(features.device)

    def forward(
        self, activations: dict[str, Tensor], scales: dict[str, Tensor], ranges_m: Tensor
    ) -> Tensor | None:
        """The loss by ranges (N, T, BEARINGS), NaN ones left out.

        Args:
            activations: by node, (N, T, ...): real numbers, or counts.
            scales: by node, real value of one count; 1 where they are real numbers.
            ranges_m: what was measured.

        Returns:
            This process' part of it; None where no process has a range.
        """
        features = activations[self._source].flatten(2).float() * scales.get(self._source, 1.0)
        told = self.readout(features)
        known = ranges_m.isfinite()
        count = self._ranks.add_up(known.sum().double().reshape(1))
        if count[0] == 0:
            return None
        error = (told - torch.where(known, nearness(ranges_m), 0.0)).square()
        return self._weight * torch.where(known, error, 0.0).sum() / count[0].float()


def nearness(ranges_m: Tensor) -> Tensor:
    """How near something is: 1 in contact, 0 infinitely far.

    Example:
        >>> [round(value, 2) for value in nearness(torch.tensor([0.0, 1.5, 8.0])).tolist()]
        [1.0, 0.37, 0.0]
    """
    return torch.exp(-ranges_m / NEAR_M)


def distance(near: Tensor) -> Tensor:
    """The range, m, of a nearness; what is hardly near is said to be at 10 m."""
    return -NEAR_M * torch.log(near.clamp(FAINT, 1.0))
