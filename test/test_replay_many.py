from __future__ import annotations

import numpy as np
import pytest
from test_replay import pipeline
from training_samples import (
    bar_bag,
    checkpoint,
    quantized_network,
    random_network,
    small_config,
)

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.evaluation.drives import choose, label
from crnn_snn_ros.evaluation.replay_many import Candidate, empty_recording, replay_drives
from crnn_snn_ros.io.model_file import save
from crnn_snn_ros.io.processes import Workers
from crnn_snn_ros.training.checkpoint import save as save_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("many")
    for number in range(3):
        bar_bag(made / f"bag{number}", 20 + 10 * number, seed=number)
    for seed in (1, 2):
        save(made / f"model{seed}.snn", pipeline(seed=seed).model)
    save_checkpoint(made / "float.safetensors", checkpoint(random_network(small_config(), 1)))
    save_checkpoint(made / "qat.safetensors", checkpoint(quantized_network(small_config(), 1)))
    return made


@pytest.fixture(scope="module")
def candidates(folder):
    first = Candidate(folder / "model1.snn", float_checkpoint=folder / "float.safetensors")
    return [first, Candidate(folder / "model2.snn")]


@pytest.fixture(scope="module")
def drives(folder):
    return [choose(folder / f"bag{number}", None, 0.0, 1.0) for number in range(3)]


def test_the_number_of_processes_changes_nothing(candidates, drives):
    told = []
    alone = replay_drives(candidates, drives, Workers(), told.append)
    assert told == [1] * 180
    told.clear()
    spread = replay_drives(candidates, drives, Workers(2), told.append)
    assert told == 2 * [20, 30, 40]
    for one, other in zip(alone, spread, strict=True):
        assert one.drives == other.drives == ["bag0", "bag1", "bag2"]
        for field in one.rows.dtype.names:
            np.testing.assert_array_equal(one.rows[field], other.rows[field], err_msg=field)
        assert one.dense_operations == other.dense_operations > 0
        assert one.input_operations == other.input_operations > 0
        assert other.pipeline_s > 0.0
    assert (alone[0].rows["snn"] != alone[1].rows["snn"]).any()
    assert np.isfinite(alone[0].rows["float"]).all()


def test_what_was_done_before_an_error_is_there(candidates, folder, drives):
    (folder / "cut").mkdir()
    for path in (folder / "bag1").iterdir():
        (folder / "cut" / path.name).write_bytes(path.read_bytes())
    cut = choose(folder / "cut", None, 0.0, 1.0)
    mcap = next((folder / "cut").glob("*.mcap"))
    data = bytearray(mcap.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    mcap.write_bytes(data)
    recordings = [empty_recording(candidates[1])]
    with pytest.raises(DataError):
        replay_drives(candidates[1:], [drives[0], cut], Workers(2), recordings=recordings)
    assert (len(recordings[0]), recordings[0].drives) == (20, ["bag0"])


def test_labels_are_those_of_the_bag(candidates, drives):
    (made,) = replay_drives(candidates[1:], drives[1:])
    label(made, drives[1:], ("/steering", "/nothing"), 20.0)
    truth = made.rows["truth"]
    assert np.isfinite(truth[:, 0]).all()
    assert np.isnan(truth[:, 1]).all()


def test_part_of_a_bag(folder):
    drive = choose(folder / "bag0", None, 0.25, 0.5)
    assert (drive.first, drive.last) == (5, 10)
    assert len(list(drive.frames())) == 5
    with pytest.raises(DataError, match="no frame between"):
        choose(folder / "bag0", None, 0.5, 0.51)


def test_a_quantized_checkpoint_is_not_the_float_network(folder):
    candidate = Candidate(folder / "model1.snn", float_checkpoint=folder / "qat.safetensors")
    with pytest.raises(ConfigError, match="is quantized"):
        candidate.original()
