"""A run that is cut off at any moment and gone on with ends with the same bytes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training_samples import CONTRACT, RATE_HZ, bar_bag, bar_drive, small_config

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.data.dataset import Sequence
from crnn_snn_ros.data.scans import BEARINGS
from crnn_snn_ros.training import state
from crnn_snn_ros.training.augment import AugmentConfig
from crnn_snn_ros.training.checkpoint import Checkpoint, Origin
from crnn_snn_ros.training.config import NetworkConfig, TrainConfig
from crnn_snn_ros.training.train import train

FILES = ("float.safetensors", "qat.safetensors", "log.csv")
LOOKS = AugmentConfig(noise=4.0, occlusion=0.4, shift=0.1)
EVERYTHING = {"ema": 0.9, "amp": True, "balance": True, "patience": 5, "metric": "collision_auroc"}


class CutError(Exception):
    """The plug is pulled."""


def run(
    out: Path, resume: bool = False, network: NetworkConfig | None = None, **options: object
) -> Checkpoint:
    fields = {"float_epochs": 2, "qat_epochs": 2, "window": 6, "streams": 3, "device": "cpu",
              "save_seconds": 0.0, "augment": LOOKS}  # fmt: skip
    config = TrainConfig(**(fields | options))
    drives, validation = [bar_drive(20), bar_drive(14, seed=2)], [bar_drive(30, seed=1)]
    origin = Origin(CONTRACT, RATE_HZ, {"seed": 0})
    return train(
        drives, validation, network or small_config(), config, origin, out, lambda _: None,
        resume=resume,
    )  # fmt: skip


def cut_after(monkeypatch: pytest.MonkeyPatch, writes: int, out: Path, **options: object) -> bool:
    """Pull the plug just before a state would be written again; whether the run got that far."""
    left, write = [writes], state.write

    def limited(*arguments: object) -> None:
        if left[0] == 0:
            raise CutError
        left[0] -= 1
        write(*arguments)

    with monkeypatch.context() as context:
        context.setattr(state, "write", limited)
        try:
            run(out, **options)
        except CutError:
            return True
    return False


def bytes_of(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in FILES}


def test_cut_after_every_step_it_ends_with_the_same_bytes(tmp_path, monkeypatch):
    run(tmp_path / "whole", **EVERYTHING)
    expected = bytes_of(tmp_path / "whole")
    writes = 0
    while cut_after(monkeypatch, writes, tmp_path / str(writes), **EVERYTHING):
        run(tmp_path / str(writes), resume=True, **EVERYTHING)
        assert bytes_of(tmp_path / str(writes)) == expected, f"cut after {writes} states"
        writes += 1
    assert writes == 2 + 2 * 2 * 3  # the beginning of each phase, and steps


def test_a_probe_goes_on_where_it_was(tmp_path, monkeypatch):
    plain = bar_drive

    def scanned(*arguments: int, **named: int) -> Sequence:
        drive = plain(*arguments, **named)
        ranges = np.linspace(0.5, 4.0, len(drive) * BEARINGS, dtype=np.float32)
        return replace(drive, ranges_m=ranges.reshape(len(drive), BEARINGS))

    monkeypatch.setattr(f"{__name__}.bar_drive", scanned)
    options = {"scan_weight": 3.0, "float_epochs": 1, "memory_epochs": 1, "qat_epochs": 1}
    run(tmp_path / "whole", **options)
    for writes, phase in ((3, "float"), (6, "float_memory")):
        out = tmp_path / phase
        assert cut_after(monkeypatch, writes, out, **options)
        kept = state.read(out / state.NAME)
        assert kept.phase == phase
        assert any(name.startswith("probe.") for name in kept.tensors) == (phase == "float")
        run(out, resume=True, **options)
        assert bytes_of(out) == bytes_of(tmp_path / "whole"), phase


def test_cut_again_and_again(tmp_path, monkeypatch):
    run(tmp_path / "whole")
    out, cuts = tmp_path / "cut", 0
    while cut_after(monkeypatch, 2, out, resume=True):  # one step further each time
        cuts += 1
    assert cuts >= 4
    assert bytes_of(out) == bytes_of(tmp_path / "whole")


def test_states_that_are_seldom_written_cost_steps_but_change_nothing(tmp_path, monkeypatch):
    options = {"save_seconds": 1e9}
    run(tmp_path / "whole", **options)
    assert cut_after(monkeypatch, 1, tmp_path / "cut", **options)
    assert state.read(tmp_path / "cut" / state.NAME).phase == "float"
    run(tmp_path / "cut", resume=True, **options)
    assert bytes_of(tmp_path / "cut") == bytes_of(tmp_path / "whole")


def test_a_run_that_has_ended_is_not_run_again(tmp_path, monkeypatch):
    first = run(tmp_path)
    before = bytes_of(tmp_path)
    assert not (tmp_path / state.NAME).exists()
    assert not cut_after(monkeypatch, 0, tmp_path, resume=True)  # no state is ever written
    assert bytes_of(tmp_path) == before
    assert run(tmp_path, resume=True).metrics == first.metrics
    with pytest.raises(ConfigError, match=r"qat\.safetensors has been trained already"):
        run(tmp_path, resume=True, network=small_config(bits=2))
    plain = bar_drive

    def otherwise(*arguments: int, **named: int) -> Sequence:
        drive = plain(*arguments, **named)
        return replace(drive, steering_rad=-drive.steering_rad)

    monkeypatch.setattr(f"{__name__}.bar_drive", otherwise)
    with pytest.raises(ConfigError, match="trained already, by other labels"):
        run(tmp_path, resume=True)


def test_another_run_is_refused_and_nothing_is_lost(tmp_path, monkeypatch):
    (tmp_path / ".0123abcd.tmp.mine.txt").write_text("not of this program")
    cut_after(monkeypatch, 5, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ConfigError, match=r"cut off: go on with it by --resume, or remove"):
        run(tmp_path)
    for name, other in (("learning_rate", 0.1), ("seed", 5), ("qat_epochs", 9), ("window", 5)):
        with pytest.raises(ConfigError, match=f"another {name} "):
            run(tmp_path, resume=True, **{name: other})
    with pytest.raises(ConfigError, match="another bits "):
        run(tmp_path, resume=True, network=small_config(bits=2))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    (tmp_path / ".0123abcd.tmp.state.safetensors").write_bytes(b"killed while this was written")
    run(tmp_path, resume=True, save_seconds=3.0)  # what changes no weight may change
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, ".0123abcd.tmp.mine.txt"}


def test_damaged_states_are_named(tmp_path, monkeypatch):
    cut_after(monkeypatch, 6, tmp_path)
    path = tmp_path / state.NAME
    whole = path.read_bytes()
    other = state.read(path)
    tensors = {name: value for name, value in other.tensors.items() if "rnn1" not in name}
    state.write(path, other._replace(tensors=tensors))
    stripped = path.read_bytes()
    for damaged in (b"", whole[:-9], whole[: len(whole) // 2], stripped):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"state\.safetensors: not a state to go on from") as e:
            run(tmp_path, resume=True)
        assert "\n" not in str(e.value)


def test_a_state_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    cut_after(monkeypatch, 6, tmp_path)
    before = (tmp_path / state.NAME).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space"):
            run(tmp_path, resume=True)
    assert (tmp_path / state.NAME).read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if ".tmp" in path.name]
    run(tmp_path, resume=True)


@pytest.mark.timeout(400)  # five starts of torch
def test_a_process_that_is_killed_goes_on(tmp_path):
    """kill -9 at random moments of `crnn-snn train`, from its first file to its last."""
    bar_bag(tmp_path / "bag", 60)
    (tmp_path / "data.yaml").write_text(
        "bags: [{path: bag, steering: /steering, collision: /collision}]\n"
        "splits: {train: [0.0, 0.7], validation: [0.7, 1.0]}\nframe_rate_hz: 20\n"
        "input: {width: 32, height: 24, colour: grey}\n"
    )
    command = [
        *(sys.executable, "-m", "crnn_snn_ros.cli", "train", "../data.yaml", "--out", "out"),
        *("--float-epochs", "8", "--qat-epochs", "8", "--streams", "2", "--save-seconds", "0"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    subprocess.run(command, cwd=tmp_path / "whole", check=True, timeout=150, env=environment)
    draw, out, kills = random.Random(), tmp_path / "killed" / "out", 0
    for _ in range(3):
        process = subprocess.Popen([*command, "--resume"], cwd=tmp_path / "killed", env=environment)
        before = time_of(out / state.NAME)
        while time_of(out / state.NAME) == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(draw.uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills > 0
    subprocess.run(
        [*command, "--resume"], cwd=tmp_path / "killed", check=True, timeout=150, env=environment
    )
    assert bytes_of(out) == bytes_of(tmp_path / "whole" / "out")
    assert {path.name for path in out.iterdir()} == {"cache", *FILES}


def time_of(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0
