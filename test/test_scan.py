from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crnn_snn_ros.training import scan as module
from crnn_snn_ros.training.scan import CLIP, RELU, Activation, frame_by_frame, memoryless, scan

SHAPES = ((2, 5, 6), (1, 1, 1), (3, 17, 40), (2, 8, 32), (1, 9, 33))  # against blocks of 8 and 32
KINDS = ("relu", "clip", "unsigned", "signed")
fused = pytest.mark.skipif(module._library() is None, reason="the library was not built")


def drawn(seed: int, shape: tuple[int, int, int], kind: str):
    """Charge, recurrent weights, what was before, f, and a gradient to hand back."""
    random = torch.Generator().manual_seed(seed)
    streams, _, channels = shape
    charge = torch.randn(shape, generator=random)
    recurrent = 1.5 * torch.rand(channels, generator=random) - 0.5
    before = torch.randn(streams, channels, generator=random)
    grad = torch.randn(shape, generator=random)
    if kind in ("relu", "clip"):
        return charge, recurrent, before, {"relu": RELU, "clip": CLIP}[kind], grad
    threshold = torch.randint(2, 2048, (channels,), generator=random).float()
    recurrent = torch.floor(recurrent * threshold + 0.5)
    low, high = (0, 7) if kind == "unsigned" else (-15, 15)
    before = torch.randint(low, high + 1, before.shape, generator=random).float()
    charge = torch.floor(8.0 * charge * threshold)
    return charge, recurrent, before, Activation(low, high, threshold), grad


def both(charge, recurrent, before, activation, grad):
    """States and gradients, of the specification and of what is chosen here."""
    results = []
    for function in (frame_by_frame, scan):
        leaves = [x.clone().requires_grad_() for x in (charge, recurrent, before)]
        states = function(*leaves, activation)
        states.backward(grad)
        results.append((states.detach(), *(x.grad for x in leaves)))
    return results


@fused
@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 20), st.integers(1, 70)),
    kind=st.sampled_from(KINDS),
)
def test_library_is_the_specification(seed: int, shape: tuple[int, int, int], kind: str):
    (want, *wanted), (states, *grads) = both(*drawn(seed, shape, kind))
    assert torch.equal(states, want)
    for got, expected in ((grads[0], wanted[0]), (grads[2], wanted[2])):
        assert torch.equal(got, expected)
    # Sums over streams and frames, in another order.
    torch.testing.assert_close(grads[1], wanted[1], rtol=1e-4, atol=1e-5)


def require_kernels_exact(device: str):
    """Triton's kernels against the specification, on whatever runs them."""
    for kind in KINDS:
        for seed, shape in enumerate(SHAPES):
            charge, recurrent, before, activation, grad = drawn(seed, shape, kind)
            if activation.threshold is not None:
                activation = activation._replace(threshold=activation.threshold.to(device))
            given = [x.to(device) for x in (charge, recurrent, before)]
            results = []
            for function in (frame_by_frame, module._CudaScan.apply):
                leaves = [x.clone().requires_grad_() for x in given]
                states = function(*leaves, activation)
                states.backward(grad.to(device))
                results.append((states.detach(), *(x.grad for x in leaves)))
            for number, (want, got) in enumerate(zip(*results, strict=True)):
                if number == 2:  # sums over streams and frames, in another order
                    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
                else:
                    assert torch.equal(got, want), (kind, shape, number)


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_kernels_are_the_specification_when_they_are_interpreted():
    result = subprocess.run(
        [sys.executable, "-c", "import test_scan; test_scan.require_kernels_exact('cpu')"],
        cwd=Path(__file__).parent,
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA here")
def test_kernels_are_the_specification_on_a_device():
    require_kernels_exact("cuda")


@fused
@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(*(st.integers(1, 4) for _ in range(2)), st.integers(1, 40),
                    *(st.integers(1, 6) for _ in range(2))),
    flat=st.booleans(),
    last=st.booleans(),
    kind=st.sampled_from(("unsigned", "signed")),
)  # fmt: skip
def test_counts_without_memory_are_those_of_torch(
    seed: int, shape: tuple[int, ...], flat: bool, last: bool, kind: str
):
    shape = shape[:3] if flat else shape
    random = torch.Generator().manual_seed(seed)
    threshold = torch.randint(2, 2048, (shape[2], *(1,) * (len(shape) - 3)), generator=random)
    low, high = (0, 7) if kind == "unsigned" else (-15, 15)
    activation = Activation(low, high, threshold.float())
    charge = torch.floor(8.0 * torch.randn(shape, generator=random) * threshold)
    if last and not flat:
        charge = charge.movedim(2, -1).contiguous().movedim(-1, 2)
    grad = torch.randn(shape, generator=random)
    want, want_grad = with_gradient(activation, charge, grad)
    counts, counts_grad = with_gradient(partial(memoryless, activation=activation), charge, grad)
    assert torch.equal(counts, want)
    assert torch.equal(counts_grad, want_grad)


def with_gradient(function, charge, grad):
    leaf = charge.clone().requires_grad_()
    found = function(leaf)
    found.backward(grad)
    return found.detach(), leaf.grad


@fused
@pytest.mark.parametrize("activation", [RELU, CLIP], ids=["relu", "clip"])
def test_gradient_at_the_ends_of_f(activation: Activation):
    charge = torch.tensor([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]).reshape(1, 1, -1)
    zeros = torch.zeros(7)
    want, got = both(charge, zeros, zeros[None], activation, torch.ones_like(charge))
    assert torch.equal(got[1], want[1])
    assert 0 < got[1].sum() < 7


@fused
def test_charge_that_is_not_contiguous():
    charge, recurrent, before, activation, _ = drawn(0, (2, 5, 6), "clip")
    turned = charge.transpose(0, 1).contiguous().transpose(0, 1)
    assert not turned.is_contiguous()
    got = scan(turned, recurrent, before, activation)
    assert torch.equal(got, frame_by_frame(charge, recurrent, before, activation))


def test_without_the_library(monkeypatch):
    monkeypatch.setattr(module, "_library", lambda: None)
    charge, recurrent, _, activation, _ = drawn(1, (2, 5, 6), "signed")
    want = frame_by_frame(charge, recurrent, torch.zeros(2, 6), activation)
    assert torch.equal(scan(charge, recurrent, None, activation), want)


def test_other_precisions_are_left_to_torch():
    charge, recurrent, before, activation, grad = drawn(2, (2, 5, 6), "clip")
    double = [x.double() for x in (charge, recurrent, before)]
    want, got = both(*double, activation, grad.double())
    assert got[0].dtype == torch.float64
    for one, other in zip(want, got, strict=True):
        assert torch.equal(one, other)
