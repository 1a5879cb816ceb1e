"""The convolutional recurrent network (CRNN): residual blocks as in DroNet, IndRNNs, two heads.

pixels - conv - max-pool - residual block x n [- average pool] - IndRNN [- dense x k] [- IndRNN x m]
       -+- steering (rad)
        +- collision (logit)

Dense layers work out what follows from what the first IndRNN layer remembers. Steering is an angle,
or what every way to steer would cost: see ``core.ways``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.graph import INPUT
from crnn_snn_ros.core.ways import WAYS
from crnn_snn_ros.training.config import NetworkConfig
from crnn_snn_ros.training.layers import (
    Branch,
    ConvBranch,
    HeadLayer,
    IdentityBranch,
    LinearBranch,
    MaxPoolLayer,
    NeuronLayer,
    SumPoolLayer,
    each_frame,
    to_counts,
)
from crnn_snn_ros.training.quantize import best_scale

INPUT_SCALE = 1.0 / 128.0  # real value of one count of the input: pixels in [-1, 1)
STEM = "nodes.stem.branches.0.weight"
# Channels before and after, the same first.
ADDED = {(1, 2), (3, 4), (3, 6), (3, 7), (4, 7), (3, 8), (4, 8), (7, 8)}
MOST_MEMORY = 0.97  # recurrent weight to begin with, at most: a past of 30 frames
HEADS = {"steering": "regression", "collision": "logit"}

Layer = NeuronLayer | MaxPoolLayer | SumPoolLayer | HeadLayer


class Output(NamedTuple):
    """What the network says of a batch of sequences."""

    heads: dict[str, Tensor]  # real values, (N, T), or (N, T, outputs) where there are several
    carry: dict[str, Tensor]  # recurrent activations of the last frame, (N, hidden)
    activations: dict[str, Tensor]  # every node, (N, T, ...); head accumulators where quantized


class Network(nn.Module):
    """A network in training. ``quantized`` chooses between float and integer arithmetic.

    Args:
        input_shape: (channels, height, width).
        nodes: Layers by name, in topological order.
    """

    def __init__(self, input_shape: tuple[int, int, int], nodes: dict[str, nn.Module]) -> None:
        super().__init__()
        self.input_shape = input_shape
        self.quantized = False
        self.nodes = nn.ModuleDict(nodes)

    def layers(self) -> Iterator[tuple[str, Layer]]:
        """All nodes in topological order."""
        for name, layer in self.nodes.items():
            assert isinstance(layer, NeuronLayer | MaxPoolLayer | SumPoolLayer | HeadLayer)
            yield name, layer

    @property
    def eye(self) -> tuple[str, ...]:
        """The layers before the first recurrent one: what they give depends on one frame only."""
        names = list(self.nodes)
        recurrent = (name for name, layer in self.neurons() if layer.recurrent is not None)
        return tuple(names[: names.index(next(recurrent))])

    @property
    def on_integers(self) -> tuple[str, ...]:
        """The layers of a float network that compute with integers already."""
        return tuple(name for name, layer in self.neurons() if layer.on_integers)

    @property
    def has_integers(self) -> bool:
        """Whether something of it must be computed exactly, and so never in bfloat16 or TF32."""
        return self.quantized or bool(self.on_integers)

    def put_on_integers(self, names: Iterable[str]) -> None:
        """Let some layers of a float network compute as they will once all is quantized.

        Their batch norms go; who has not folded them before loses what they did.
        """
        neurons = dict(self.neurons())
        for name in names:
            neurons[name].on_integers = True
            neurons[name].drop_norms()

    def scales(self) -> dict[str, Tensor]:
        """Real value of one count of every node that is not a head."""
        scales = {INPUT: torch.tensor(INPUT_SCALE, device=next(self.parameters()).device)}
        for name, layer in self.layers():
            if isinstance(layer, NeuronLayer):
                scales[name] = layer.output_scale()
            elif isinstance(layer, MaxPoolLayer):
                scales[name] = scales[layer.source]
            elif isinstance(layer, SumPoolLayer):
                scales[name] = scales[layer.source] / layer.area
        return scales

    def forward(self, pixels: Tensor, carry: dict[str, Tensor] | None = None) -> Output:
        """Run N streams over T frames.

        Args:
            pixels: Network inputs (pixel - 128), any dtype, (N, T, C, H, W).
            carry: Of the frames before, from the same mode; None at the start of a stream.
        """
        counts = _channels_last(pixels.float())
        values = counts if self.quantized else counts * INPUT_SCALE
        return self.run({INPUT: values}, carry or {}, {INPUT: counts})

    def run(
        self,
        values: dict[str, Tensor],
        carry: dict[str, Tensor],
        known: Mapping[str, Tensor] | None = None,
    ) -> Output:
        """Run all layers over what is there already.

        Args:
            values: By node, (N, T, C, H, W).
            carry: As of ``forward``.
            known: What of it is known as counts, too, as layers on integers need it.
        """
        scales = self.scales()
        heads, after = {}, {}
        counts = dict(known or {})  # of a float network, where a layer on integers needs them
        for name, layer in self.layers():
            if isinstance(layer, HeadLayer):
                values[name], out = self._head(layer, values, scales)
                heads[name] = out.squeeze(-1)
            elif isinstance(layer, NeuronLayer):
                before = carry.get(name)
                if self.quantized:
                    values[name], last = layer.forward_counts(values, scales, before)
                elif layer.on_integers:
                    for source in layer.sources.difference(counts):
                        counts[source] = to_counts(values[source], scales[source])
                    counts[name], last = layer.forward_on_integers(counts, scales, before)
                    values[name] = counts[name] * scales[name]
                else:
                    values[name], last = layer.forward_float(values, before)
                if layer.recurrent is not None:
                    after[name] = last
            elif layer.source in counts:
                counts[name] = each_frame(partial(layer, counts=True), counts[layer.source])
                values[name] = counts[name] * scales[name]
            else:
                pool = partial(layer, counts=self.quantized)
                values[name] = each_frame(pool, values[layer.source])
        return Output(heads, after, values)

    def _head(
        self, layer: HeadLayer, values: dict[str, Tensor], scales: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        if self.quantized:
            return layer.forward_counts(values, scales)
        out = layer.forward_float(values)
        return out, out

    @torch.no_grad()
    def calibrate(self, pixels: Tensor) -> None:
        """Choose scales from data, weights untouched (float mode, (N, T, C, H, W)).

        A layer that is on integers already keeps the one by which it has learned.
        """
        assert not self.quantized
        activations = self.forward(pixels).activations
        for name, layer in self.neurons():
            if not layer.on_integers:
                layer.scale.fill_(best_scale(activations[name], layer.n_max))

    @torch.no_grad()
    def freeze(self) -> None:
        """Put weights on integers once and for all, not in every frame: it has done learning."""
        scales = self.scales()
        for _, layer in self.neurons():
            if self.quantized or layer.on_integers:
                layer.freeze(scales)

    @torch.no_grad()
    def clip_recurrent(self, largest: float = 1.0) -> None:
        """Keep |u| where an IndRNN neither explodes nor needs it larger."""
        for _, layer in self.neurons():
            if layer.recurrent is not None:
                layer.recurrent.clamp_(-largest, largest)

    def neurons(self) -> Iterator[tuple[str, NeuronLayer]]:
        """Those of the nodes that are neurons."""
        return ((name, layer) for name, layer in self.layers() if isinstance(layer, NeuronLayer))


AnyNetwork = TypeVar("AnyNetwork", bound=Network)


class Crnn(Network):
    """The network of a configuration, as at the top of this module."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config.input_shape, _build(config))
        self.config = config

    def take_over(self, start: Crnn) -> None:
        """Go on from what another one learned.

        A channel of the input that the other one had not (of motion, of the mount) begins
        with weights of 0. Scales of activations belong to the number of bits: those of layers on
        integers come with them, the others are chosen anew. A steering head begins anew where the
        other one answers in another form (``ways``, ``ways_scale``).

        Raises:
            ConfigError: it is no float network of this size, or has integers of other bits.
        """
        anew = () if self.answers_as(start) else ("steering",)
        self._take(
            start, {*self.nodes, *start.nodes}.difference(anew),
            "the checkpoint to go on from is not a float network of this size; give "
            "float.safetensors of a run with the same input and layers",
        )  # fmt: skip

    def answers_as(self, other: Crnn) -> bool:
        """Whether the steering heads of both say the same, in the same form."""
        mine, its = self.config, other.config
        alike = mine.ways_scale == its.ways_scale or not mine.ways
        return mine.ways == its.ways and alike

    def take_eye(self, start: Crnn) -> None:
        """Go on from what another one's eye learned, as ``take_over``; what is after it stays.

        Raises:
            ConfigError: it is no float network with the same eye, or has integers of other bits.
        """
        self._take(
            start, {*self.eye, *start.eye},
            "the eye to begin with is not of this input and these convolutions; give the same "
            "--motion, --stem-channels and --block-channels that it was taught with",
        )  # fmt: skip

    def _take(self, start: Crnn, names: Set[str], refusal: str) -> None:
        on_integers = [name for name in start.on_integers if name in names & set(self.nodes)]
        learned = _learned(start, names, on_integers)
        if (start.input_shape[0], self.input_shape[0]) in ADDED and STEM in learned:
            more = torch.zeros_like(self.state_dict()[STEM][:, start.input_shape[0] :])
            learned[STEM] = torch.cat([learned[STEM], more], dim=1)
        new = copy.deepcopy(self)
        new.put_on_integers(on_integers)
        if start.quantized or _shapes(learned) != _shapes(_learned(new, names, on_integers)):
            raise ConfigError(refusal)
        ours, theirs = dict(self.neurons()), dict(start.neurons())
        if any(ours[name].n_max != theirs[name].n_max for name in on_integers):
            raise ConfigError(
                "the network to go on from computes with integers of other bits already; give the "
                "same --bits and --layer-bits"
            )
        self.put_on_integers(on_integers)
        self.load_state_dict(learned, strict=False)


def _learned(network: Crnn, names: Set[str], on_integers: Sequence[str]) -> dict[str, Tensor]:
    """What some nodes have learned; of the scales those of layers on integers."""
    return {
        name: value
        for name, value in network.state_dict().items()
        if (node := name.split(".")[1]) in names
        and (node in on_integers or not name.endswith(".scale"))
    }


def _shapes(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _channels_last(pixels: Tensor) -> Tensor:
    """The same frames (N, T, C, H, W) in the layout in which convolutions and pools are fast."""
    frames = pixels.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    return frames.reshape(pixels.shape)


def _build(config: NetworkConfig) -> dict[str, nn.Module]:
    n_max = config.n_max
    channels, height, width = config.input_shape
    stem = config.stem_channels
    nodes: dict[str, nn.Module] = {
        "stem": NeuronLayer([_conv(INPUT, channels, stem, 5, 2)], stem, n_max("stem")),
        "stem_pool": MaxPoolLayer("stem", 3, 2, 1),
    }
    height, width = ((size + 1) // 2 for size in (height, width))
    height, width = ((size + 1) // 2 for size in (height, width))
    source, inputs = "stem_pool", stem
    for number, outputs in enumerate(config.block_channels, start=1):
        stride = 1 if number == 1 else 2
        height, width = ((size + stride - 1) // stride for size in (height, width))
        first, second = f"block{number}a", f"block{number}b"
        conv = _conv(source, inputs, outputs, 3, stride)
        nodes[first] = NeuronLayer([conv], outputs, n_max(first))
        shortcut: Branch = IdentityBranch(source)
        if stride != 1 or inputs != outputs:
            shortcut = _conv(source, inputs, outputs, 1, stride)
        branches: list[Branch] = [_conv(first, outputs, outputs, 3, 1), shortcut]
        nodes[second] = NeuronLayer(branches, outputs, n_max(second))
        source, inputs = second, outputs
    if config.pool and height % 2 == 0 and width % 2 == 0:
        nodes["pool"] = SumPoolLayer(source, (2, 2))
        source, height, width = "pool", height // 2, width // 2
    size = inputs * height * width
    for name, neurons, recurrent in config.after_the_eye:
        if recurrent:
            layer = _recurrent(source, size, neurons, n_max(name), config.signed_hidden)
        else:
            layer = _dense(source, size, neurons, n_max(name))
        nodes[name], source, size = layer, name, neurons
    for name, kind in HEADS.items():
        outputs = WAYS if config.ways and name == "steering" else 1
        nodes[name] = HeadLayer(source, size, kind, outputs)
    return nodes


def _recurrent(source: str, inputs: int, outputs: int, n_max: int, signed: bool) -> NeuronLayer:
    recurrent = MOST_MEMORY * torch.rand(outputs)
    weight = nn.init.xavier_uniform_(torch.empty(outputs, inputs))
    # What is added up over many frames comes in small, or it begins clipped and learns slowly.
    branch = LinearBranch(source, weight, 0.5 * (1.0 - recurrent))
    return NeuronLayer([branch], outputs, n_max, signed=signed, recurrent=recurrent)


def _dense(source: str, inputs: int, outputs: int, n_max: int) -> NeuronLayer:
    weight = nn.init.kaiming_normal_(torch.empty(outputs, inputs))
    return NeuronLayer([LinearBranch(source, weight)], outputs, n_max)


def _conv(source: str, inputs: int, outputs: int, kernel: int, stride: int) -> ConvBranch:
    weight = nn.init.kaiming_normal_(torch.empty(outputs, inputs, kernel, kernel))
    return ConvBranch(source, weight, stride, kernel // 2)
