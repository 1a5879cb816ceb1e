"""The probe: its loss, what it teaches, and that nothing of it stays."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from training_samples import bar_drive, blinded, small_config

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.data.dataset import Sequence
from crnn_snn_ros.data.scans import BEARINGS
from crnn_snn_ros.io.preprocess import InputContract
from crnn_snn_ros.training.checkpoint import Origin
from crnn_snn_ros.training.config import TrainConfig
from crnn_snn_ros.training.network import Crnn
from crnn_snn_ros.training.probe import Probe, nearness
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
    probe = Probe(network, 2.0, ALONE)
    torch.nn.init.zeros_(probe.readout.weight)
    torch.nn.init.zeros_(probe.readout.bias)
    seen = network(torch.zeros(1, 2, *network.input_shape)).activations
    ranges = torch.full((1, 2, BEARINGS), torch.nan)
    assert probe(seen, ranges) is None
    ranges[0, 0, 3], ranges[0, 1, 5] = 0.0, 1.5
    loss = probe(seen, ranges)
    assert loss is not None
    assert loss.item() == pytest.approx(2.0 * (1.0 + float(nearness(torch.tensor(1.5))) ** 2) / 2)
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in probe.parameters())


def test_an_eye_learns_of_scans_alone(tmp_path):
    """The drives bear no other label but the scan (and one steering, or they were refused)."""
    drives = [blinded(scanned(120, seed), "collision") for seed in range(3)]
    for drive in drives:
        drive.steering_rad[1:] = np.nan
    before = trained(tmp_path / "a", drives, float_epochs=1, scan_weight=0.0)
    after = trained(tmp_path / "b", drives, float_epochs=30)
    errors = []
    for network in (before, after):
        seen = scanned(200, 7)
        assert seen.ranges_m is not None
        features = network(torch.from_numpy(seen.frames[None])).activations[network.eye[-1]]
        features = features[0].flatten(1).double().numpy()
        told = np.exp(-seen.ranges_m / 1.5)
        fit, _, _, _ = np.linalg.lstsq(features[::2], told[::2], rcond=None)
        errors.append(float(np.square(features[1::2] @ fit - told[1::2]).mean()))
    assert errors[1] < errors[0]


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
