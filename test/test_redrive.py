"""Simulated drives anew: the same way, other pictures."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bag_samples import compressed, stamp, write_bag
from sim_support import needs_pictures

from crnn_snn_ros.cli import main
from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.core.types import Command
from crnn_snn_ros.data.bags import read_frames, read_info, read_messages, read_signal
from crnn_snn_ros.data.data_config import BagConfig, load_data_config
from crnn_snn_ros.data.messages import TWIST_STAMPED
from crnn_snn_ros.io.preprocess import InputContract
from crnn_snn_ros.sim.record import Recording, record_suite
from crnn_snn_ros.sim.redrive import Recorded, redrive
from crnn_snn_ros.sim.suites import BLIND, SUITES, Setup, run_course

SEED = 1003
WIDE = InputContract(32, 16, "rgb", motion=4, mount=True, fov_deg=115.0)


def commands(bag: Path) -> list[Command]:
    return [
        Command(message.content.twist.linear.x, message.content.twist.angular.z)
        for message in read_messages(bag, "/cmd_vel", (TWIST_STAMPED,))
    ]


@pytest.fixture
def driven(tmp_path: Path) -> Path:
    """A drive with noise, that changes its looks."""
    recording = Recording(tmp_path / "first", "validation", noise_radps=0.4, look_frames=8)
    record_suite(BLIND["straight"], "movers", [SEED], Setup(camera=(24, 16)), recording)
    return recording.folder / f"movers_{SEED}"


@needs_pictures
def test_the_way_is_the_same_and_the_camera_another(driven: Path, tmp_path: Path) -> None:
    again = Recording(tmp_path / "again", contract=WIDE)
    (outcome,) = redrive([BagConfig(driven)], Setup.of(WIDE, 20.0), again)
    bag = again.folder / driven.name
    assert commands(bag) == commands(driven)
    before, after = (list(read_frames(path)) for path in (driven, bag))
    assert [frame.stamp_ns for frame in before] == [frame.stamp_ns for frame in after]
    assert outcome is not None
    assert outcome.time_s == pytest.approx(len(after) / 20.0, abs=0.05)
    assert after[0].image.shape == (16, 32, 3)
    for one, other in zip(before[:8], after[:8], strict=True):
        narrow, wide = (0.5 * frame.mount.horizontal_fov_rad for frame in (one, other))
        assert math.tan(wide) / math.tan(narrow) == pytest.approx(math.tan(math.radians(57.5)))
    config = load_data_config(again.folder / "data.yaml")
    assert config.contract == WIDE
    assert [entry.split for entry in config.bags] == ["validation"], "for what it was for"
    assert redrive([BagConfig(driven)], Setup.of(WIDE, 20.0), again) == [None], "it is there"
    narrow = replace(WIDE, fov_deg=90.0)
    with pytest.raises(ConfigError, match="with another camera; record to another folder"):
        redrive([BagConfig(driven)], Setup.of(narrow, 20.0), replace(again, contract=narrow))


@needs_pictures
def test_through_the_same_camera_it_is_the_same_drive(driven: Path, tmp_path: Path) -> None:
    again = Recording(tmp_path / "again", look_frames=8)
    redrive([BagConfig(driven, split="train")], Setup(camera=(24, 16)), again)
    bag = again.folder / driven.name
    assert read_info(bag).about["split"] == "train", "as the data file says"
    for one, other in zip(read_frames(driven), read_frames(bag), strict=True):
        assert np.array_equal(one.image, other.image)
    for topic in ("/steering", "/collision"):
        assert np.array_equal(read_signal(driven, topic), read_signal(bag, topic))


@needs_pictures
def test_what_cannot_be_driven_anew_is_refused_first(driven: Path, tmp_path: Path) -> None:
    setup, again = Setup(camera=(24, 16)), Recording(tmp_path / "again")
    twice = [BagConfig(driven), BagConfig(tmp_path / "elsewhere" / driven.name)]
    with pytest.raises(ConfigError, match=f"several drives are called {driven.name}"):
        redrive(twice, setup, again)
    slower = replace(setup, rate_hz=10.0)
    with pytest.raises(DataError, match="has 20 frames a second, frame_rate_hz of the data file"):
        redrive([BagConfig(driven)], slower, again)
    assert not again.folder.exists()
    assert main(["redrive", str(driven.parent / "data.yaml"), "--out", str(driven.parent)]) == 2


@needs_pictures
def test_a_course_that_has_become_another_is_refused(driven: Path, tmp_path: Path) -> None:
    """As it looks where the drive of one seed bears the name of another."""
    other = tmp_path / f"movers_{SEED + 1}"
    shutil.copytree(driven, other)
    about = other / "metadata.yaml"
    about.write_text(about.read_text().replace(f"'{SEED}'", f"'{SEED + 1}'"))
    again = Recording(tmp_path / "again")
    with pytest.raises(DataError, match="another course"):
        redrive([BagConfig(other)], Setup(camera=(24, 16)), again)
    assert not (again.folder / other.name).exists()


def test_a_drive_that_ends_elsewhere_is_told(tmp_path: Path) -> None:
    course = SUITES["static"].course(SEED)
    few = Recorded([Command(0.5, 0.0)] * 3, tmp_path)
    with pytest.raises(DataError, match="another course"):
        run_course(lambda _: few, course, None)
    many = Recorded([Command(1.0, 0.0)] * 5000, tmp_path)
    run_course(lambda _: many, course, None)
    with pytest.raises(DataError, match="another course"):
        many.require_end()


def test_a_bag_of_a_real_robot_is_refused(tmp_path: Path) -> None:
    frames = [("/image", stamp(number), compressed(number, stamp(number))) for number in range(3)]
    write_bag(tmp_path / "robot", frames)
    with pytest.raises(DataError, match="no drive of this simulator"):
        redrive([BagConfig(tmp_path / "robot")], Setup(), Recording(tmp_path / "again"))
