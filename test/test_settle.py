"""Statistics of batch norms, where what was learned from was not what is seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_memory import flashing_drive, run
from torch import nn
from training_samples import bar_drive, random_network, small_config

from crnn_snn_ros.training.checkpoint import load
from crnn_snn_ros.training.memory import WHOLE, Tail
from crnn_snn_ros.training.seen import look_at
from crnn_snn_ros.training.settle import settle
from crnn_snn_ros.training.streams import Streams


def windows(drives, hidden: float = 0.0) -> Streams:
    return Streams(drives, 8, 2, np.random.default_rng(3), None, piece=WHOLE, hidden=hidden)


def norms_of(network: nn.Module) -> list[nn.BatchNorm1d]:
    return [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm1d)]


def test_statistics_are_those_of_all_windows_whatever_they_were_before(tmp_path) -> None:
    network = random_network(small_config())
    drives = look_at(network, [bar_drive(64, 1), bar_drive(64, 2)], tmp_path, mirror=False)
    tail = Tail(network)
    first = norms_of(tail)[0]
    inputs: list[torch.Tensor] = []
    hook = first.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    weights = {name: value.clone() for name, value in tail.named_parameters()}
    with torch.no_grad():
        first.running_mean.fill_(5.0)
        first.running_var.fill_(7.0)
    settle(tail, windows(drives))
    hook.remove()
    means = torch.stack([given.mean(0) for given in inputs])
    spreads = torch.stack([given.var(0) for given in inputs])
    torch.testing.assert_close(first.running_mean, means.mean(0))
    torch.testing.assert_close(first.running_var, spreads.mean(0))
    assert not tail.training
    assert first.momentum == pytest.approx(0.02)
    assert all(torch.equal(value, weights[name]) for name, value in tail.named_parameters())


def test_a_network_is_judged_and_kept_as_it_is_where_nothing_is_hidden(tmp_path) -> None:
    drives = [flashing_drive(200, seed) for seed in range(4)]
    told = {"float_epochs": 1, "memory_epochs": 2, "qat_epochs": 0, "qat_memory_epochs": 1}
    run(tmp_path, drives, **told, memory_dropout=0.5)
    network = load(tmp_path / "float.safetensors").network
    kept = [norm.running_var.clone() for norm in norms_of(Tail(network))]
    seen = look_at(network.eval(), drives, tmp_path / "seen", mirror=True)
    tail = Tail(network)
    settle(tail, windows(seen))
    now = norms_of(tail)
    for before, norm in zip(kept, now, strict=True):
        alive = norm.running_var > 1e-3
        ratio = (before[alive] / norm.running_var[alive]).median()
        assert 0.8 < float(ratio) < 1.25
    settle(tail, windows(seen, hidden=0.5))
    wide = (now[0].running_var / kept[0])[kept[0] > 1e-3].median()
    assert float(wide) > 1.5
