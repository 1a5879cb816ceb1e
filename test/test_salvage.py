"""Damaged bags: what is whole is saved, and what is lost is counted."""

from __future__ import annotations

import random
import shutil
import sqlite3
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_samples import compressed, float32, laser_scan, stamp, write_bag, write_ros1_bag
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from test_bag_matrix import KINDS, rows

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.data.bags import read_frames, read_info, read_messages, read_signal
from crnn_snn_ros.data.messages import LASER_SCAN
from crnn_snn_ros.data.salvage import Saved, is_bag, salvage

COUNT = 200  # frames and labels each: several chunks, pages and blocks


def long_rows() -> list:
    made = []
    for n in range(COUNT):
        made.append(("/camera", stamp(n), compressed(n, stamp(n), scale=2)))
        made.append(("/steering", stamp(n), float32(n / COUNT)))
    return made


def the_file(bag: Path) -> Path:
    return next(path for path in bag.iterdir() if path.name != "metadata.yaml")


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def require_consistent(saved: Saved, bag: Path) -> int:
    """What was counted is in the bag, and all that is in the bag can be read; frames saved."""
    info = read_info(bag)
    assert {name: topic.messages for name, topic in info.topics.items()} == {
        name: topic.saved for name, topic in saved.topics.items() if topic.saved
    }
    for topic in saved.topics.values():
        if topic.expected is not None:
            assert topic.saved + topic.undecodable + topic.lost == topic.expected
    frames = list(read_frames(bag)) if "/camera" in info.topics else []
    assert len(frames) == saved.topics["/camera"].saved
    return len(frames)


@pytest.mark.parametrize(("storage", "mode"), KINDS)
def test_a_whole_bag_loses_nothing(tmp_path, storage, mode):
    bag = write_bag(tmp_path / "bag", rows(), storage, mode)
    assert is_bag(bag)
    saved = salvage(bag, tmp_path / "out")
    assert (saved.saved, saved.lost, saved.notes) == (12, 0, [])
    assert require_consistent(saved, tmp_path / "out") == 6


@pytest.mark.parametrize(("storage", "mode"), KINDS)
@pytest.mark.parametrize("share", [0.35, 0.9])
def test_a_bag_that_was_cut_gives_its_beginning(tmp_path, storage, mode, share):
    bag = write_bag(tmp_path / "bag", long_rows(), storage, mode)
    cut(the_file(bag), share)
    saved = salvage(bag, tmp_path / "out")
    frames = require_consistent(saved, tmp_path / "out")
    assert saved.lost == 2 * COUNT - saved.saved > 0
    assert saved.notes
    # Not only what an index still knows: about as much as there is of the file.
    assert frames >= 0.5 * share * COUNT
    begin = [frame.stamp_ns for frame in read_frames(tmp_path / "out")]
    assert begin == [stamp(n) for n in range(frames)]


@pytest.mark.parametrize("compression", [None, *Ros1Writer.CompressionFormat])
@pytest.mark.parametrize("share", [1.0, 0.6])
def test_bags_of_ros_1(tmp_path, compression, share):
    made = [("/camera", stamp(n), compressed(n, stamp(n), True, 2)) for n in range(COUNT)]
    bag = write_ros1_bag(tmp_path / "drive.bag", made, compression)
    cut(bag, share)
    if compression is Ros1Writer.CompressionFormat.BZ2 and share < 1.0:
        with pytest.raises(DataError, match="nothing can be saved of"):  # one block of bzip2
            salvage(bag, tmp_path / "out")
        return
    saved = salvage(bag, tmp_path / "out")
    frames = require_consistent(saved, tmp_path / "out")
    assert saved.lost is None  # a ROS 1 bag does not say how many there were, if it is cut
    assert frames == COUNT if share == 1.0 else 0.4 * COUNT < frames < COUNT
    assert bool(saved.notes) == (share < 1.0)


def test_flipped_bits_are_told_of(tmp_path):
    whole = write_bag(tmp_path / "whole", long_rows())
    content = the_file(whole).read_bytes()
    chance = random.Random(3)
    told = 0
    for number in range(12):
        bag = tmp_path / f"bag{number}"
        shutil.copytree(whole, bag)
        broken = bytearray(content)
        broken[chance.randrange(len(broken) // 8, len(broken) // 2)] ^= 1 << chance.randrange(8)
        the_file(bag).write_bytes(broken)
        saved = salvage(bag, tmp_path / f"out{number}")
        require_consistent(saved, tmp_path / f"out{number}")
        suspect = sum(topic.suspect + topic.undecodable for topic in saved.topics.values())
        told += (noticed := bool(saved.lost or suspect or saved.notes))
        if not noticed:  # it hit an index, which nobody needs here
            values = read_signal(tmp_path / f"out{number}", "/steering").values
            assert values == pytest.approx([n / COUNT for n in range(COUNT)])
    assert told >= 9


def test_lost_pages_of_a_database_are_stepped_over(tmp_path):
    bag = write_bag(tmp_path / "bag", long_rows(), StoragePlugin.SQLITE3)
    path = the_file(bag)
    base = sqlite3.connect(path)
    (size,) = base.execute("PRAGMA page_size").fetchone()
    base.close()
    content = bytearray(path.read_bytes())
    middle = len(content) // size // 2 * size
    content[middle : middle + 2 * size] = bytes(2 * size)
    path.write_bytes(content)
    saved = salvage(bag, tmp_path / "out")
    frames = require_consistent(saved, tmp_path / "out")
    assert 0 < saved.lost < 40
    assert frames > COUNT - 40


@pytest.mark.parametrize("storage", list(StoragePlugin))
def test_a_long_message_whose_end_is_lost_is_not_made_up(tmp_path, storage):
    """Of several pages of a database: zeros at its end would be a plausible scan."""

    def ranges(n: int) -> np.ndarray:
        return np.random.default_rng(n).uniform(0.2, 7.0, 5000).astype(np.float32)

    made = [("/scan", stamp(n), laser_scan(ranges(n), stamp(n), -1, 1)) for n in range(12)]
    whole = write_bag(tmp_path / "whole", made, storage)
    length = the_file(whole).stat().st_size
    pages = [length - 4096 * count for count in range(1, 8)]  # the last one of a message, once
    for number, size in enumerate([length // 3, length // 2, *pages]):
        bag, out = tmp_path / f"bag{number}", tmp_path / f"out{number}"
        shutil.copytree(whole, bag)
        cut(the_file(bag), size / length)
        saved = salvage(bag, out)
        found = list(read_messages(out, "/scan", (LASER_SCAN,)))
        assert len(found) == saved.saved == 12 - saved.lost
        for message in found:
            n = round((message.stamp_ns - stamp(0)) / (stamp(1) - stamp(0)))
            assert (message.content.ranges == ranges(n)).all()


def test_a_recorder_that_was_killed_left_its_journal(tmp_path):
    bag = write_bag(tmp_path / "bag", rows(), StoragePlugin.SQLITE3)
    path = the_file(bag)
    base = sqlite3.connect(path)
    base.execute("PRAGMA journal_mode=WAL")
    base.execute("PRAGMA wal_autocheckpoint=0")
    data = base.execute("SELECT topic_id, timestamp, data FROM messages LIMIT 1").fetchone()
    base.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES (?, ?, ?)", data)
    base.commit()
    killed = tmp_path / "killed"
    killed.mkdir()
    for file in bag.iterdir():  # as they lie on the disk while the recorder still runs
        shutil.copy(file, killed / file.name)
    base.close()
    (killed / "metadata.yaml").unlink()
    saved = salvage(killed, tmp_path / "out")
    assert saved.saved == 13
    assert saved.lost is None
    assert "nobody knows how many" in saved.notes[0]


def test_messages_that_are_none_are_left_out_and_counted(tmp_path):
    made = rows()
    made[4][2].data = made[4][2].data[:30]  # a PNG without its end
    bag = write_bag(tmp_path / "bag", made)
    saved = salvage(bag, tmp_path / "out")
    assert saved.topics["/camera"].undecodable == 1
    assert saved.topics["/camera"].saved == 5
    assert saved.lost == 1
    require_consistent(saved, tmp_path / "out")


@pytest.mark.parametrize("name", ["run #3", "50%20", "what?"])
def test_a_database_in_a_folder_of_any_name(tmp_path, name):
    written, folder = write_bag(tmp_path / "bag", rows(), StoragePlugin.SQLITE3), tmp_path / name
    folder.mkdir()
    bag = Path(shutil.move(written, folder / "bag"))
    cut(the_file(bag), 0.9)
    before = sorted(tmp_path.rglob("*"))
    saved = salvage(bag, folder / "out")
    assert require_consistent(saved, folder / "out") > 0
    made = [path for path in tmp_path.rglob("*") if path not in before]
    assert all(path.is_relative_to(folder / "out") for path in made)


def test_a_topic_that_changes_its_type_is_saved_as_it_began(tmp_path):
    bag = write_bag(tmp_path / "bag", [("/x", stamp(n), float32(n)) for n in range(4)])
    later = [("/x", stamp(n), compressed(n, stamp(n))) for n in range(4, 7)]
    shutil.copy(the_file(write_bag(tmp_path / "later", later)), bag / "later.mcap")
    (bag / "metadata.yaml").unlink()
    saved = salvage(bag, tmp_path / "out")
    assert (saved.topics["/x"].saved, saved.topics["/x"].undecodable) == (4, 3)
    assert any("/x is std_msgs/msg/Float32 in this bag" in note for note in saved.notes)
    assert read_signal(tmp_path / "out", "/x").values.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_nothing_to_save(tmp_path):
    (tmp_path / "empty").mkdir()
    assert not is_bag(tmp_path / "empty")
    with pytest.raises(DataError, match=r"holds no \.mcap, \.db3 or \.bag file"):
        salvage(tmp_path / "empty", tmp_path / "out")
    for name in ("x.mcap", "x.db3", "x.bag"):
        (tmp_path / name).write_bytes(b"no bag at all" * 20)
        with pytest.raises(DataError, match=r"nothing can be saved of .*x"):
            salvage(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "write"), [("x.mcap", write_bag), ("x.bag", write_ros1_bag)])
def test_damaged_files_raise_nothing_but_data_error(tmp_path, name, write):
    ros1 = name == "x.bag"
    target = tmp_path / ("drive.bag" if ros1 else "bag")
    write(target, rows(ros1=ros1))
    content = (target if ros1 else the_file(target)).read_bytes()
    chance = random.Random(4)
    for number in range(30):
        broken = bytearray(content)
        for _ in range(chance.randint(1, 8)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        at = chance.randrange(len(broken) - 4)
        if number % 3 == 0:  # a length that lies
            broken[at : at + 4] = struct.pack("<I", chance.randrange(2**32))
        (tmp_path / name).write_bytes(broken[: chance.randrange(len(broken) // 2, len(broken))])
        try:
            saved = salvage(tmp_path / name, tmp_path / f"out{number}")
        except DataError:
            assert not (tmp_path / f"out{number}").exists()
            continue
        read_info(tmp_path / f"out{number}")
        assert saved.saved > 0


def test_depth_images_and_unknown_types_are_copied(tmp_path):
    depth = cv2.imencode(".png", np.zeros((4, 4), np.uint16))[1].reshape(-1)
    message = compressed(0, stamp(0))
    message.format, message.data = (
        "16UC1; compressedDepth png",
        np.append(np.zeros(12, "u1"), depth),
    )
    bag = write_bag(tmp_path / "bag", [("/d/compressedDepth", 5, message), *rows()])
    saved = salvage(bag, tmp_path / "out")
    assert saved.lost == 0
    assert saved.topics["/d/compressedDepth"].saved == 1


def test_values_survive(tmp_path):
    bag = write_bag(tmp_path / "bag", long_rows(), mode=CompressionMode.FILE)
    salvage(bag, tmp_path / "out")
    values = read_signal(tmp_path / "out", "/steering").values
    assert values == pytest.approx([n / COUNT for n in range(COUNT)])
