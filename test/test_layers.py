from __future__ import annotations

import pytest
import torch
from training_samples import random_network, small_config

from crnn_snn_ros.training.layers import (
    ConvBranch,
    HeadLayer,
    IdentityBranch,
    LinearBranch,
    NeuronLayer,
    SumPoolLayer,
    each_frame,
)

SCALES = {"x": torch.tensor(0.125), "y": torch.tensor(0.5)}


def dense(weight: list[list[float]], n_max: int = 3, **options) -> NeuronLayer:
    """A layer as after folding: without batch norm."""
    branch = LinearBranch("x", torch.tensor(weight))
    branch.norm = None
    return NeuronLayer([branch], len(weight), n_max, **options)


def counts(*rows: list[float]) -> dict[str, torch.Tensor]:
    """One stream, a frame a row."""
    return {"x": torch.tensor([rows])}


def test_float_forward_of_an_indrnn_by_hand():
    layer = dense([[1.0, -2.0]], recurrent=torch.full((1,), 0.5))
    with torch.no_grad():
        layer.bias.fill_(0.25)
    out, last = layer.forward_float(counts([1.0, 0.0], [0.0, 1.0], [1.0, 0.0]), None)
    assert out.tolist() == [[[1.25], [0.0], [1.25]]]  # ReLU of 1.25, -1.125, 1.25
    assert last.tolist() == [[1.25]]
    out, _ = layer.forward_float(counts([0.0, 0.0]), torch.tensor([[2.0]]))
    assert out.tolist() == [[[1.25]]]


@torch.no_grad()
def test_no_charge_drives_a_layer_in_training_into_its_limits():
    random = torch.Generator().manual_seed(0)
    weight = 50.0 * torch.randn(16, 8, generator=random)  # as if a few bad steps had been made
    branch = LinearBranch("x", weight, spread=torch.full((16,), 0.3))
    layer = NeuronLayer([branch], 16, 3, signed=True, recurrent=torch.full((16,), 0.2))
    out, _ = layer.forward_float({"x": torch.randn(32, 8, 8, generator=random) + 5.0}, None)
    assert (out.abs() > 0.99).float().mean() < 0.05
    assert 0.2 < out.std() < 0.4


def test_signed_float_layer_clips():
    layer = dense([[3.0]], signed=True)
    out, _ = layer.forward_float({"x": torch.tensor([[[-1.0], [0.25], [1.0]]])}, None)
    assert out.tolist() == [[[-1.0], [0.75], [1.0]]]


def test_rounded_float_layer_by_hand():
    layer = dense([[1.0]], n_max=2, signed=True, recurrent=torch.full((1,), 0.5))
    layer.rounds = True  # to multiples of a half: 0.6, then 0.1 + 0.25, then 2 and -2
    out, last = layer.forward_float(counts([0.6], [0.1], [2.0], [-2.0]), None)
    assert out.tolist() == [[[0.5], [0.5], [1.0], [-1.0]]]
    assert last.tolist() == [[-1.0]]
    out, _ = layer.forward_float(counts([0.1]), torch.tensor([[0.5]]))
    assert out.tolist() == [[[0.5]]]


def test_quantized_forward_by_hand():
    layer = dense([[1.0, -0.5]], n_max=3, recurrent=torch.full((1,), 0.5))
    with torch.no_grad():
        layer.scale.fill_(0.25)
        layer.bias.fill_(0.1)
    integers = layer.integers(SCALES)
    # threshold = floor(127 * .25 / (.125 * 1)) = 254; one unit of charge is .25 / 254
    assert integers.threshold.tolist() == [254.0]
    assert integers.weights[0].tolist() == [[127.0, -63.0]]  # -63.5 rounds up
    assert integers.bias.tolist() == [102.0]  # 101.6
    assert integers.recurrent.tolist() == [127.0]
    out, last = layer.forward_counts(counts([2.0, 1.0], [5.0, 0.0], [-4.0, 2.0]), SCALES, None)
    # Q = 254 - 63 + 102 = 293, then 635 + 102 + 127 = 864, then -508 - 126 + 102 + 381 = -151
    assert out.tolist() == [[[1.0], [3.0], [0.0]]]
    assert last.tolist() == [[0.0]]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_counts_are_integers_in_range_and_reach_both_ends(bits, signed):
    n_max = 2**bits - 1
    torch.manual_seed(bits)
    layer = NeuronLayer([LinearBranch("x", torch.randn(6, 5))], 6, n_max, signed=signed)
    x = {"x": torch.randint(-128, 128, (2, 30, 5)).float()}
    out, _ = layer.forward_counts(x, {"x": torch.tensor(1 / 128)}, None)
    assert torch.equal(out, out.round())
    assert (out.min(), out.max()) == (-n_max if signed else 0, n_max)


@pytest.mark.parametrize("signed", [False, True])
def test_windows_with_carry_are_one_long_sequence(signed):
    torch.manual_seed(1)
    branch = LinearBranch("x", torch.randn(6, 5))
    layer = NeuronLayer([branch], 6, 7, signed=signed, recurrent=torch.rand(6))
    x = torch.randint(-7, 8, (3, 20, 5)).float()
    whole, end = layer.forward_counts({"x": x}, SCALES, None)
    parts, state = [], None
    for piece in x.split([1, 7, 4, 8], dim=1):
        out, state = layer.forward_counts({"x": piece}, SCALES, state)
        parts.append(out)
    assert torch.equal(torch.cat(parts, dim=1), whole)
    assert torch.equal(state, end)


def test_branches_add_up_in_both_modes():
    torch.manual_seed(2)
    conv = ConvBranch("x", torch.randn(3, 3, 3, 3), stride=1, padding=1)
    layer = NeuronLayer([conv, IdentityBranch("y")], 3, 7).eval()
    x, y = torch.rand(1, 2, 3, 4, 4), torch.rand(1, 2, 3, 4, 4)
    alone = NeuronLayer([conv], 3, 7).eval()
    charge = each_frame(conv.float_charge, x)
    out, _ = layer.forward_float({"x": x, "y": y}, None)
    assert torch.allclose(out, (charge + y).relu())
    assert not torch.allclose(out, alone.forward_float({"x": x}, None)[0])
    conv.norm = None
    integers = layer.integers(SCALES)
    # one count of y is worth y's scale: threshold * .5 / s_out units of charge
    want = integers.threshold * 0.5 / layer.scale
    torch.testing.assert_close(integers.weights[1], want, atol=0.51, rtol=0)
    assert torch.equal(integers.weights[1], integers.weights[1].round())


@pytest.mark.parametrize(("scale", "sign"), [(0.5, 1.0), (0.005, -1.0)])
def test_learned_step_gradient_has_the_sign_of_finite_differences(scale, sign):
    """Too coarse a grid: the loss falls with a smaller scale. Too fine: all saturate, it rises."""
    torch.manual_seed(4)
    weight = torch.rand(8, 1) * 0.2
    layer = NeuronLayer([LinearBranch("x", weight)], 8, 7)
    x = torch.randint(0, 128, (1, 200, 1)).float()
    target = x @ weight.T * SCALES["x"]

    def loss() -> torch.Tensor:
        out, _ = layer.forward_counts({"x": x}, SCALES, None)
        return (out * layer.output_scale() - target).square().mean()

    def at(value: float) -> float:
        with torch.no_grad():
            layer.scale.fill_(value)
            return float(loss())

    slope = (at(scale * 1.5) - at(scale / 1.5)) / (scale * 1.5 - scale / 1.5)
    at(scale)
    loss().backward()
    assert slope * sign > 0
    assert float(layer.scale.grad) * sign > 0


def test_gradient_reaches_every_parameter_of_a_quantized_network():
    network = random_network(small_config())
    for _, layer in network.layers():
        if isinstance(layer, NeuronLayer):
            for branch in layer.branches:
                branch.norm = None
    network.calibrate(torch.randint(-128, 128, (1, 8, 1, 8, 12)).float())
    network.quantized = True
    out = network(torch.randint(-128, 128, (2, 8, 1, 8, 12)).float())
    torch.stack(list(out.heads.values())).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_head_fills_int8_and_gives_its_bias():
    head = HeadLayer("x", 3, "regression")
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[0.5, -1.0, 0.25]]))
        head.bias.fill_(0.3)
    integers = head.integers(SCALES)
    assert integers.weight.tolist() == [[64.0, -127.0, 32.0]]  # 63.5 and 31.75
    charge, value = head.forward_counts(counts([1.0, 0.0, -2.0]), SCALES)
    assert charge.item() == 64 - 64 + integers.bias.item()
    assert value.item() == pytest.approx(0.125 * (0.5 - 0.5) + 0.3, abs=0.01)
    untrained = HeadLayer("x", 3, "logit")
    charge, value = untrained.forward_counts(counts([1.0, 5.0, -2.0]), SCALES)
    assert (charge.item(), value.item()) == (0.0, 0.0)


def test_sum_pool_is_an_average_in_float():
    pool = SumPoolLayer("x", (2, 2))
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert pool(x, counts=True).tolist() == [[[[10.0, 18.0], [42.0, 50.0]]]]
    assert torch.equal(pool(x, counts=False) * 4, pool(x, counts=True))
