"""The quantized network run once a frame: what the spiking network settles to, without spikes.

By the lemma in ``neuron`` a layer whose sources are silent has counted
``clip(floor((Q + r) / threshold), n_min, n_max)``, so whole counts may be computed where spikes
would only add up to them. Exact, and a yardstick: it does not spike, so only its name chooses it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from crnn_snn_ros.core.engines.base import Carry, FrameResult, TorchEngine, sum_pool
from crnn_snn_ros.core.graph import INPUT, Head, MaxPool, Neurons, SumPool
from crnn_snn_ros.core.neuron import settled_count


class CollapsedEngine(TorchEngine):
    """See the module. Of a frame it says: no activity, 0 settle steps, no trace, never cut.

    There are no time-steps, so ``num_steps`` leaves nothing out and a frame is settled if all
    before it were (another engine may have cut one); a trace is None, for no spike is fired.
    """

    name = "collapsed"
    spikes = False

    def step(
        self,
        frame: Tensor,
        carry: Carry,
        *,
        num_steps: int | None = None,
        trace: bool = False,  # noqa: ARG002
    ) -> tuple[FrameResult, Carry]:
        """See ``Engine.step``, and the class for what is different."""
        values = {INPUT: self._input(frame, carry)}
        self._limit(num_steps)
        heads, counts = {}, {}
        for node in self.graph.nodes:
            if isinstance(node, SumPool):
                values[node.name] = sum_pool(values[node.source], node.kernel)
            elif isinstance(node, Head):
                heads[node.name] = self._charge(node, values)
            else:
                values[node.name] = counts[node.name] = (
                    _largest(values[node.source], node)
                    if isinstance(node, MaxPool)
                    else self._count(node, values, carry)
                )
        settled = carry.exact.clone()
        steps = torch.zeros(len(settled), dtype=torch.int64, device=self.device)
        result = FrameResult(heads, counts, {}, steps, settled, None)
        return result, Carry({name: counts[name] for name in self._recurrent}, settled)

    def _count(self, node: Neurons, values: dict[str, Tensor], carry: Carry) -> Tensor:
        charge = self._charge(node, values)
        if node.recurrent is not None:
            charge = charge + self._recurrent[node.name] * carry.counts[node.name]
        count = settled_count(charge, self._params[node.name].threshold)
        return count.clamp(node.n_min, node.n_max)

    def _charge(self, node: Neurons | Head, values: dict[str, Tensor]) -> Tensor:
        charges = [charge(values[source]) for source, charge in self._charges[node.name]]
        return torch.stack(charges).sum(dim=0) + self._biases[node.name]


def _largest(counts: Tensor, node: MaxPool) -> Tensor:
    return functional.max_pool2d(counts, node.kernel, node.stride, node.padding)
