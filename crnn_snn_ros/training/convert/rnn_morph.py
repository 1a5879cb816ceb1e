"""Pass 3, RNN-Morph: an IndRNN layer becomes RBIF neurons, recurrent connections carry spikes."""

from __future__ import annotations

from dataclasses import replace

from crnn_snn_ros.core.graph import Neurons
from crnn_snn_ros.training.convert.cnn_morph import morph_neurons
from crnn_snn_ros.training.convert.integerise import to_int32
from crnn_snn_ros.training.layers import NeuronLayer, Scales


def morph(name: str, layer: NeuronLayer, scales: Scales) -> Neurons:
    """RBIF neurons of a recurrent layer: ``u_int = round(u threshold)``.

    Raises:
        ConversionError: the layer does not fit its number formats.
    """
    recurrent = layer.integers(scales).recurrent
    assert recurrent is not None
    return replace(morph_neurons(name, layer, scales), recurrent=to_int32(name, recurrent))
