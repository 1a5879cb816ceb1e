"""What is learned beside an eye that stays as it was taught."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from eye_samples import arguments, taught_eye
from sim_support import needs_pictures
from training_samples import small_config

from crnn_snn_ros.cli import main
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.data.dataset import load_data_config, load_sequences
from crnn_snn_ros.io.preprocess import InputContract
from crnn_snn_ros.io.resources import resource_path
from crnn_snn_ros.sim.record import Recording, record_suite
from crnn_snn_ros.sim.suites import Setup
from crnn_snn_ros.training.checkpoint import Origin, load
from crnn_snn_ros.training.config import DaggerConfig, TrainConfig
from crnn_snn_ros.training.convert import convert
from crnn_snn_ros.training.dagger import dagger
from crnn_snn_ros.training.network import Crnn
from crnn_snn_ros.training.seen import begin_with_eye
from crnn_snn_ros.training.train import train


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return taught_eye(tmp_path_factory.mktemp("eye"))


@needs_pictures
def test_dagger_keeps_the_eye_until_quantization(taught: Path, tmp_path: Path) -> None:
    start = load(taught)
    shape = start.network.config.input_shape
    network = small_config(input_shape=shape, ways=True, hidden=(9, 8))
    training = TrainConfig(
        memory_epochs=2, memory_window=8, memory_streams=2, qat_epochs=1, window=8, streams=4,
        scan_weight=1.0, device="cpu",
    )  # fmt: skip
    driven = DaggerConfig(eye=str(taught), courses=1, rounds=1, round_courses=1, scan_rays=24)
    phases = []
    contract = start.origin.contract
    dagger(network, training, driven, Origin(contract, 5.0, {}), tmp_path, lambda _: None,
           lambda epoch: phases.append(epoch.phase))  # fmt: skip
    assert set(phases) == {"float_memory", "qat", "qat_memory"}
    before = start.network.state_dict()
    for number in count():
        path = tmp_path / f"round{number}" / "float.safetensors"
        if not path.exists():
            break
        after = load(path).network.state_dict()
        eye = [name for name in before if "stem" in name or "block" in name]
        assert all(torch.equal(before[name], after[name]) for name in eye)
    assert number == 2
    memories = [load(tmp_path / f"round{k}" / "float.safetensors").network for k in range(2)]
    weights = [network.state_dict()["nodes.rnn1.branches.0.weight"] for network in memories]
    assert not torch.equal(*weights)
    kept = [np.load(path, mmap_mode="r") for path in (tmp_path / "cache").glob("*/frames.npy")]
    seen = [len(frames[0]) for frames in kept if frames.dtype == np.float16]
    assert sorted(seen) == [1, 1, 2, 2], "with their mirror images those to train on, once each"


@needs_pictures
def test_an_eye_on_integers_is_deployed_as_it_was_taught(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crnn_snn_ros.training.eye.HELD_OUT", 1)
    eye = tmp_path / "integers.safetensors"
    assert main([*arguments(eye), "--from", str(taught), "--on-integers", "--bits", "2"]) == 0
    start = load(eye)
    assert start.network.on_integers == ("stem", "block1a", "block1b")
    training = TrainConfig(
        float_epochs=0, memory_epochs=2, memory_window=8, memory_streams=2, qat_epochs=0,
        window=8, streams=4, device="cpu",
    )  # fmt: skip
    network = small_config(
        input_shape=start.network.config.input_shape, ways=True, hidden=(9, 8), bits=2
    )
    driven = DaggerConfig(eye=str(eye), courses=1, rounds=1, round_courses=1)
    phases = []
    origin = Origin(start.origin.contract, 5.0, {})
    result = dagger(network, training, driven, origin, tmp_path / "out", lambda _: None,
                    lambda epoch: phases.append(epoch.phase))  # fmt: skip
    assert set(phases) == {"float_memory", "qat_memory"}
    kept = (tmp_path / "out" / "cache").glob("*/frames.npy")
    assert {np.load(path, mmap_mode="r").dtype for path in kept} == {np.dtype(np.float16)}
    last = load(tmp_path / "out" / "round1" / "float.safetensors").network
    assert last.on_integers == start.network.on_integers
    frames = np.random.default_rng(0).integers(-128, 128, (1, 4, *network.input_shape))
    seen, real, counts = (
        n.eval()(torch.from_numpy(frames)).activations
        for n in (start.network, last, result.network)
    )
    for name in start.network.on_integers:
        assert torch.equal(seen[name], real[name])
        assert torch.equal(real[name], counts[name] * last.nodes[name].output_scale())
    assert sum(convert(result.network).mismatches.values()) == 0
    with pytest.raises(ConfigError, match="--bits"):
        dagger(replace(network, bits=3), training, driven, origin, tmp_path / "b", print, print)


@needs_pictures
def test_train_beside_an_eye_on_integers_keeps_no_frames(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before quantization it has the very weights of a training that keeps them.

    Then it calibrates on mirrored drives too, so that scales differ a little.
    """
    monkeypatch.setattr("crnn_snn_ros.training.eye.HELD_OUT", 1)
    eye, drives = tmp_path / "integers.safetensors", tmp_path / "drives"
    assert main([*arguments(eye), "--from", str(taught), "--on-integers"]) == 0
    contract = load(eye).origin.contract
    for split, seeds in (("train", (1000, 1001)), ("validation", (2000,))):
        recording = Recording(drives, split, contract=contract)
        setup = Setup(camera=(contract.width, contract.height), rate_hz=5.0)
        record_suite(None, "crowd", seeds, setup, recording)
    common = [
        "train", str(drives / "data.yaml"), "--ways", "--stem-channels", "6",
        "--block-channels", "8", "--hidden", "9", "5", "--dense", "7", "--memory-window", "8",
        "--memory-streams", "2", "--qat-epochs", "0", "--seed", "3", "--device", "cpu",
    ]  # fmt: skip
    out = tmp_path / "seen"
    options = ["--memory-epochs", "2", "--jobs", "2", "--out", str(out)]
    assert main([*common, "--eye", str(eye), *options]) == 0
    kept = (out / "cache").glob("*/frames.npy")
    assert {np.load(path, mmap_mode="r").dtype for path in kept} == {np.dtype(np.float16)}
    result = load(out / "qat.safetensors")
    assert sum(convert(result.network).mismatches.values()) == 0
    assert "start" in result.origin.provenance

    config = TrainConfig(
        float_epochs=0, qat_epochs=0, memory_epochs=2, memory_window=8, memory_streams=2, seed=3,
        device="cpu",
    )  # fmt: skip
    data = load_data_config(drives / "data.yaml")
    frames, held_out = (
        load_sequences(data, split, tmp_path / "cache") for split in ("train", "validation")
    )
    start = begin_with_eye(load(eye), result.network.config, contract, seed=3)
    train(frames, held_out, result.network.config, config, result.origin, tmp_path / "frames",
          lambda _: None, start)  # fmt: skip
    expected, found = (
        load(folder / "float.safetensors").network.state_dict()
        for folder in (tmp_path / "frames", out)
    )
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name

    on = tmp_path / "on"
    told = ["--float-epochs", "0", "--memory-epochs", "1", "--out", str(on)]
    assert main([*common, "--from", str(out / "float.safetensors"), *told]) == 0
    kept = (on / "cache").glob("*/frames.npy")
    assert {np.load(path, mmap_mode="r").dtype for path in kept} == {np.dtype(np.float16)}

    assert main([*common, "--eye", str(eye), "--from", str(eye)]) == 2
    assert main([*common, "--eye", str(eye), "--out", str(tmp_path / "a")]) == 2  # learns nothing
    assert main([*common, "--eye", str(taught), "--out", str(tmp_path / "b"),
                 "--memory-epochs", "1", "--bits", "2"]) == 0  # fmt: skip


def test_the_eye_of_the_shipped_network_is_what_its_readme_says() -> None:
    eye = load(resource_path("models", "default_float.safetensors"))
    told = resource_path("models", "README.md").read_text("utf-8")
    (pictures,) = re.findall(r"`(\{width: .*?\})`", told)
    assert eye.origin.contract == InputContract(**yaml.safe_load(pictures))
    (hidden,) = re.findall(r"--from default_float.* --hidden ([\d ]*\d)", told)
    assert eye.network.config.hidden == tuple(map(int, hidden.split()))
    assert eye.network.on_integers == eye.network.eye[:1] + eye.network.eye[2:]  # not the pool
    network = Crnn(replace(eye.network.config, hidden=(9,)))
    network.take_eye(eye.network)
    stem = "nodes.stem.branches.0.weight"
    assert torch.equal(network.state_dict()[stem], eye.network.state_dict()[stem])


@needs_pictures
def test_an_eye_of_other_convolutions_is_refused(taught: Path, tmp_path: Path) -> None:
    start = load(taught)
    network = small_config(input_shape=start.network.config.input_shape, block_channels=(7,))
    driven = DaggerConfig(eye=str(taught), courses=1, rounds=0)
    with pytest.raises(ConfigError, match="--block-channels"):
        dagger(network, TrainConfig(memory_epochs=1, device="cpu"), driven,
               Origin(start.origin.contract, 5.0, {}), tmp_path, print, print)  # fmt: skip
    with pytest.raises(ConfigError, match="leave one out"):
        DaggerConfig(eye="a", start="b")


@needs_pictures
def test_an_eye_that_was_taught_to_see_otherwise_is_refused(taught: Path, tmp_path: Path) -> None:
    start = load(taught)
    origin = Origin(replace(start.origin.contract, motion=5), 5.0, {})
    driven = DaggerConfig(eye=str(taught), courses=1, rounds=0)
    with pytest.raises(ConfigError, match=r"motion 2 for 5.*--motion"):
        dagger(start.network.config, TrainConfig(memory_epochs=1, device="cpu"), driven,
               origin, tmp_path, print, print)  # fmt: skip
    assert not list(tmp_path.iterdir())
