"""Training in the loop: who drives when, what is left behind, and what a repeated run does."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sim_support import needs_pictures
from training_samples import small_config

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.data.bags import read_info
from crnn_snn_ros.data.data_config import load_data_config
from crnn_snn_ros.io.preprocess import InputContract
from crnn_snn_ros.sim.suites import (
    DAGGER_SEEDS,
    SUITES,
    TEST_SEEDS,
    TRAIN_SEEDS,
    VALIDATION_SEEDS,
)
from crnn_snn_ros.training import state, train
from crnn_snn_ros.training.checkpoint import Checkpoint, Origin, load
from crnn_snn_ros.training.config import DaggerConfig, TrainConfig
from crnn_snn_ros.training.convert import convert
from crnn_snn_ros.training.dagger import dagger, round_seeds
from crnn_snn_ros.training.evaluate import evaluate
from crnn_snn_ros.training.log import Epoch
from crnn_snn_ros.training.train import Trainer

NETWORK = small_config(input_shape=(4, 16, 24), ways=True)  # three colours and motion
TRAINING = TrainConfig(float_epochs=1, qat_epochs=1, window=8, streams=4, device="cpu")
DRIVEN = DaggerConfig(
    courses=4, rounds=1, round_courses=2, round_epochs=1, suites=("crowd", "narrow")
)
ORIGIN = Origin(InputContract(24, 16, "rgb", motion=2), 5.0, {"seed": 0})


def run(out: Path, told: Callable[[str], object] = lambda _: None) -> Checkpoint:
    return dagger(NETWORK, TRAINING, DRIVEN, ORIGIN, out, told, lambda _: None)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dagger")
    run(out)
    return out


@needs_pictures
def test_the_network_drives_other_courses_than_the_expert(finished: Path) -> None:
    config = load_data_config(finished / "drives" / "data.yaml")
    driven: dict[tuple[str, str], list[int]] = {}
    for bag in config.bags:
        about = read_info(bag.path).about
        seeds = driven.setdefault((str(bag.split), about["noise_radps"]), [])
        seeds.append(int(about["seed"]))
        assert about["suite"] == ("narrow" if seeds[-1] % 2 else "crowd")
    by_expert, by_network = driven["train", "0.4"], driven["train", "0.0"]
    assert len(by_expert) == 4
    assert set(by_expert) < set(TRAIN_SEEDS) - set(VALIDATION_SEEDS)
    assert len(by_network) == 2
    assert set(by_network) < set(DAGGER_SEEDS)
    assert len(driven["validation", "0.0"]) == 2  # one of each round
    assert set(driven["validation", "0.0"]) < set(VALIDATION_SEEDS)
    assert not {seed for seeds in driven.values() for seed in seeds} & set(TEST_SEEDS)


@needs_pictures
def test_the_result_converts_without_loss(finished: Path) -> None:
    checkpoint = load(finished / "qat.safetensors")
    assert checkpoint.trained_heads == ("steering", "collision")
    assert sum(convert(checkpoint.network).mismatches.values()) == 0
    states = [
        load(finished / f"round{number}" / "float.safetensors").network.state_dict()
        for number in (0, 1)
    ]
    assert any(not torch.equal(states[0][name], states[1][name]) for name in states[0])


@needs_pictures
def test_a_repeated_run_does_only_what_is_missing(finished: Path, tmp_path: Path) -> None:
    stages: list[str] = []
    out = tmp_path / "copy"
    shutil.copytree(finished, out)
    before = (out / "qat.safetensors").read_bytes()
    run(out, stages.append)
    assert stages == []
    (out / "qat.safetensors").unlink()
    run(out, stages.append)
    assert stages == ["quantization-aware training"]
    assert (out / "qat.safetensors").read_bytes() == before


@needs_pictures
def test_a_run_cut_off_ends_with_the_same_network(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PulledError(Exception):
        """The plug."""

    def pulled(*_: object) -> None:
        raise PulledError

    with monkeypatch.context() as context:
        context.setattr(Trainer, "quantized_phase", pulled)
        with pytest.raises(PulledError):
            run(tmp_path)
    shutil.rmtree(next((tmp_path / "drives").glob("*_6000")))  # a drive that was not written yet
    shutil.rmtree(tmp_path / "round1")
    run(tmp_path)
    for name in ("round1/float.safetensors", "qat.safetensors"):
        assert (tmp_path / name).read_bytes() == (finished / name).read_bytes()


@needs_pictures
@pytest.mark.parametrize("phase", ["float_memory", "qat_memory"])
def test_what_was_cut_off_while_its_memory_learned_is_not_taken_for_trained(
    finished: Path, tmp_path: Path, phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = replace(TRAINING, memory_epochs=2, qat_memory_epochs=2, save_seconds=0.0)
    write, wrote = state.write, []

    def cut(path: Path, saved: state.State) -> None:
        wrote.append(saved.phase)
        if wrote.count(phase) == 3:
            raise PulledError
        write(path, saved)

    class PulledError(Exception):
        """The plug."""

    def learn(out: Path) -> list[bytes]:
        shutil.copytree(finished / "drives", out / "drives", dirs_exist_ok=True)
        driven = replace(DRIVEN, rounds=0)
        dagger(NETWORK, training, driven, ORIGIN, out, lambda _: None, lambda _: None)
        names = "round0/float.safetensors", "qat.safetensors"
        return [(out / name).read_bytes() for name in names]

    with monkeypatch.context() as context:
        context.setattr(state, "write", cut)
        with pytest.raises(PulledError):
            learn(tmp_path / "cut")
    assert learn(tmp_path / "cut") == learn(tmp_path / "whole")


@needs_pictures
@pytest.mark.parametrize("ways", [True, False], ids=["as_it_was", "with_another_steering_head"])
def test_it_goes_on_from_a_network(
    finished: Path, tmp_path: Path, ways: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    worse = itertools.count(1.0)  # on other courses, from epoch to epoch: what it learns is kept
    monkeypatch.setattr(
        train, "evaluate", lambda *of: evaluate(*of)._replace(validation_loss=next(worse))
    )
    start = finished / "round1" / "float.safetensors"
    driven = DaggerConfig(
        start=str(start), courses=1, rounds=1, round_courses=1, round_epochs=1, passed_over=2,
        scan_rays=24,
    )  # fmt: skip
    training = replace(TRAINING, qat_epochs=0, scan_weight=1.0, patience=1)  # not of a round
    epochs: list[Epoch] = []
    network = replace(NETWORK, ways=ways)
    dagger(network, training, driven, ORIGIN, tmp_path, lambda _: None, epochs.append)
    assert [(epoch.phase, epoch.number) for epoch in epochs] == [("float", 0), ("float", 1)]
    assert not (tmp_path / "round0").exists()
    config = load_data_config(tmp_path / "drives" / "data.yaml")
    assert {bag.scan for bag in config.bags} == {"/scan"}
    about = [read_info(bag.path).about for bag in config.bags if bag.split == "train"]
    assert {int(of["seed"]) for of in about} == {TRAIN_SEEDS[0], DAGGER_SEEDS[2]}
    before = load(start).network.state_dict()
    after = load(tmp_path / "round1" / "float.safetensors").network.state_dict()
    weight = "nodes.stem.branches.0.weight"
    step = (after[weight] - before[weight]).abs().max()
    assert 0.0 < step < 0.1  # it began there


@pytest.mark.parametrize(
    "changes",
    [
        {"courses": 0},
        {"rounds": -1},
        {"rounds": 30, "round_courses": 200},
        {"noise": -0.1},
        {"suites": ("movers", "looks")},
        {"passed_over": -1},
        {"round_kinds": ("corridor", "maze")},
        {"round_kinds": ()},
        {"passed_over": 3500, "rounds": 1},
    ],
    ids=str,
)
def test_what_cannot_be_driven_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        DaggerConfig(**changes)


def test_the_network_drives_the_kinds_of_course_that_were_asked_for() -> None:
    corridors = DaggerConfig(round_courses=3, passed_over=3, round_kinds=("corridor",))
    first, second = (round_seeds(corridors, number) for number in (1, 2))
    assert first == [6003, 6005, 6006]
    assert second == [6008, 6010, 6011]
    assert {SUITES["static"].course(seed).kind for seed in first + second} == {"corridor"}
    assert round_seeds(DaggerConfig(round_courses=2), 2) == [6002, 6003]


def test_more_courses_of_a_kind_than_there_are_are_refused_at_once(tmp_path: Path) -> None:
    driven = DaggerConfig(rounds=2, round_courses=401, round_kinds=("open",))
    with pytest.raises(ConfigError, match=r"802 courses by round 2, .* 800 of --round-kinds open"):
        dagger(NETWORK, TRAINING, driven, ORIGIN, tmp_path, lambda _: None, lambda _: None)
    assert not list(tmp_path.iterdir())
