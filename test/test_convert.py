from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training_samples import checkpoint, quantized_network, random_network, small_config, video

import crnn_snn_ros.training.convert as convert_module
from crnn_snn_ros.core import qann
from crnn_snn_ros.core.engines import ENGINES, make_engine
from crnn_snn_ros.core.errors import ConversionError
from crnn_snn_ros.core.graph import Graph, Head, Neurons
from crnn_snn_ros.core.verify import random_video, verify
from crnn_snn_ros.core.ways import WAYS
from crnn_snn_ros.training.config import NetworkConfig
from crnn_snn_ros.training.convert import convert, to_graph
from crnn_snn_ros.training.convert.check import count_mismatches
from crnn_snn_ros.training.convert.fold import fold_bn
from crnn_snn_ros.training.layers import ConvBranch, NeuronLayer
from crnn_snn_ros.training.model_card import to_model
from crnn_snn_ros.training.network import Crnn


@st.composite
def configs(draw) -> NetworkConfig:
    blocks = draw(st.lists(st.integers(1, 7), min_size=1, max_size=2))
    smallest = 2 ** (len(blocks) + 1)
    sides = st.integers(smallest, smallest + 9)
    config = small_config(
        input_shape=(draw(st.sampled_from([1, 3])), draw(sides), draw(sides)),
        stem_channels=draw(st.integers(1, 7)),
        block_channels=tuple(blocks),
        hidden=tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=2))),
        dense=tuple(draw(st.lists(st.integers(1, 9), max_size=2))),
        bits=draw(st.sampled_from([1, 2, 3, 4, 8])),
        signed_hidden=draw(st.booleans()),
    )
    own = st.dictionaries(st.sampled_from(config.layers), st.integers(1, 8), max_size=3)
    return dataclasses.replace(config, layer_bits=tuple(draw(own).items()))


def test_folding_changes_nothing_but_rounding():
    for seed in range(5):
        network = random_network(small_config(block_channels=(5, 7), input_shape=(3, 16, 16)), seed)
        pixels = video((3, 16, 16), 8, seed)
        folded = fold_bn(network)
        want, got = network(pixels), folded(pixels)
        for name in want.activations:
            torch.testing.assert_close(got.activations[name], want.activations[name])
        for norm in (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d):
            assert not any(isinstance(m, norm) for m in folded.modules())
            assert any(isinstance(m, norm) for m in network.modules())  # untouched
        again = fold_bn(folded)
        assert torch.equal(again(pixels).heads["steering"], got.heads["steering"])


@settings(deadline=None, max_examples=20)
@given(configs(), st.integers(0, 2**16), st.sampled_from([0.0, 1.0, 3.0]))
def test_no_gap_between_training_and_the_spiking_network(config, seed, gain):
    network = quantized_network(config, seed, gain)
    graph = to_graph(network)
    assert graph.input_shape == config.input_shape
    frames = list(random_video(config.input_shape, 8, seed))
    assert count_mismatches(network, graph, frames) == {node.name: 0 for node in graph.nodes}
    engines = {name: make_engine(name, graph) for name in ENGINES}
    report = verify(graph, engines, frames)
    assert report.first_difference is None
    assert report.frames == 8


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
def test_convert_at_every_number_of_bits(bits, signed):
    network = quantized_network(small_config(bits=bits, signed_hidden=signed), seed=bits)
    conversion = convert(network)
    assert set(conversion.mismatches) == {node.name for node in conversion.graph.nodes}
    assert sum(conversion.mismatches.values()) == 0
    assert conversion.checked_frames >= 32
    hidden = next(node for node in conversion.graph.neurons() if node.recurrent is not None)
    assert (hidden.n_min, hidden.n_max) == ((1 - 2**bits) * signed, 2**bits - 1)


def test_layers_may_have_bits_of_their_own():
    own = (("stem", 5), ("block1b", 2), ("rnn1", 4))
    conversion = convert(quantized_network(small_config(bits=3, layer_bits=own)))
    levels = {node.name: (node.n_min, node.n_max) for node in conversion.graph.neurons()}
    expected = {"stem": (0, 31), "block1a": (0, 7), "block1b": (0, 3), "rnn1": (-15, 15)}
    assert levels == expected
    assert sum(conversion.mismatches.values()) == 0


def test_a_steering_head_of_all_ways_converts_like_any_other():
    network = quantized_network(small_config(ways=True), seed=2)
    conversion = convert(network)
    assert sum(conversion.mismatches.values()) == 0
    heads = {head.name: len(head.bias) for head in conversion.graph.heads()}
    assert heads == {"steering": WAYS, "collision": 1}
    engines = {name: make_engine(name, conversion.graph) for name in ENGINES}
    frames = list(random_video(conversion.graph.input_shape, 8))
    assert verify(conversion.graph, engines, frames).first_difference is None
    assert to_model(checkpoint(network), conversion).heads["steering"].unit == "aversion-2"


def test_outputs_are_the_training_outputs():
    """Number for number: what the head says in training is accumulator * scale."""
    network = quantized_network(small_config(), seed=3)
    graph = convert(network).graph
    pixels = list(random_video(graph.input_shape, 10, seed=9))
    with torch.no_grad():
        told = network(torch.from_numpy(np.stack(pixels)[None])).heads
    carry = qann.initial_carry(graph)
    for number, frame in enumerate(pixels):
        out, carry = qann.run_frame(graph, frame[None], carry)
        for head in graph.heads():
            want = float(out.heads[head.name][0, 0]) * head.scale
            assert float(told[head.name][0, number]) == pytest.approx(want, rel=1e-6)


def test_batch_norm_left_in_is_folded_first():
    network = random_network(small_config())
    network.calibrate(video((1, 8, 12), 8))
    network.quantized = True
    assert sum(convert(network).mismatches.values()) == 0


def test_refuses_a_network_that_is_not_quantized():
    with pytest.raises(ConversionError, match="not quantized"):
        convert(random_network(small_config()))


def test_refuses_a_threshold_that_would_be_below_two():
    network = quantized_network(small_config())
    with torch.no_grad():  # one huge weight, in channel 3, makes int8 too narrow for it
        network.nodes["rnn1"].branches[0].weight[3, 0] = 1e4
    message = r"layer 'rnn1', channel 3: .* threshold of 0, at least 2"
    with pytest.raises(ConversionError, match=message):
        convert(network)


@pytest.mark.parametrize("threshold", [1, 2])
def test_least_threshold_is_two(threshold):
    network = quantized_network(small_config())
    layer = network.nodes["rnn1"]
    source = network.scales()[layer.branches[0].source]
    with torch.no_grad():
        layer.branches[0].weight[0, 0] = 127 * layer.scale / source / (threshold + 0.5)
    if threshold == 2:
        assert sum(convert(network).mismatches.values()) == 0
    else:
        with pytest.raises(ConversionError, match="threshold of 1, at least 2"):
            convert(network)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_refuses_weights_that_are_no_numbers(value):
    for place in ("weight", "bias", "recurrent"):
        network = quantized_network(small_config())
        layer = network.nodes["rnn1"]
        with torch.no_grad():
            (layer.branches[0].weight if place == "weight" else getattr(layer, place)).fill_(value)
        with pytest.raises(ConversionError, match="rnn1"):
            convert(network)


def bump(graph: Graph, name: str, **change: int) -> Graph:
    """The integers of one field of one node, plus or minus something."""
    nodes = []
    for node in graph.nodes:
        if node.name == name:
            for field, by in change.items():
                if field == "weight":
                    weight = node.synapses[0].weight.astype(int) + by
                    weight = np.clip(weight, -127, 127).astype(np.int8)
                    first = dataclasses.replace(node.synapses[0], weight=weight)
                    node = dataclasses.replace(node, synapses=(first, *node.synapses[1:]))
                else:
                    node = dataclasses.replace(node, **{field: getattr(node, field) + by})
        nodes.append(node)
    return dataclasses.replace(graph, nodes=tuple(nodes))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("stem", {"weight": 1}),
        ("stem", {"bias": 9}),
        ("block1a", {"threshold": 5}),
        ("block1b", {"weight": 1}),
        ("rnn1", {"bias": -9}),
        ("rnn1", {"recurrent": 9}),
        ("rnn1", {"n_min": -1}),
        ("steering", {"bias": 1}),
        ("collision", {"weight": -1}),
    ],
    ids=str,
)
def test_refuses_a_gap_and_names_the_layer(monkeypatch, name, change):
    network = quantized_network(small_config(bits=3), seed=1)

    def tampered(folded: Crnn) -> Graph:
        return bump(to_graph(folded), name, **change)

    monkeypatch.setattr(convert_module, "to_graph", tampered)
    with pytest.raises(ConversionError, match=rf"layer '{name}': [1-9]\d* integers differ"):
        convert(network)


def test_a_gap_is_counted_in_integers():
    network = quantized_network(small_config())
    frames = list(random_video(network.config.input_shape, 7))
    graph = bump(to_graph(network), "steering", bias=1)
    mismatches = count_mismatches(network, graph, frames)
    assert mismatches.pop("steering") == 7
    assert set(mismatches.values()) == {0}


@pytest.mark.parametrize("bias", [1e3, -1e6, 3e7])
def test_head_with_a_huge_bias(bias):
    """Its scale grows, so that the accumulator stays exact: coarse, never wrong."""
    network = quantized_network(small_config())
    with torch.no_grad():
        network.nodes["steering"].bias.fill_(bias)
    conversion = convert(network)
    assert sum(conversion.mismatches.values()) == 0
    head = next(head for head in conversion.graph.heads() if head.name == "steering")
    assert head.bias[0] * head.scale == pytest.approx(bias, rel=1e-5)
    assert conversion.bounds.accumulator < 2**24


def test_refuses_a_bias_beyond_the_accumulator():
    network = quantized_network(small_config())
    with torch.no_grad():
        network.nodes["rnn1"].bias[2] = 1e5
    with pytest.raises(ConversionError, match=r"rnn1.*2\^24"):
        convert(network)
    with torch.no_grad():
        network.nodes["rnn1"].bias[2] = 1e12
    with pytest.raises(ConversionError, match=r"rnn1.*int32"):
        convert(network)


@torch.no_grad()
def test_dead_channels_and_layers():
    network = quantized_network(small_config(), seed=2)
    for name, layer in network.layers():
        if isinstance(layer, NeuronLayer):
            for branch in layer.branches:
                if hasattr(branch, "weight"):
                    branch.weight[0] = 0.0
        if name == "block1a":
            layer.branches[0].weight.zero_()
    network.nodes["collision"].weight.zero_()
    conversion = convert(network)
    assert sum(conversion.mismatches.values()) == 0
    dead = next(node for node in conversion.graph.neurons() if node.name == "block1a")
    assert set(dead.threshold.tolist()) == {2047}


@torch.no_grad()
def test_a_network_of_nothing_but_zeros():
    network = fold_bn(Crnn(small_config()).eval())
    for parameter in network.parameters():
        parameter.zero_()
    network.quantized = True
    assert sum(convert(network).mismatches.values()) == 0


def test_weights_are_mapped_one_to_one():
    network = quantized_network(small_config(input_shape=(3, 16, 24), block_channels=(5, 7)))
    graph = convert(network).graph
    layers = dict(network.layers())
    assert [node.name for node in graph.nodes] == list(layers)
    for node in graph.nodes:
        if not isinstance(node, Neurons | Head):
            continue
        if isinstance(node, Head):
            pairs = [(node.synapses[0], layers[node.name].weight)]
        else:
            branches = layers[node.name].typed_branches()
            pairs = [
                (synapse, branch.weight)
                for synapse, branch in zip(node.synapses, branches, strict=True)
                if hasattr(branch, "weight")
            ]
        for synapse, weight in pairs:
            assert synapse.weight.shape == tuple(weight.shape)
            # rounding keeps the sign of whatever does not round to zero
            signs = np.sign(synapse.weight) * np.sign(weight.detach().numpy())
            assert signs.min() >= 0


def test_messages_are_one_line():
    network = quantized_network(small_config())
    with torch.no_grad():
        network.nodes["stem"].branches[0].weight[0, 0, 0, 0] = 1e9
    with pytest.raises(ConversionError) as refusal:
        convert(network)
    assert re.fullmatch(r"[^\n]+", str(refusal.value))
    assert isinstance(network.nodes["stem"].branches[0], ConvBranch)
