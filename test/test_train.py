from __future__ import annotations

import csv
import dataclasses
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from training_samples import (
    CONTRACT,
    RATE_HZ,
    bar_bag,
    bar_drive,
    blinded,
    random_network,
    small_config,
)

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.core.ways import WAYS
from crnn_snn_ros.data.dataset import Sequence
from crnn_snn_ros.training import checkpoint
from crnn_snn_ros.training.checkpoint import Checkpoint, Origin
from crnn_snn_ros.training.config import TrainConfig
from crnn_snn_ros.training.convert import convert
from crnn_snn_ros.training.evaluate import evaluate, predict
from crnn_snn_ros.training.network import Crnn
from crnn_snn_ros.training.train import train

ORIGIN = Origin(CONTRACT, RATE_HZ, {"seed": 0})


def run(out: Path, drives: list[Sequence], validation: list[Sequence], **options) -> Checkpoint:
    fields = {"float_epochs": 1, "qat_epochs": 1, "window": 8, "streams": 4, "device": "cpu"}
    config = TrainConfig(**(fields | options))
    return train(drives, validation, small_config(), config, ORIGIN, out, lambda _epoch: None)


def test_learns_to_see_in_both_phases(tmp_path):
    drives, validation = [bar_drive(400, seed=1)], [bar_drive(150, seed=2)]
    fields = {"float_epochs": 14, "qat_epochs": 10, "learning_rate": 1e-2}
    result = run(tmp_path, drives, validation, qat_learning_rate=3e-3, **fields)
    mean = float(np.std(validation[0].steering_rad))
    for name in ("float", "qat"):
        loaded = checkpoint.load(tmp_path / f"{name}.safetensors")
        loss, rmse, auroc = evaluate(loaded.network, validation)
        assert rmse < 0.5 * mean, name
        assert loss == pytest.approx(loaded.metrics["validation"]["validation_loss"])
        assert loaded.metrics["validation"]["steering_rmse_rad"] == pytest.approx(rmse)
        assert loaded.metrics["validation"]["collision_auroc"] == auroc > 0.95
        heads = predict(loaded.network, validation[0])
        right = (heads["collision"].numpy() > 0) == (validation[0].collision > 0.5)
        assert right.mean() > 0.9, name
    assert result.trained_heads == ("steering", "collision")
    assert result.network.quantized
    assert sum(convert(result.network).mismatches.values()) == 0
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["phase"] for row in rows] == ["float"] * 14 + ["qat"] * 10
    assert float(rows[13]["train_loss"]) < 0.5 * float(rows[0]["train_loss"])
    best = min(float(row["validation_loss"]) for row in rows if row["phase"] == "qat")
    assert result.metrics["validation"]["validation_loss"] == best


def test_the_same_seed_gives_the_same_files(tmp_path):
    drives, validation = [bar_drive(80)], [bar_drive(40, seed=1)]
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        run(tmp_path / name, drives, validation, seed=seed)
    for name in ("float.safetensors", "qat.safetensors", "log.csv"):
        first, same, other = ((tmp_path / run_ / name).read_bytes() for run_ in "abc")
        assert first == same
        assert first != other


def test_a_bag_trains_like_the_same_drive_in_memory(tmp_path):
    from crnn_snn_ros.data.data_config import BagConfig, DataConfig
    from crnn_snn_ros.data.dataset import load_sequences

    bag = BagConfig(bar_bag(tmp_path / "bag"), None, "/steering", "/collision")
    config = DataConfig((bag,), {"train": (0.0, 1.0)}, RATE_HZ, CONTRACT)
    drives = load_sequences(config, "train", tmp_path / "cache")
    results = [run(tmp_path / str(n), d, d) for n, d in enumerate((drives, [bar_drive()]))]
    states = [result.network.state_dict() for result in results]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_nothing_half_written_is_left(tmp_path):
    run(tmp_path, [bar_drive(40)], [bar_drive(20)])
    names = {"float.safetensors", "qat.safetensors", "log.csv"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_head_without_labels_is_not_called_trained(tmp_path):
    drive = blinded(bar_drive(40), "collision")
    result = run(tmp_path, [drive], [drive])
    assert result.trained_heads == ("steering",)
    head = result.network.nodes["collision"]
    assert head.weight.abs().sum() == 0  # nothing ever pulled at it


def test_a_drive_with_collision_labels_only_can_be_converted(tmp_path):
    drive = blinded(bar_drive(40), "steering_rad")
    result = run(tmp_path, [drive], [drive])
    assert result.trained_heads == ("collision",)
    assert result.metrics["validation"]["steering_rmse_rad"] is None  # JSON has no NaN
    loaded = checkpoint.load(tmp_path / "qat.safetensors")
    assert sum(convert(loaded.network).mismatches.values()) == 0


def test_frames_without_a_label_are_masked(tmp_path):
    """Wrong labels that are masked change nothing, at which frames ever they are."""
    drive = bar_drive(60)
    hidden = np.arange(60) % 3 == 0
    results = []
    for wrong in (0.0, 1.5):
        steering = np.where(hidden, wrong, drive.steering_rad).astype(np.float32)
        steering[hidden] = np.nan
        masked = dataclasses.replace(drive, steering_rad=steering)
        results.append(run(tmp_path / str(wrong), [masked], [masked]).network.state_dict())
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])
    assert all(value.isfinite().all() for value in results[0].values())
    network = random_network(small_config())
    loss, rmse, _ = evaluate(network, [masked])
    told = predict(network, drive)["steering"].numpy()[~hidden]
    error = told - drive.steering_rad[~hidden]
    assert rmse == pytest.approx(float(np.sqrt(np.mean(np.square(error)))), rel=1e-5)
    assert np.isfinite(loss)


def test_drives_without_any_label_are_refused(tmp_path):
    good, blind = bar_drive(40), blinded(bar_drive(40), "steering_rad", "collision")
    with pytest.raises(DataError, match="train split has a steering or collision label"):
        run(tmp_path / "a", [blind], [good])
    with pytest.raises(DataError, match="validation split has a steering or collision label"):
        run(tmp_path / "b", [good], [blind])
    run(tmp_path / "c", [blind, good], [blind, good])  # one labelled drive is enough
    assert not (tmp_path / "a").exists()


def test_too_short_a_drive_is_refused(tmp_path):
    short = bar_drive(1)
    with pytest.raises(DataError, match="too short"):
        run(tmp_path, [short], [bar_drive(20)])


def test_divergence_is_told(tmp_path):
    drive = bar_drive(40)
    with pytest.raises(DataError, match="lower the learning rate"):
        run(tmp_path, [drive], [drive], learning_rate=1e30)


def test_state_crosses_from_window_to_window(tmp_path, monkeypatch):
    calls, forward = [], Crnn.forward

    def spied(self, pixels, carry=None):
        out = forward(self, pixels, carry)
        if self.training:
            calls.append((dict(carry or {}), out.carry["rnn1"]))
        return out

    monkeypatch.setattr(Crnn, "forward", spied)
    run(tmp_path, [bar_drive(40)], [bar_drive(20)], streams=1)
    starts = [number for number, (carry, _) in enumerate(calls) if not carry]
    assert len(starts) == 2  # an epoch of each phase
    assert len(calls) == 10
    cleared = 0
    for (_, left), (entered, _) in pairwise(calls):
        if entered:
            assert not entered["rnn1"].requires_grad  # back-propagation is truncated
            cleared += not entered["rnn1"].any()
            assert torch.equal(entered["rnn1"], left) or not entered["rnn1"].any()
    assert cleared <= 2  # where another piece of the drive begins


def test_unknown_device_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="device 'tpu'"):
        run(tmp_path, [bar_drive(40)], [bar_drive(40)], device="tpu")


@pytest.mark.parametrize(
    ("before", "after"), [({"ways": True}, {}), ({"ways": True, "ways_scale": 0.5}, {"ways": True})]
)
def test_a_head_that_begins_anew_is_not_quantized_untaught(tmp_path, before, after):
    costs = np.full((40, WAYS), 0.5, np.float32)
    drives = [dataclasses.replace(bar_drive(40, seed=1), way_costs=costs)]
    start = random_network(small_config(**before))

    def learn(out: str, **epochs: int) -> Checkpoint:
        config = TrainConfig(**({"float_epochs": 0} | epochs), qat_epochs=1, streams=2)
        network = small_config(**after)
        return train(drives, drives, network, config, ORIGIN, tmp_path / out, str, start)

    with pytest.raises(ConfigError, match="give --float-epochs or --memory-epochs"):
        learn("untaught")
    learn("memory", memory_epochs=1)
    learn("all", float_epochs=1)


def test_a_head_of_one_angle_is_gone_on_with_whatever_scale_ways_had_before():
    start = random_network(small_config(ways_scale=0.5))
    network = Crnn(small_config())
    network.take_over(start)
    assert torch.equal(network.nodes["steering"].weight, start.nodes["steering"].weight)
