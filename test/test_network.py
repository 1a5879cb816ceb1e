from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from training_samples import CONTRACT, quantized_network, random_network, small_config, video

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.training.checkpoint import Checkpoint, Origin
from crnn_snn_ros.training.config import NetworkConfig, TrainConfig
from crnn_snn_ros.training.convert.fold import fold_bn
from crnn_snn_ros.training.layers import NeuronLayer, SumPoolLayer
from crnn_snn_ros.training.network import Crnn
from crnn_snn_ros.training.seen import begin_with_eye


@pytest.mark.parametrize("shape", [(1, 8, 12), (3, 9, 13), (1, 64, 96), (3, 8, 8)])
@pytest.mark.parametrize("make", [random_network, quantized_network])
def test_shapes(make, shape):
    network = make(small_config(input_shape=shape, block_channels=(4, 6)[: 1 + (shape[1] > 8)]))
    out = network(video(shape, 3).repeat(2, 1, 1, 1, 1))
    assert {name: tuple(head.shape) for name, head in out.heads.items()} == {
        "steering": (2, 3),
        "collision": (2, 3),
    }
    assert {name: tuple(state.shape) for name, state in out.carry.items()} == {"rnn1": (2, 8)}
    assert all(tuple(values.shape[:2]) == (2, 3) for values in out.activations.values())
    torch.testing.assert_close(*out.heads["steering"])  # the same twice


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_carry_over_windows_is_one_long_sequence_to_the_bit(bits, signed):
    network = quantized_network(small_config(bits=bits, signed_hidden=signed, hidden=(8, 5)))
    pixels = video(network.config.input_shape, 24)
    whole = network(pixels)
    carry, heads = {}, []
    for piece in pixels.split([1, 10, 6, 7], dim=1):
        out = network(piece, carry)
        carry = out.carry
        heads.append(out.heads["steering"])
    assert torch.equal(torch.cat(heads, dim=1), whole.heads["steering"])
    assert all(torch.equal(carry[name], whole.carry[name]) for name in ("rnn1", "rnn2"))
    alone = network(pixels.transpose(0, 1)).activations["rnn2"]  # every frame a stream of its own
    assert not torch.equal(alone.transpose(0, 1), whole.activations["rnn2"])  # memory does matter


def test_float_carry_over_windows():
    network = random_network(small_config())
    pixels = video(network.config.input_shape, 20)
    first = network(pixels[:, :9])
    second = network(pixels[:, 9:], first.carry)
    joined = torch.cat([first.heads["collision"], second.heads["collision"]], dim=1)
    torch.testing.assert_close(joined, network(pixels).heads["collision"])


def test_all_activations_of_a_quantized_network_are_integers():
    network = quantized_network(small_config(bits=2, block_channels=(4, 6)), seed=5)
    for name, values in network(video(network.config.input_shape, 8)).activations.items():
        assert torch.equal(values, values.round()), name


def test_quantized_network_resembles_the_float_one():
    config = small_config(bits=8)
    wanted = random_network(config, seed=2)
    pixels = video(config.input_shape, 16, seed=2)
    for name, head in quantized_network(config, seed=2)(pixels).heads.items():
        error = (head - wanted(pixels).heads[name]).square().mean().sqrt()
        assert error < 0.2 * wanted(pixels).heads[name].std(), name


def test_pool_scale_is_an_average():
    network = random_network(small_config(input_shape=(1, 16, 24)))
    assert isinstance(network.nodes["pool"], SumPoolLayer)
    scales = network.scales()
    assert torch.equal(scales["pool"] * 4, scales["block1b"])
    assert torch.equal(scales["stem_pool"], scales["stem"])


def test_without_a_pool_all_places_are_handed_on():
    config = small_config(input_shape=(1, 16, 24))
    pooled, whole = (
        random_network(dataclasses.replace(config, pool=pool)) for pool in (True, False)
    )
    assert (pooled.eye[-1], whole.eye[-1]) == ("pool", "block1b")
    inputs = [n.nodes["rnn1"].branches[0].weight.shape[1] for n in (pooled, whole)]
    assert inputs == [8 * 2 * 3, 8 * 4 * 6]
    whole.take_eye(pooled)
    with pytest.raises(ConfigError, match="not a float network of this size"):
        whole.take_over(pooled)
    taught = Checkpoint(pooled, Origin(CONTRACT, 20.0, {}), (), {})
    with pytest.raises(ConfigError, match="--no-pool to both"):
        begin_with_eye(taught, whole.config, CONTRACT, seed=0)


def test_recurrent_weights_are_clipped():
    network = random_network(small_config(), gain=3.0)
    network.clip_recurrent(0.75)
    recurrent = network.nodes["rnn1"].recurrent
    assert recurrent.abs().max() == 0.75


def test_untrained_heads_say_nothing():
    out = Crnn(small_config()).eval()(video((1, 8, 12), 2))
    assert out.heads["steering"].tolist() == [[0.0, 0.0]]
    assert out.heads["collision"].tolist() == [[0.0, 0.0]]


def test_layers_on_integers_keep_their_scales_and_take_them_along():
    network = random_network(small_config())
    network.calibrate(video((1, 8, 12), 8))
    network.put_on_integers(["stem", "block1a"])
    assert network.on_integers == ("stem", "block1a")
    with torch.no_grad():
        network.nodes["stem"].scale.mul_(1.25)
    scale = network.nodes["stem"].scale.item()
    out = network(video((1, 8, 12), 4)).activations
    steps = out["stem"] / scale
    assert torch.allclose(steps, steps.round(), atol=1e-4)
    assert 0.0 < steps.max() <= 7.01
    before = network.nodes["block1b"].scale.item()
    network.calibrate(video((1, 8, 12), 8) // 3)
    assert network.nodes["stem"].scale.item() == scale
    assert network.nodes["block1b"].scale.item() != before

    other = Crnn(small_config())
    other.take_over(network)
    assert other.on_integers == network.on_integers
    assert other.nodes["stem"].scale.item() == scale
    assert other.nodes["block1b"].scale.item() != network.nodes["block1b"].scale.item()
    wider = Crnn(small_config(hidden=(5, 4)))
    wider.take_eye(network)
    assert wider.on_integers == network.on_integers
    with pytest.raises(ConfigError, match="--bits"):
        Crnn(small_config(bits=4)).take_eye(network)
    with pytest.raises(ConfigError, match="--bits"):
        Crnn(small_config(layer_bits=(("stem", 2),))).take_over(network)


def test_dense_layers_come_after_the_first_that_remembers():
    network = quantized_network(small_config(hidden=(9, 7), dense=(5, 6)), seed=1)
    assert list(network.nodes)[-6:] == [
        "rnn1", "dense1", "dense2", "rnn2", "steering", "collision"
    ]  # fmt: skip
    assert "dense1" not in network.eye
    remembered = network.eval()(video((1, 8, 12), 5)).carry
    assert {name: state.shape[1] for name, state in remembered.items()} == {"rnn1": 9, "rnn2": 7}
    counts = network(video((1, 8, 12), 5)).activations["dense1"]
    assert counts.min() >= 0  # a count, not a signed one
    assert counts.max() <= 7


@pytest.mark.parametrize(("few", "more"), [(4, 7), (7, 8)])
def test_channels_more_begin_with_weights_of_0(few, more):
    start = random_network(small_config(input_shape=(few, 8, 12)))
    told = Crnn(small_config(input_shape=(more, 8, 12)))
    told.take_eye(start)
    seen = video((more, 8, 12), 3)
    for name in start.eye:
        here, there = (
            network.eval()(frames).activations[name]
            for network, frames in ((told, seen), (start, seen[:, :, :few]))
        )
        assert torch.allclose(here, there, atol=1e-6)
    with pytest.raises(ConfigError):
        Crnn(small_config(input_shape=(3, 8, 12))).take_eye(start)
    with pytest.raises(ConfigError):
        Crnn(small_config(input_shape=(3, 8, 12))).take_eye(
            random_network(small_config(input_shape=(2, 8, 12)))
        )


def test_calibration_leaves_weights_alone():
    network = random_network(small_config())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.calibrate(video((1, 8, 12), 8))
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]) or name.endswith(".scale"), name
    assert not torch.equal(network.nodes["stem"].scale, before["nodes.stem.scale"])
    assert all(
        0 < layer.scale.detach() < 10
        for _, layer in network.layers()
        if isinstance(layer, NeuronLayer)
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"bits": 0},
        {"bits": 9},
        {"bits": 2.5},
        {"bits": "3"},
        {"stem_channels": 0},
        {"stem_channels": 10**9},
        {"stem_channels": 4.0},
        {"block_channels": ()},
        {"block_channels": (8, -1)},
        {"block_channels": (1,) * 33},
        {"hidden": ()},
        {"hidden": (0,)},
        {"hidden": (math.nan,)},
        {"dense": (0,)},
        {"dense": (1,) * 33},
        {"input_shape": (1, 8)},
        {"input_shape": (1, 3, 12)},
        {"input_shape": (1, 8, 12), "block_channels": (4, 4, 4)},
    ],
    ids=str,
)
def test_network_refusals(changes):
    with pytest.raises(ConfigError) as refusal:
        small_config(**changes)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"float_epochs": -1},
        {"qat_epochs": -1},
        {"window": 1},
        {"streams": 0},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"qat_learning_rate": math.inf},
        {"weight_decay": -1e-9},
        {"seed": -1},
    ],
    ids=str,
)
def test_training_refusals(changes):
    with pytest.raises(ConfigError):
        TrainConfig(**changes)


def test_default_configurations_are_valid_and_frozen():
    assert NetworkConfig().n_max("stem") == 7
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().seed = 1


@pytest.mark.parametrize("quantized", [False, True])
def test_a_frozen_network_says_the_same_and_heeds_its_weights_no_more(quantized):
    network = (quantized_network if quantized else random_network)(small_config(), seed=3)
    if not quantized:
        network = fold_bn(network)
        network.put_on_integers(["stem"])
    pixels = video(network.config.input_shape, 5)
    before = network(pixels).heads["steering"]
    network.freeze()
    assert torch.equal(network(pixels).heads["steering"], before)
    with torch.no_grad():
        network.nodes["stem"].branches[0].weight.neg_()
    assert torch.equal(network(pixels).heads["steering"], before)


def test_freezing_leaves_float_layers_as_they_are():
    network = random_network(small_config())
    network.freeze()
    pixels = video(network.config.input_shape, 5)
    before = network(pixels).heads["steering"]
    with torch.no_grad():
        network.nodes["stem"].branches[0].weight.neg_()
    assert not torch.equal(network(pixels).heads["steering"], before)
