"""Simulated drives as bags."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sim_support import needs_pictures
from training_samples import random_network, small_config

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.types import Command
from crnn_snn_ros.core.ways import STEERING_RAD, soft_minimum
from crnn_snn_ros.data.bag_writer import BagWriter
from crnn_snn_ros.data.bags import read_frames, read_info, read_messages, read_signal
from crnn_snn_ros.data.data_config import BagConfig, DataConfig, load_data_config
from crnn_snn_ros.data.dataset import load_sequences
from crnn_snn_ros.data.labels.labelling import label_bag
from crnn_snn_ros.data.labels.rules import Rules
from crnn_snn_ros.data.labels.sensors import Mount
from crnn_snn_ros.data.labels.tube import RobotShape
from crnn_snn_ros.data.messages import LASER_SCAN
from crnn_snn_ros.data.tables import read_way_costs
from crnn_snn_ros.io.preprocess import InputContract, see_all, told
from crnn_snn_ros.sim.expert import Expert
from crnn_snn_ros.sim.record import Recording, Wandering, record_course, record_suite
from crnn_snn_ros.sim.simulator import SCAN_REACH_M, Observation, Simulator
from crnn_snn_ros.sim.suites import (
    BLIND,
    SUITES,
    PipelinePolicy,
    Setup,
    Straight,
    driving,
    run_course,
    teacher,
)
from crnn_snn_ros.training.checkpoint import Checkpoint, Origin
from crnn_snn_ros.training.float_loop import FloatLoop

SEED = 1003  # an easy corridor


@needs_pictures
def test_a_drive_and_its_labels_come_back_from_the_bag(tmp_path) -> None:
    bag, setup = tmp_path / f"static_{SEED}", Setup()
    outcome = record_course(BLIND["straight"], "static", setup, Recording(tmp_path), SEED)
    suite = SUITES["static"]
    frames = list(read_frames(bag))
    stamps, steering = read_signal(bag, "/steering")
    _, collision = read_signal(bag, "/collision")
    ways = read_way_costs(bag, "/way_costs")
    assert read_info(bag).about["seed"] == str(SEED)
    assert [frame.stamp_ns for frame in frames] == list(stamps) == list(ways.stamps_ns)
    assert collision[-1] > 0.5 > collision[0], "it ends at a wall, and the label saw it"
    with Simulator(suite.course(SEED), suite.look(SEED)) as simulator:
        labels, driver, seen = teacher(simulator), Straight(), None
        for frame, label, way_costs in zip(frames, steering, ways.rows, strict=True):
            seen = simulator.observation if seen is None else simulator.step(driver.act(seen))
            assert np.array_equal(frame.image, seen.frame.image)
            assert frame.mount == pytest.approx(seen.frame.mount)
            assert told(frame.mount) == told(seen.frame.mount)
            answer = labels.labels(seen.state, seen.time_s)
            assert np.float32(answer.steering_rad) == label
            assert np.array_equal(np.array(answer.way_costs, np.float32), way_costs)
            if answer.speed_mps > 0.0:  # else it may turn only as far as it needs
                chosen = soft_minimum(np.array(answer.way_costs[1:-1]), STEERING_RAD, 0.04)
                assert chosen == pytest.approx(answer.steering_rad, abs=0.05)
    assert outcome == run_course(BLIND["straight"], suite.course(SEED), suite.look(SEED))


@needs_pictures
@pytest.mark.parametrize("more", [{}, {"floor": True}, {"wheels": True}], ids=str)
def test_what_a_network_drove_by_is_what_is_learned_from_it(tmp_path, more) -> None:
    contract = InputContract(24, 16, "rgb", motion=4, mount=True, steady=True, **more)
    shape = contract.channels, 16, 24
    network = random_network(small_config(input_shape=shape, block_channels=(8,)), gain=9.0)
    loop = FloatLoop(
        Checkpoint(network, Origin(contract, 20.0, {}), ("steering", "collision"), {}), driving()
    )
    seen = []

    class Watched(PipelinePolicy):
        def act(self, observation: Observation) -> Command:
            answer, self._state = loop.step(observation.frame, self._state)
            seen.append(answer.pixels)
            return answer.command

    setup = Setup(camera=(24, 16), rate_hz=20.0)
    recording = Recording(tmp_path, contract=contract)
    record_suite(lambda _: Watched(loop), "static", [SEED], setup, recording)
    data = load_data_config(tmp_path / "data.yaml")
    drive = load_sequences(data, "train", tmp_path / "cache")[0]
    assert np.array_equal(drive.frames, np.stack(seen))
    turning = np.stack(seen)[:, 3] != np.stack(list(see_all(
        (frame.image for frame in read_frames(tmp_path / f"static_{SEED}")),
        InputContract(24, 16, "rgb", motion=4),
    )))[:, 3]  # fmt: skip
    assert turning.any(), "else nothing was steadied"


@needs_pictures
def test_looks_change_on_the_way_and_nothing_else(tmp_path) -> None:
    paths, pictures, labels = [], [], []
    for frames in (0, 5):
        recording = Recording(tmp_path / str(frames), look_frames=frames)
        paths.append(record_course(BLIND["straight"], "static", Setup(), recording, SEED).path)
        bag = recording.folder / f"static_{SEED}"
        pictures.append([frame.image for frame in read_frames(bag)])
        labels.append(read_signal(bag, "/steering"))
    assert paths[0] == paths[1]
    assert np.array_equal(labels, labels[::-1])
    same = [np.array_equal(one, other) for one, other in zip(*pictures, strict=True)]
    assert same == [number < 5 for number in range(len(same))], "the first five frames only"
    assert len(same) > 20
    means = [picture.mean() for picture in pictures[1]]
    jumps = np.abs(np.diff(means))
    assert np.median(jumps[4::5]) > 5.0 > np.median(np.delete(jumps, np.s_[4::5]))


@needs_pictures
def test_a_folder_of_drives_is_a_data_set(tmp_path) -> None:
    for split, seeds in (("train", (SEED, SEED + 1)), ("validation", (2000,))):
        recording = Recording(tmp_path, split, noise_radps=0.3)
        record_suite(BLIND["straight"], "static", seeds, Setup(), recording)
    config = load_data_config(tmp_path / "data.yaml")
    drives = load_sequences(config, "train", tmp_path / "cache")
    assert [drive.name for drive in drives] == [f"static_{SEED + n}:train" for n in range(2)]
    assert len(drives[0]) == len(list(read_frames(tmp_path / f"static_{SEED}"))), "all of it"
    assert all(np.isfinite(drive.steering_rad).all() for drive in drives)
    (held_out,) = load_sequences(config, "validation", tmp_path / "cache")
    assert held_out.name == "static_2000:validation"
    again = Recording(tmp_path, "train", noise_radps=0.3)
    assert record_suite(BLIND["straight"], "static", (SEED,), Setup(), again) == []


@needs_pictures
def test_what_cannot_be_in_one_data_file_is_refused_before_anybody_drives(tmp_path) -> None:
    recording = Recording(tmp_path, scan_rays=8)
    record_suite(BLIND["straight"], "static", (SEED,), Setup(camera=(24, 16)), recording)
    for other in (Setup(camera=(32, 16)), Setup(camera=(24, 16), fov_deg=115.0)):
        with pytest.raises(ConfigError, match="of drives with another camera"):
            record_suite(BLIND["straight"], "static", (SEED + 1,), other, Recording(tmp_path))
    plain = Recording(tmp_path)
    record_suite(BLIND["straight"], "static", (SEED + 1,), Setup(camera=(24, 16)), plain)
    with_scan, without = load_data_config(tmp_path / "data.yaml").bags
    assert (with_scan.scan, without.scan) == ("/scan", None), "as each bag has it"
    with BagWriter(tmp_path / "of_mine", {}) as bag:
        bag.float32("/steering", 0, 0.0)
    with pytest.raises(ConfigError, match="of_mine is no drive of this simulator"):
        record_suite(BLIND["straight"], "static", (SEED + 2,), Setup(camera=(24, 16)), plain)
    assert not (tmp_path / f"static_{SEED + 2}").exists()


def test_a_bag_is_for_one_split(tmp_path) -> None:
    bags = (BagConfig(tmp_path, split="train"), BagConfig(tmp_path / "." / "", split="validation"))
    with pytest.raises(ConfigError, match="for split train and again for validation"):
        DataConfig(bags, {"train": (0.0, 0.5), "validation": (0.5, 1.0)}, 20.0,
                   InputContract(96, 64, "rgb"))  # fmt: skip


def test_a_bag_names_a_split_that_there_is(tmp_path) -> None:
    bag = BagConfig(tmp_path, split="holiday")
    with pytest.raises(ConfigError, match="split 'holiday'"):
        DataConfig((bag,), {"train": (0.0, 1.0)}, 20.0, InputContract(96, 64, "rgb"))


def test_noise_is_smooth_of_the_right_size_and_repeats() -> None:
    driver = Wandering(Straight(), 5, 0.3, 20.0)
    noise = np.array([driver.act(None).angular_radps for _ in range(4000)])
    driver.reset()
    assert [driver.act(None).angular_radps for _ in range(10)] == list(noise[:10])
    assert 0.2 < noise.std() < 0.4
    assert np.abs(np.diff(noise)).max() < 0.5
    assert Wandering(Straight(), 5, 0.0, 20.0).act(None) == Command(1.0, 0.0)


@needs_pictures
def test_a_recorded_scan_is_the_simulators(tmp_path) -> None:
    recording = Recording(tmp_path, scan_rays=90)
    record_course(BLIND["straight"], "static", Setup(), recording, SEED)
    bag, suite = tmp_path / f"static_{SEED}", SUITES["static"]
    stamps = [frame.stamp_ns for frame in read_frames(bag)]
    scans = list(read_messages(bag, "/scan", (LASER_SCAN,)))
    assert [scan.stamp_ns for scan in scans] == stamps
    known = []
    with Simulator(suite.course(SEED), None) as simulator:
        driver, judge = Straight(), Expert(simulator.course, simulator.robot)
        for scan in scans:
            ranges, said = simulator.scan(90), scan.content.ranges
            near = ranges < SCAN_REACH_M
            assert near.any()
            np.testing.assert_array_equal(said[near], ranges[near].astype(np.float32))
            assert np.isposinf(said[~near]).all()
            seen = simulator.observation
            known.append(judge.time_to_contact_s(seen.state, seen.time_s) < math.inf)
            simulator.step(driver.act(simulator.observation))
    first = scans[0].content
    assert first.header.frame_id == "base_scan"
    assert first.angle_min + 89 * first.angle_increment == pytest.approx(first.angle_max)
    labels = label_bag(bag, Rules(scan="/scan", motion="/cmd_vel"), RobotShape(), Mount())
    assert ((labels.collision > 0.5) == known).mean() > 0.9
    with pytest.raises(ConfigError, match="rays of a scan are -1"):
        Recording(tmp_path, scan_rays=-1)
    with pytest.raises(ConfigError, match="frames of a look are -1"):
        Recording(tmp_path, look_frames=-1)


@needs_pictures
def test_a_drive_has_no_scan_unless_it_is_asked_for(tmp_path) -> None:
    record_course(BLIND["straight"], "static", Setup(), Recording(tmp_path), SEED)
    assert "/scan" not in read_info(tmp_path / f"static_{SEED}").topics
