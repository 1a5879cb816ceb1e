"""An eye taught by glimpses: it learns ranges, is the same each time, and is what dagger keeps."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from sim_support import needs_pictures
from training_samples import small_config

from crnn_snn_ros.cli import main
from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.data.dataset import load_data_config, load_sequences
from crnn_snn_ros.data.scans import BEARINGS
from crnn_snn_ros.io.preprocess import InputContract, rolled
from crnn_snn_ros.io.resources import resource_path
from crnn_snn_ros.sim.glimpses import take_glimpses
from crnn_snn_ros.sim.record import Recording, record_suite
from crnn_snn_ros.sim.suites import Setup
from crnn_snn_ros.training.album import TARGETS, Album, Page, Pages, Photographer, altered
from crnn_snn_ros.training.checkpoint import Origin, load
from crnn_snn_ros.training.config import DaggerConfig, EyeConfig, TrainConfig
from crnn_snn_ros.training.convert import convert
from crnn_snn_ros.training.dagger import dagger
from crnn_snn_ros.training.eye import Pupil, teach, with_eye_on_integers
from crnn_snn_ros.training.network import Crnn
from crnn_snn_ros.training.seen import begin_with_eye
from crnn_snn_ros.training.train import train

SHAPE = (4, 16, 24)


def bars(number: int, seed: int = 0) -> Page:
    """Bright columns, and nearness 1 at their bearing."""
    rng = np.random.default_rng(seed)
    bearings = rng.integers(0, BEARINGS, number)
    pixels = np.full((number, *SHAPE), -100, np.int8)
    near = np.zeros((number, 2, BEARINGS), np.float32)
    for k, bearing in enumerate(bearings):
        column = int((BEARINGS - 1 - bearing) * SHAPE[2] / BEARINGS)  # bearings go from the right
        pixels[k, :3, :, column] = 100
        near[k, :, bearing] = 1.0
    return Page(torch.from_numpy(pixels), torch.from_numpy(near).flatten(1))


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


@needs_pictures
def test_a_glimpse_tells_the_way_of_its_last_period() -> None:
    contract = InputContract(24, 16, "rgb", motion=4, mount=True, steady=True, wheels=True)
    pixels, _ = Photographer(contract, 20.0, 6)(("movers", 1000))
    plain, _ = Photographer(replace(contract, wheels=False), 20.0, 6)(("movers", 1000))
    assert np.array_equal(pixels[:, :7], plain)
    taken = take_glimpses("movers", 1000, 6, Setup(camera=(24, 16), rate_hz=20.0), 4)
    for seen, lately, moved in zip(pixels, taken.lately, taken.moved, strict=True):
        assert np.array_equal(seen[7:], rolled(lately, contract))
        assert lately.turned_rad == pytest.approx(moved.turned_rad / 4)
    assert pixels[:, 7].any()


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


@needs_pictures
def test_motion_is_what_has_changed_since_the_frame_before() -> None:
    still, short, long = (
        Photographer(InputContract(24, 16, "rgb", motion=motion), 5.0, 9)(("rush", 1004))[0]
        for motion in (0, 1, 4)
    )
    assert still.shape == (9, 3, 16, 24)
    for pixels in (short, long):
        assert pixels[:, 3].any()
    assert not np.array_equal(short[:, 3], long[:, 3])


@needs_pictures
def test_an_album_is_kept_for_who_asks_for_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = InputContract(24, 16, "rgb")
    first = Photographer(contract, 5.0, 2, tmp_path)
    taken = first(("rush", 1004))
    monkeypatch.setattr("crnn_snn_ros.training.album.take_glimpses", None)
    for one, other in zip(taken, first(("rush", 1004)), strict=True):
        assert np.array_equal(one, other)
    for asked in (replace(first, glimpses=3), replace(first, contract=InputContract(24, 8, "rgb"))):
        with pytest.raises(TypeError):  # it is to be taken
            asked(("rush", 1004))
    [page] = tmp_path.iterdir()
    page.write_bytes(page.read_bytes()[:-40])
    with pytest.raises(DataError, match=page.name):
        first(("rush", 1004))


def test_a_mirrored_glimpse_has_mirrored_ranges() -> None:
    page = bars(64)
    seen = altered(page, np.random.default_rng(0), 0.0)
    flipped = ~(seen.pixels == page.pixels).flatten(1).all(1)
    assert 10 < flipped.sum() < 54
    assert torch.equal(seen.pixels[flipped], page.pixels[flipped].flip(-1))
    expected = page.nearness.view(64, 2, BEARINGS).flip(-1).flatten(1)
    assert torch.equal(seen.nearness[flipped], expected[flipped])
    assert torch.equal(seen.nearness[~flipped], page.nearness[~flipped])


@needs_pictures
def test_an_eye_goes_on_from_another_one(taught: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.safetensors"
    assert main([*arguments(again), "--from", str(taught), "--learning-rate", "1e-6"]) == 0
    first, second = (load(path) for path in (taught, again))
    weight = "nodes.stem.branches.0.weight"
    step = (first.network.state_dict()[weight] - second.network.state_dict()[weight]).abs().max()
    assert 0.0 < step < 1e-4
    assert second.origin.provenance["start"]["command"].startswith("crnn-snn")


def test_an_album_waits_for_what_is_due_and_passes_on_what_went_wrong() -> None:
    def pages() -> Pages:
        for number in range(2):
            yield (
                np.full((3, *SHAPE), number, np.int8),
                np.zeros((3, TARGETS), np.float32),
            )
        raise ConfigError("no picture")

    album = Album(3, 3, SHAPE, torch.device("cpu"))
    album.fill(pages())
    seen = album.draw(np.random.default_rng(0), 2, 40)
    assert set(seen.pixels[:, 0, 0, 0].tolist()) == {0, 1}
    album.close()
    with pytest.raises(ConfigError, match="no picture"):
        album.draw(np.random.default_rng(0), 3, 4)


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


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("eye") / "eye.safetensors"
    with pytest.MonkeyPatch.context() as context:
        context.setattr("crnn_snn_ros.training.eye.HELD_OUT", 1)
        assert main(arguments(out)) == 0
    return out


def arguments(out: Path) -> list[str]:
    options = {
        "--out": out, "--courses": 3, "--glimpses": 4, "--steps": 6, "--batch": 4,
        "--stem-channels": 6, "--block-channels": 8, "--hidden": 8, "--device": "cpu",
    }  # fmt: skip
    return ["eye", *(str(part) for pair in options.items() for part in pair)]


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

    assert main([*common, "--eye", str(eye), "--from", str(eye)]) == 2
    assert main([*common, "--eye", str(eye), "--out", str(tmp_path / "a")]) == 2  # learns nothing
    assert main([*common, "--eye", str(taught), "--out", str(tmp_path / "b"),
                 "--memory-epochs", "1", "--bits", "2"]) == 0  # fmt: skip


def test_the_eye_of_the_shipped_network_is_what_its_readme_says() -> None:
    eye = load(resource_path("models", "default_float.safetensors"))
    assert eye.origin.contract == InputContract(96, 64, "rgb", motion=8, mount=True, steady=True)
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
