"""The recurrent layers in training alone: they learn what short windows hide."""

from __future__ import annotations

import csv
import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from training_samples import CONTRACT, RATE_HZ, bar_drive, random_network, small_config

from crnn_snn_ros.data.dataset import Sequence
from crnn_snn_ros.training import checkpoint
from crnn_snn_ros.training.checkpoint import Checkpoint, Origin
from crnn_snn_ros.training.config import AugmentConfig, TrainConfig
from crnn_snn_ros.training.convert import convert
from crnn_snn_ros.training.evaluate import evaluate, predict
from crnn_snn_ros.training.eye import with_eye_on_integers
from crnn_snn_ros.training.memory import Tail
from crnn_snn_ros.training.random_network import quantized
from crnn_snn_ros.training.seen import look_at
from crnn_snn_ros.training.train import train

ORIGIN = Origin(CONTRACT, RATE_HZ, {"seed": 0})
FADES = 0.9  # what is left after a frame


def flashing_drive(frames: int, seed: int) -> Sequence:
    """Flashes now and then; the steering label is what is left of those that were."""
    rng = np.random.default_rng(seed)
    lit = rng.random(frames) < 0.1
    left, steering = 0.0, np.zeros(frames, np.float32)
    for number, flash in enumerate(lit):
        left = FADES * left + 0.3 * flash
        steering[number] = left
    drive = bar_drive(frames, seed)
    pixels = np.where(lit[:, None, None, None], 100, -100).astype(np.int8)
    return dataclasses.replace(
        drive, frames=np.broadcast_to(pixels, drive.frames.shape).copy(), steering_rad=steering
    )


def run(out: Path, drives: list[Sequence], **options) -> Checkpoint:
    fields = {"float_epochs": 2, "qat_epochs": 1, "window": 2, "piece": 1, "streams": 16}
    config = TrainConfig(**(fields | {"memory_streams": 4, "device": "cpu"} | options))
    return train(drives, [drives[0]], small_config(), config, ORIGIN, out, lambda _epoch: None)


def mirrored(drive: Sequence) -> Sequence:
    return dataclasses.replace(
        drive, frames=drive.frames[..., ::-1].copy(), steering_rad=-drive.steering_rad
    )


@pytest.mark.parametrize("integers", ["none", "eye", "all"])
def test_the_tail_says_of_features_what_the_whole_says_of_frames(integers, tmp_path):
    network = random_network(small_config())
    if integers == "all":
        network = quantized(network)
    if integers == "eye":
        pixels = torch.from_numpy(bar_drive(64, seed=3).frames)
        network = with_eye_on_integers(network, pixels[None]).eval()
    drives = [bar_drive(300, seed=1), bar_drive(40, seed=2)]  # more than is seen at once
    found = look_at(network, drives, tmp_path / "features", mirror=True)
    expected = [view for drive in drives for view in (drive, mirrored(drive))]
    tail = Tail(network)
    for seen, drive in zip(found, expected, strict=True):
        assert np.array_equal(seen.steering_rad, drive.steering_rad)
        assert np.array_equal(seen.collision, drive.collision)
        by_tail, by_whole = predict(tail, seen), predict(network, drive)
        for head, values in by_whole.items():
            if integers != "none":
                assert torch.equal(by_tail[head], values)
            else:  # features are kept as half floats
                assert torch.allclose(by_tail[head], values, atol=2e-2, rtol=2e-2)


def test_it_learns_to_remember_beyond_the_window_of_the_whole(tmp_path):
    drives = [flashing_drive(400, seed=seed) for seed in range(4)]
    held_out = [flashing_drive(400, seed=9)]
    options = {
        "learning_rate": 1e-2, "qat_learning_rate": 3e-3,
        "augment": AugmentConfig(mirror=False),  # both sides look the same
    }  # fmt: skip
    errors = {}
    for epochs in (0, 30):
        out = tmp_path / str(epochs)
        run(out, drives, memory_epochs=epochs, **options)
        for name in ("float", "qat"):
            network = checkpoint.load(out / f"{name}.safetensors").network
            errors[name, epochs] = evaluate(network, held_out).steering_rmse_rad
    assert errors["float", 30] < 0.5 * errors["float", 0]
    assert errors["qat", 30] < 0.6 * errors["qat", 0]


def test_convolutions_stay_and_the_result_converts(tmp_path):
    drives = [bar_drive(120, seed=1)]
    for epochs in (0, 2):
        run(tmp_path / str(epochs), drives, memory_epochs=epochs)
    before, after = (
        checkpoint.load(tmp_path / str(epochs) / "float.safetensors").network.state_dict()
        for epochs in (0, 2)
    )
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed
    assert all("rnn" in name or "steering" in name or "collision" in name for name in changed)
    result = run(tmp_path / "whole", drives, memory_epochs=2)
    assert sum(convert(result.network).mismatches.values()) == 0
    assert not list((tmp_path / "whole").glob("features_*")), "features are not left behind"


@pytest.mark.parametrize(("fewer", "passes"), [(None, 2), (1, 1), (0, 0)])
def test_after_quantization_it_may_learn_for_fewer_passes(fewer, passes, tmp_path):
    options = {"memory_epochs": 2, "qat_memory_epochs": fewer, "float_epochs": 1, "qat_epochs": 0}
    run(tmp_path / "whole", [bar_drive(40, seed=1)], **options)
    with (tmp_path / "whole" / "log.csv").open() as file:
        done = Counter(row["phase"] for row in csv.DictReader(file) if row["number"] != "0")
    assert done["float_memory"] == 2
    assert done["qat_memory"] == passes


class KilledError(Exception):
    pass


@pytest.mark.parametrize("phase", ["float_memory", "qat_memory"])
def test_cut_off_while_it_remembers_it_ends_with_the_same_weights(phase, tmp_path):
    drives = [bar_drive(120, seed=1)]
    options = {"memory_epochs": 3, "save_seconds": 0.0}
    whole = run(tmp_path / "whole", drives, **options)

    def kill(epoch) -> None:
        if (epoch.phase, epoch.number) == (phase, 2):
            raise KilledError

    config = TrainConfig(
        float_epochs=2, qat_epochs=1, window=2, piece=1, streams=16, memory_streams=4,
        device="cpu", **options,
    )  # fmt: skip
    arguments = (drives, [drives[0]], small_config(), config, ORIGIN, tmp_path / "cut")
    with pytest.raises(KilledError):
        train(*arguments, kill)
    cut = train(*arguments, lambda _epoch: None, resume=True)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, cut.network.state_dict()[name]), name


def test_features_of_a_run_that_was_killed_are_removed(tmp_path):
    (tmp_path / "features_old").mkdir()
    (tmp_path / "features_old" / "train.npy").write_bytes(b"old")
    run(tmp_path, [bar_drive(60, seed=1)], float_epochs=1)
    assert not (tmp_path / "features_old").exists()


def test_what_was_better_before_is_kept(tmp_path):
    """Steps that ruin it are judged, and forgotten."""
    drives = [bar_drive(120, seed=1)]
    run(tmp_path / "kept", drives, memory_epochs=0, float_epochs=6, qat_epochs=0)
    kept = checkpoint.load(tmp_path / "kept" / "float.safetensors").network
    before = {name: value.clone() for name, value in kept.state_dict().items()}
    epochs = []
    ruin = {"memory_epochs": 2, "learning_rate": 1.0, "float_epochs": 1, "qat_epochs": 0}
    config = TrainConfig(window=2, streams=16, memory_streams=4, device="cpu", **ruin)
    train(drives, [drives[0]], small_config(), config, ORIGIN, tmp_path / "ruined",
          epochs.append, kept)  # fmt: skip
    told = [(epoch.phase, epoch.number, epoch.train_loss is None) for epoch in epochs]
    assert told[:3] == [("float", 0, True), ("float", 1, False), ("float_memory", 0, True)]
    halves = pytest.approx(epochs[0].validation_loss, rel=1e-3)  # features are half floats
    assert epochs[2].validation_loss == halves
    others = [e.validation_loss for e in epochs if e.phase.startswith("float") and e.number > 0]
    assert epochs[0].validation_loss < min(others)
    result = checkpoint.load(tmp_path / "ruined" / "float.safetensors").network.state_dict()
    for name, value in before.items():
        assert name.endswith(".scale") or torch.equal(value, result[name]), name
