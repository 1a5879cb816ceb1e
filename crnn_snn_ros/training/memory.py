"""The recurrent layers alone, over long windows: what to remember, and for how long.

drives --convolutions, once--> features --long windows--> recurrent layers and heads

Only the recurrent layers hand anything on from frame to frame, but back-propagation through time
costs the convolutions too, for every frame of its window; and in short windows, that begin without
a past, a network learns to remember little. Here the convolutions are run over all drives once
(``seen``), and stay as they are; the layers after them learn from whole drives, many times faster.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from crnn_snn_ros.training.config import TrainConfig
from crnn_snn_ros.training.network import Network, Output

WHOLE = 2**31  # windows of a drive after which its stream goes on to another


class Tail(Network):
    """The first recurrent layer of a network and all after it: the same layers, not copies.

    Args:
        network: Whose.

    Attributes:
        source: Name of the layer before them, whose activations are their frames.
        counts: Whether those are counts, as of an eye on integers, though all after it be float.
    """

    def __init__(self, network: Network) -> None:
        eye = network.eye
        rest = {name: layer for name, layer in network.nodes.items() if name not in eye}
        super().__init__(network.input_shape, rest)
        self.quantized = network.quantized
        self.source = eye[-1]
        self._source_scale = network.scales()[self.source].detach()
        seeing = (layer.on_integers for name, layer in network.neurons() if name in eye)
        self.counts = network.quantized or all(seeing)

    def scales(self) -> dict[str, Tensor]:
        """As of the whole network."""
        return super().scales() | {self.source: self._source_scale}

    def forward(self, pixels: Tensor, carry: dict[str, Tensor] | None = None) -> Output:
        """Run N streams over T frames of features, (N, T, C, H, W)."""
        seen = pixels.float()
        if self.counts and not self.quantized:
            seen = seen * self._source_scale
        return self.run({self.source: seen}, carry or {})


def long_windows(config: TrainConfig) -> TrainConfig:
    """How the tail of a network is trained, where ``config`` says how the whole of it is."""
    return replace(config, window=config.memory_window, streams=config.memory_streams, piece=WHOLE)
