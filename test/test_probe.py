"""The probe: its loss, what it teaches, and that nothing of it stays."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from training_samples import bar_drive, random_network, small_config

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.data.dataset import Sequence
from crnn_snn_ros.data.scans import BEARINGS
from crnn_snn_ros.io.preprocess import InputContract
from crnn_snn_ros.training.checkpoint import Origin
from crnn_snn_ros.training.config import TrainConfig
from crnn_snn_ros.training.network import Crnn
from crnn_snn_ros.training.probe import Probe, nearness
from crnn_snn_ros.training.random_network import quantized
from crnn_snn_ros.training.ranks import ALONE
from crnn_snn_ros.training.streams import Streams
from crnn_snn_ros.training.train import train

ORIGIN = Origin(InputContract(24, 16, "rgb"), 20.0, {})
TRAINING = TrainConfig(
    float_epochs=4, qat_epochs=1, window=8, streams=4, scan_weight=5.0, device="cpu"
)


def scanned(frames: int = 60, seed: int = 0) -> Sequence:
    """A bar that is near, with nothing beside it."""
    drive = bar_drive(frames, seed)
    column = 12 - drive.steering_rad / (drive.steering_rad.max() / 12)
    bearing = np.clip(BEARINGS * (1 - column / 24), 0, BEARINGS - 1).astype(np.int64)
    ranges = np.full((frames, BEARINGS), 8.0, np.float32)
    ranges[np.arange(frames), bearing] = 0.5
    return dataclasses.replace(drive, ranges_m=ranges)


def trained(out: Path, drives: list[Sequence], **changes: float) -> Crnn:
    config = dataclasses.replace(TRAINING, **changes)
    return train(drives, [bar_drive(40, 9)], small_config(), config, ORIGIN, out,
                 lambda _: None).network  # fmt: skip


def test_the_loss_is_the_mean_over_what_was_measured():
    network = Crnn(small_config())
    probe = Probe(network, 2.0, ALONE, 0)
    torch.nn.init.zeros_(probe.readout.weight)
    torch.nn.init.zeros_(probe.readout.bias)
    seen = network(torch.zeros(1, 2, *network.input_shape)).activations
    ranges = torch.full((1, 2, BEARINGS), torch.nan)
    assert probe(seen, {}, ranges) is None
    ranges[0, 0, 3], ranges[0, 1, 5] = 0.0, 1.5
    loss = probe(seen, {}, ranges)
    assert loss is not None
    assert loss.item() == pytest.approx(2.0 * (1.0 + float(nearness(torch.tensor(1.5))) ** 2) / 2)
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in probe.parameters())


def test_scans_teach_the_eye_and_nothing_behind_it():
    torch.manual_seed(0)
    network = Crnn(small_config())
    probe = Probe(network, 1.0, ALONE, 0)
    network.train()
    learning = torch.optim.Adam([*network.parameters(), *probe.parameters()], 1e-2)
    drive = scanned(96)
    assert drive.ranges_m is not None
    pixels = torch.from_numpy(drive.frames).reshape(4, 24, *network.input_shape)
    ranges = torch.from_numpy(drive.ranges_m).reshape(4, 24, BEARINGS)
    losses = []
    for _ in range(40):
        loss = probe(network(pixels).activations, {}, ranges)
        assert loss is not None
        learning.zero_grad()
        loss.backward()
        learning.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    moved = {name.split(".")[1] for name, p in network.named_parameters() if p.grad is not None}
    assert moved == set(network.eye) - {"stem_pool", "pool"}


def test_counts_are_read_as_what_they_stand_for():
    network = quantized(random_network(small_config()))
    probe = Probe(network, 1.0, ALONE, 0)
    pixels = torch.from_numpy(scanned(8).frames)[None]
    counts, scales = network(pixels).activations, network.scales()
    stand_for = {name: value * scales[name] for name, value in counts.items() if name in scales}
    ranges = torch.full((1, 8, BEARINGS), 0.7)
    by_counts, by_values = probe(counts, scales, ranges), probe(stand_for, {}, ranges)
    assert by_counts is not None
    assert torch.equal(by_counts, by_values)


def test_scans_teach_the_quantized_phase_too(tmp_path):
    epochs = {"float_epochs": 0, "qat_epochs": 2}
    ours, theirs = (
        trained(tmp_path / str(weight), [scanned()], scan_weight=weight, **epochs).state_dict()
        for weight in (5.0, 0.0)
    )
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)


def test_nothing_of_a_probe_stays(tmp_path):
    with_probe = trained(tmp_path / "a", [scanned()])
    without = trained(tmp_path / "b", [scanned()], scan_weight=0.0)
    ours, theirs = with_probe.state_dict(), without.state_dict()
    assert ours.keys() == theirs.keys()
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)


def test_without_scans_it_changes_no_weight_of_the_network(tmp_path):
    with_probe = trained(tmp_path / "a", [bar_drive()], float_epochs=1)
    without = trained(tmp_path / "b", [bar_drive()], float_epochs=1, scan_weight=0.0)
    for ours, theirs in zip(
        with_probe.state_dict().values(), without.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_a_mirrored_piece_has_a_mirrored_scan():
    drive = scanned(64)
    assert drive.ranges_m is not None
    drive.ranges_m[:] = np.arange(BEARINGS)
    streams = Streams([drive], 8, 4, np.random.default_rng(0))
    seen: set[float] = set()
    for _ in range(2 * streams.steps):
        chunk = next(streams)
        known = chunk.collision.isfinite()
        assert torch.equal(known, chunk.ranges_m[..., 0].isfinite())
        seen |= set(chunk.ranges_m[..., 0][known].tolist())
    assert seen == {0.0, BEARINGS - 1.0}


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_is_a_number(weight):
    with pytest.raises(ConfigError, match="scan-weight"):
        TrainConfig(scan_weight=weight)
