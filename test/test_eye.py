"""An eye taught by glimpses: it learns ranges, and is the same each time."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from eye_samples import SHAPE, arguments, bars, taught_eye
from sim_support import needs_pictures
from training_samples import small_config

from crnn_snn_ros.cli import main
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.io.preprocess import InputContract
from crnn_snn_ros.training.album import TARGETS, Page, altered
from crnn_snn_ros.training.checkpoint import load
from crnn_snn_ros.training.config import EyeConfig
from crnn_snn_ros.training.eye import Pupil, teach, with_eye_on_integers
from crnn_snn_ros.training.network import Crnn


def test_it_learns_where_things_are_and_leaves_the_memory_alone() -> None:
    torch.manual_seed(0)
    network = Crnn(small_config(input_shape=SHAPE))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    pupil = Pupil(network, EyeConfig(steps=120, learning_rate=1e-2, ema=0.9))
    random = np.random.default_rng(0)
    start = pupil.judge(bars(64, 1))
    for k in range(120):
        pupil.learn(altered(bars(32, k), random, 1.0))
    end = pupil.judge(bars(64, 1))
    assert end["now"] < 0.7 * start["now"]
    after = pupil.averaged().state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert any("stem" in name for name in changed)
    assert not any("rnn" in name or "steering" in name for name in changed)


def test_a_readout_is_first_fitted_to_the_eye_as_it_is() -> None:
    torch.manual_seed(0)
    network = Crnn(small_config(input_shape=SHAPE))
    pupil = Pupil(network, EyeConfig(steps=4, learning_rate=1e-6))
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    others = bars(64, 9)
    errors = [pupil.judge(others)]
    pupil.fit_readout(bars(64, seed) for seed in range(4))
    errors.append(pupil.judge(others))
    assert errors[1]["now"] < 0.5 * errors[0]["now"]
    assert all(torch.equal(value, kept[name]) for name, value in network.state_dict().items())
    fitted = pupil.judge(bars(64, 1))["now"]
    pupil.learn(bars(64, 1))
    assert pupil.judge(bars(64, 1))["now"] < 2.0 * fitted, "it goes on from there"


def test_where_the_robots_own_way_is_told_an_eye_hands_it_on() -> None:
    torch.manual_seed(0)
    network = Crnn(small_config(input_shape=(8, 16, 24)))
    pupil = Pupil(network, EyeConfig(steps=150, learning_rate=1e-2, ema=0.9), wheels=True)
    random = np.random.default_rng(0)

    def told(seed: int) -> Page:
        page = bars(32, seed)
        ways = torch.from_numpy(np.random.default_rng(seed).integers(-100, 101, (32, 2)))
        channels = torch.zeros((32, 4, *SHAPE[1:]), dtype=torch.int8)
        channels[:, -1, :, :12], channels[:, -1, :, 12:] = (
            side[:, None, None].to(torch.int8) for side in ways.T
        )
        return page._replace(pixels=torch.cat([page.pixels, channels], dim=1))

    start = pupil.judge(told(1000))["wheels"]
    for k in range(150):
        pupil.learn(altered(told(k), random, 1.0))
    assert pupil.judge(told(1000))["wheels"] < 0.5 * start
    assert "wheels" not in Pupil(network, EyeConfig(steps=1)).judge(told(0))


def test_an_eye_that_tells_contact_everywhere_has_an_error() -> None:
    pupil = Pupil(Crnn(small_config(input_shape=SHAPE)), EyeConfig(steps=4))
    contact = bars(8)._replace(nearness=torch.ones(8, TARGETS))
    pupil.fit_readout([contact])
    told = pupil.judge(bars(8)._replace(nearness=torch.full((8, TARGETS), 0.6)))
    assert told["ratio"] == pytest.approx(math.log(1.5 * -math.log(0.6) / 0.01), rel=1e-2)


def test_integers_are_never_computed_in_bfloat16() -> None:
    def learned(*, amp: bool, integers: bool) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        network = Crnn(small_config(input_shape=SHAPE))
        if integers:
            network = with_eye_on_integers(network, bars(8).pixels[:, None])
        pupil = Pupil(network, EyeConfig(steps=4, amp=amp, ema=0.0))
        for k in range(2):
            pupil.learn(bars(8, k))
        return pupil.averaged().state_dict()

    for integers in (True, False):
        plain, mixed = (learned(amp=amp, integers=integers) for amp in (False, True))
        same = [torch.equal(value, mixed[name]) for name, value in plain.items()]
        assert all(same) == integers


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return taught_eye(tmp_path_factory.mktemp("eye"))


@needs_pictures
def test_an_eye_goes_on_from_another_one(taught: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.safetensors"
    assert main([*arguments(again), "--from", str(taught), "--learning-rate", "1e-6"]) == 0
    first, second = (load(path) for path in (taught, again))
    weight = "nodes.stem.branches.0.weight"
    step = (first.network.state_dict()[weight] - second.network.state_dict()[weight]).abs().max()
    assert 0.0 < step < 1e-4
    assert second.origin.provenance["start"]["command"].startswith("crnn-snn")


def test_all_courses_are_due_well_before_the_end() -> None:
    config = EyeConfig(courses=100, steps=1000)
    due = [config.due(step) for step in range(1000)]
    assert due[0] == 5
    assert due == sorted(due)
    assert due[900] == due[-1] == 100
    all_of_them = EyeConfig(courses=100, steps=1000, at_first=1.0)
    assert all_of_them.due(0) == all_of_them.due(999) == 100


@pytest.mark.parametrize(
    "changes",
    [
        {"courses": 0},
        {"courses": 7201},
        {"at_first": 1.1},
        {"ema": 1.0},
        {"light": 9.0},
        {"processes": 0},
        {"suites": ("looks",)},
        {"suites": ()},
    ],
)
def test_bad_options_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        EyeConfig(**changes)


@needs_pictures
def test_the_command_gives_the_same_eye_each_time(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crnn_snn_ros.training.eye.HELD_OUT", 1)
    again = tmp_path / "again.safetensors"
    assert main([*arguments(again), "--processes", "2"]) == 0
    first, second = (load(path) for path in (taught, again))
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name
    assert first.metrics == second.metrics
    assert first.metrics["eye"]["steps"] == 6
    assert first.trained_heads == ()


class PulledError(Exception):
    """The plug."""


@needs_pictures
def test_cut_off_it_ends_with_the_same_eye(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crnn_snn_ros.training.eye.TOLD_EVERY", 2)
    monkeypatch.setattr("crnn_snn_ros.training.eye.HELD_OUT", 1)
    config = EyeConfig(
        courses=2, glimpses=3, steps=8, batch=3, save_seconds=0.0, device="cpu", ema=0.5
    )
    contract = InputContract(24, 16, "rgb", motion=2)
    told: dict[str, list[float]] = {}
    state = tmp_path / "state.safetensors"

    def taught(name: str, until: int = 8) -> Crnn:
        found = []

        def on_progress(step: int, loss: float, network: Crnn, _: dict[str, float]) -> None:
            told.setdefault(name, []).append(loss)
            found.append(network)
            if step > until:
                raise PulledError

        torch.manual_seed(0)
        network = Crnn(small_config(input_shape=SHAPE))
        teach(network, config, contract, 5.0, state, on_progress)
        return found[-1]

    whole = taught("whole")
    assert not state.exists()
    with pytest.raises(PulledError):
        taught("cut", until=4)
    other = replace(config, learning_rate=0.1)
    with pytest.raises(ConfigError, match="learning_rate"):
        teach(Crnn(small_config(input_shape=SHAPE)), other, contract, 5.0, state, print)
    cut = taught("cut")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, cut.state_dict()[name]), name
    # The losses since it was told of last are kept too, and told of again.
    assert told["cut"] == pytest.approx([*told["whole"][:3], *told["whole"][2:]])
