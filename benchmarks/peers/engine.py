"""One of our networks with another project's neurons: what their user would run, and no slower.

Synapses are torch operations on whole spike trains, folded into the batch, as in our own engine
``folded``; every frame takes the same number of time-steps, as they know no quiescence.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.peers.neurons import Peer
from crnn_snn_ros.core.engines.base import Carry, FrameResult, Memory, make_charge
from crnn_snn_ros.core.engines.folded import FoldedEngine
from crnn_snn_ros.core.graph import INPUT, Graph, Neurons, Synapse
from crnn_snn_ros.core.neuron import BifState, canonical_spike


class PeerEngine(FoldedEngine):
    """See the module.

    Args:
        graph: The integer network.
        peer: Its neurons.
        steps: Time-steps of every frame.
        device: Where it runs.
    """

    name = "peer"

    def __init__(
        self, graph: Graph, peer: Peer, steps: int, device: str | torch.device = "cpu"
    ) -> None:
        super().__init__(graph, device)
        self._peer, self._steps = peer, steps
        for node in graph.neurons():
            threshold = self._params[node.name].threshold
            start = 0.0 if peer.half else 0.5
            self._biases[node.name] = self._biases[node.name] / threshold + start
            self._charges[node.name] = [
                (synapse.source, make_charge(_scaled(synapse, node), self.device))
                for synapse in node.synapses
            ]
            if node.recurrent is not None:
                self._recurrent[node.name] = self._recurrent[node.name] / threshold

    def step(
        self,
        frame: Tensor,
        carry: Carry,
        *,
        num_steps: int | None = None,  # noqa: ARG002
        trace: bool = False,
    ) -> tuple[FrameResult, Carry]:
        """As ``Engine.step``, for the number of time-steps that was chosen."""
        return super().step(frame, carry, num_steps=self._steps, trace=trace)

    def _limit(self, num_steps: int | None) -> int:
        return num_steps or self._steps

    def _charge_train(self, node: Neurons, trains: dict[str, Tensor]) -> Tensor:
        """Of all time-steps; the input is a train of one."""
        if self._peer.folded:
            found = super()._charge_train(node, trains)
        else:
            found = self._step_by_step(node, trains)
        missing = self._steps - len(found)
        return torch.cat([found, found.new_zeros(missing, *found.shape[1:])]) if missing else found

    def _step_by_step(self, node: Neurons, trains: dict[str, Tensor]) -> Tensor:
        length = max(len(trains[source]) for source, _ in self._charges[node.name])
        batch = trains[INPUT].shape[1]
        total = torch.zeros(length, batch, *self.shapes[node.name], device=self.device)
        for source, charge in self._charges[node.name]:
            for t, spikes in enumerate(trains[source]):
                total[t] += charge(spikes)
        return total

    def _scan(
        self,
        node: Neurons,
        trains: dict[str, Tensor],
        before: Tensor | None,
        limit: int,
        memory: Memory | None,  # noqa: ARG002
    ) -> tuple[Tensor, BifState]:
        charges = self._charge_train(node, trains)
        charges[0] += self._biases[node.name]
        for t in range(limit if before is not None and before.any() else 0):
            charges[t] += self._recurrent[node.name] * canonical_spike(before, t + 1)  # type: ignore[arg-type]
        train = self._peer.fire(charges, node.n_min, node.n_max)
        return train, BifState(torch.zeros_like(train[0]), train.sum(dim=0))


def _scaled(synapse: Synapse, node: Neurons) -> Synapse:
    """With the threshold folded into the weights."""
    weight: Any = synapse.weight / node.threshold.reshape((-1,) + (1,) * (synapse.weight.ndim - 1))
    return replace(synapse, weight=weight.astype(np.float32))
