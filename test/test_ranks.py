"""Two processes of torchrun learn what one alone learns."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import parallel_steps
import pytest
import torch
from parallel_steps import three_steps
from torch import nn
from training_samples import bar_bag

from crnn_snn_ros.cli import main
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.training.ranks import ALONE, joined, own_device, share_statistics

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def torchrun(folder: Path, *arguments: object) -> str:
    launcher = ("torch.distributed.run", "--nproc-per-node", "2", "--standalone")
    done = subprocess.run(
        [sys.executable, "-m", *launcher, *map(str, arguments)],
        cwd=folder, capture_output=True, text=True, timeout=150, env=ENVIRONMENT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(300)  # torch starts three times
def test_two_processes_take_the_same_steps(tmp_path):
    one, two = three_steps(), json.loads(torchrun(tmp_path, parallel_steps.__file__))
    assert one["losses"] == pytest.approx(two["losses"], rel=1e-5)
    assert one["tensors"].keys() == two["tensors"].keys()
    for name, values in one["tensors"].items():
        # Sums in another order: a rounding of float32 and, after three steps of Adam, some more.
        assert values == pytest.approx(two["tensors"][name], rel=1e-3, abs=2e-4), name
    # A thread of the process group that is left aborts an exiting process now and then.
    assert not [name for name in two["threads"] if "gloo" in name]


@pytest.mark.timeout(300)  # torch starts three times
def test_torchrun_gives_the_loss_curve_of_one_process(tmp_path, capsys):
    bar_bag(tmp_path / "bag", 90)
    data, curves = tmp_path / "data.yaml", []
    data.write_text(
        "bags: [{path: bag, steering: /steering, collision: /collision}]\n"
        "splits: {train: [0.0, 0.7], validation: [0.7, 1.0]}\nframe_rate_hz: 20\n"
        "input: {width: 32, height: 24, colour: grey}\n"
    )
    options = ("--float-epochs", 2, "--qat-epochs", 2, "--streams", 4, "--window", 4, "--json")
    for processes in (1, 2):
        arguments = [str(word) for word in ("train", data, "--out", tmp_path / str(processes))]
        arguments += map(str, options)
        if processes == 1:
            assert main(arguments) == 0
            said = capsys.readouterr().out
        else:
            said = torchrun(tmp_path, "-m", "crnn_snn_ros.cli", *arguments)
        assert json.loads(said)["validation"]["phase"] == "qat"  # one process prints
        names = {"cache", "float.safetensors", "qat.safetensors", "log.csv"}
        assert {path.name for path in (tmp_path / str(processes)).iterdir()} == names
        with (tmp_path / str(processes) / "log.csv").open() as file:
            curves.append([float(row[name]) for row in csv.DictReader(file)
                           for name in ("train_loss", "validation_loss")])  # fmt: skip
    assert curves[1] == pytest.approx(curves[0], rel=0.02)


def test_alone_nothing_is_exchanged(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined() as ranks:
        assert ranks == ALONE
        assert ranks.as_first(1.0, 2.0) == [1.0, 2.0]
        assert ranks.add_up(torch.tensor([3.0])).tolist() == [3.0]
    network = nn.Sequential(nn.BatchNorm1d(3))
    share_statistics(network, ALONE)
    assert type(network[0]) is nn.BatchNorm1d
    assert own_device(torch.device("cuda")) == torch.device("cuda")


def test_a_broken_environment_is_one_line(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="processes of torchrun do not find each other"), joined():
        pass
