"""Pass 2, CNN-Morph: feed-forward layers become synapses and BIF neurons, weights one to one.

Convolution, dense and residual branches become synapses into the same membrane; ReLU with its fake
quantization becomes the neuron; average pooling a sum, max pooling a difference of tracers.
"""

from __future__ import annotations

from torch import Tensor

from crnn_snn_ros.core.graph import (
    Conv,
    Head,
    Identity,
    Linear,
    MaxPool,
    Neurons,
    Node,
    SumPool,
    Synapse,
)
from crnn_snn_ros.training.convert.integerise import check_threshold, to_int8, to_int32
from crnn_snn_ros.training.layers import (
    Branch,
    ConvBranch,
    HeadLayer,
    LinearBranch,
    MaxPoolLayer,
    NeuronLayer,
    Scales,
)
from crnn_snn_ros.training.network import Layer


def morph(name: str, layer: Layer, scales: Scales) -> Node:
    """Node of the integer graph for one layer without recurrence.

    Raises:
        ConversionError: the layer does not fit its number formats.
    """
    if isinstance(layer, NeuronLayer):
        return morph_neurons(name, layer, scales)
    if isinstance(layer, HeadLayer):
        integers = layer.integers(scales)
        synapse = Linear(layer.source, to_int8(name, integers.weight))
        bias = to_int32(name, integers.bias)
        return Head(name, (synapse,), bias, float(integers.scale), layer.kind)
    if isinstance(layer, MaxPoolLayer):
        return MaxPool(name, layer.source, layer.kernel, layer.stride, layer.padding)
    return SumPool(name, layer.source, layer.kernel)


def morph_neurons(name: str, layer: NeuronLayer, scales: Scales) -> Neurons:
    """BIF neurons of a layer, without its recurrent weights."""
    check_threshold(name, layer.threshold_limit(scales))
    integers = layer.integers(scales)
    pairs = zip(layer.typed_branches(), integers.weights, strict=True)
    return Neurons(
        name=name,
        synapses=tuple(_synapse(name, branch, weight) for branch, weight in pairs),
        bias=to_int32(name, integers.bias),
        threshold=to_int32(name, integers.threshold),
        n_min=layer.n_min,
        n_max=layer.n_max,
    )


def _synapse(name: str, branch: Branch, weight: Tensor) -> Synapse:
    if isinstance(branch, ConvBranch):
        return Conv(branch.source, to_int8(name, weight), branch.stride, branch.padding)
    if isinstance(branch, LinearBranch):
        return Linear(branch.source, to_int8(name, weight))
    return Identity(branch.source, to_int32(name, weight))
