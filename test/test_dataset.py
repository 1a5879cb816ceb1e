from __future__ import annotations

import dataclasses
import math
import os
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rosbags.rosbag2 import StoragePlugin, Writer

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.core.mount import CameraMount
from crnn_snn_ros.core.moving import STILL, move
from crnn_snn_ros.core.types import RESET_GAP_S, Command, Moved
from crnn_snn_ros.data import dataset
from crnn_snn_ros.data.bag_writer import BagWriter
from crnn_snn_ros.data.bags import Signal, read_frames
from crnn_snn_ros.data.data_config import BagConfig, DataConfig
from crnn_snn_ros.data.dataset import load_sequences, synchronise
from crnn_snn_ros.data.messages import COMPRESSED_IMAGE, message_store
from crnn_snn_ros.io.preprocess import InputContract, preprocess, see_all

START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 50_000_000
SPLITS = {"train": (0.0, 0.7), "validation": (0.7, 0.85), "test": (0.85, 1.0)}
CONTRACT = InputContract(8, 6, "rgb")


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (12, 16, 3), np.uint8)


def record(path: Path, frames: int = 20, late_ns: int = 0, period_ns: int = PERIOD_NS) -> Path:
    with BagWriter(path) as bag:
        for number in range(frames):
            stamp_ns = START_NS + number * period_ns
            bag.image("/image", stamp_ns, picture(number))
            if number != 5:
                bag.float32("/steering", stamp_ns + late_ns, number / 100)
    return path


def config(*bags: Path, splits=SPLITS, contract=CONTRACT, rate=20.0, **topics: str) -> DataConfig:
    return DataConfig(tuple(BagConfig(bag, **topics) for bag in bags), splits, rate, contract)


def test_splits_share_and_lose_nothing(tmp_path):
    bags = [record(tmp_path / "a", 20), record(tmp_path / "b", 13)]
    data = config(*bags, steering="/steering")
    for index, count in enumerate((20, 13)):
        parts = [load_sequences(data, split, tmp_path / "c")[index] for split in SPLITS]
        assert [part.name for part in parts] == [f"{'ab'[index]}:{split}" for split in SPLITS]
        frames = np.concatenate([part.frames for part in parts])
        expected = np.stack([preprocess(picture(n), CONTRACT) for n in range(count)])
        assert frames.dtype == np.int8
        assert (frames == expected).all()
        stamps = np.concatenate([part.stamps_ns for part in parts])
        assert stamps.tolist() == [START_NS + n * PERIOD_NS for n in range(count)]
        steering = np.concatenate([part.steering_rad for part in parts])
        expected = np.array([np.nan if n == 5 else n / 100 for n in range(count)], np.float32)
        np.testing.assert_array_equal(steering, expected)
        assert all(np.isnan(part.collision).all() for part in parts)
    assert [len(load_sequences(data, split, tmp_path / "c")[0]) for split in SPLITS] == [14, 3, 3]


def test_a_stretch_ends_where_the_node_would_forget(tmp_path):
    contract = InputContract(8, 6, "rgb", motion=2)
    gaps_ns = {4: RESET_GAP_S * 1e9, 7: RESET_GAP_S * 1e9 + 1, 9: 0}  # after these frames
    stamps = np.cumsum([START_NS, *(int(gaps_ns.get(n, PERIOD_NS)) for n in range(11))])
    with BagWriter(tmp_path / "bag") as bag:
        for number, stamp_ns in enumerate(stamps.tolist()):
            bag.image("/image", stamp_ns, picture(number))
            bag.float32("/steering", stamp_ns, number / 100)
    data = config(tmp_path / "bag", splits={"train": (0.0, 1.0)}, contract=contract)
    parts = load_sequences(data, "train", tmp_path / "c")
    stretches = range(8), range(8, 10), range(10, 12)
    for part, numbers in zip(parts, stretches, strict=True):
        assert part.stamps_ns.tolist() == stamps[numbers].tolist()
        assert (part.frames == np.stack(list(see_all(map(picture, numbers), contract)))).all()
        assert not part.frames[0, -1].any()


def test_the_mount_of_the_camera_is_as_it_was_said_last(tmp_path):
    contract = InputContract(8, 6, "rgb", motion=2, mount=True)
    numbers = np.float32([[0.25, 0.0, math.pi / 2], [0.5, 0.125, math.pi / 2]])
    with BagWriter(tmp_path / "raised") as bag:
        for number in range(6):
            stamp_ns = START_NS + number * PERIOD_NS
            bag.image("/image", stamp_ns, picture(number))
            bag.float32("/steering", stamp_ns, number / 100)
            if number in (1, 4):
                bag.float32_array("/camera_mount", stamp_ns, numbers[int(number == 4)])
    data = config(tmp_path / "raised", splits={"train": (0.0, 1.0)}, contract=contract)
    (drive,) = load_sequences(data, "train", tmp_path / "c")
    low, high = [0, 0, 0], [64, 64, 0]
    assert drive.frames[:, -3:, 0, 0].tolist() == [low, low, low, low, high, high]
    bag = dataclasses.replace(data.bags[0], mount=CameraMount(0.125, 0.0, math.pi / 2))
    (drive,) = load_sequences(dataclasses.replace(data, bags=(bag,)), "train", tmp_path / "c")
    assert drive.frames[:, -3:, 0, 0].tolist() == [[-64, 0, 0]] * 6, "the data file has its way"


@pytest.mark.parametrize("floor", [False, True])
def test_how_the_robot_moves_is_told_by_what_drove(tmp_path, floor):
    contract = InputContract(8, 6, "rgb", motion=2, mount=True, steady=True, floor=floor)
    rates = [0.0, 12.0, -12.0, 6.0, 0.0, 0.0]
    with BagWriter(tmp_path / "turning") as bag:
        for number, rate in enumerate(rates):
            stamp_ns = START_NS + number * PERIOD_NS
            bag.image("/image", stamp_ns, picture(number))
            bag.float32("/steering", stamp_ns, number / 100)
            bag.twist_stamped("/cmd_vel", stamp_ns, Command(0.5, rate))
    mounted = CameraMount(0.2, 0.0, 1.5)
    data = config(tmp_path / "turning", splits={"train": (0.0, 1.0)}, contract=contract)
    data = dataclasses.replace(data, bags=(dataclasses.replace(data.bags[0], mount=mounted),))
    (drive,) = load_sequences(data, "train", tmp_path / "c")
    moving, ways = STILL, [Moved()]
    for rate in rates[:-1]:  # a command moves what the frames after it show
        moving = move(moving, Command(0.5, rate), PERIOD_NS / 1e9)
        ways.append(moving.moved)
    assert max(abs(way.turned_rad) for way in ways) > 0.1
    expected = see_all(map(picture, range(6)), contract, mounted, ways)
    assert (drive.frames == np.stack(list(expected))).all()
    unsteady = dataclasses.replace(contract, steady=False, floor=False)
    plain = dataclasses.replace(data, contract=unsteady)
    assert not (load_sequences(plain, "train", tmp_path / "c")[0].frames == drive.frames).all()
    silent = config(record(tmp_path / "bag"), splits={"train": (0.0, 1.0)}, contract=contract)
    with pytest.raises(DataError, match=r"bag .*bag has no /cmd_vel"):
        load_sequences(silent, "train", tmp_path / "c")


def test_a_bag_that_does_not_say_the_mount_is_named(tmp_path):
    contract = InputContract(8, 6, "rgb", mount=True)
    data = config(record(tmp_path / "bag"), splits={"train": (0.0, 1.0)}, contract=contract)
    with pytest.raises(DataError, match=r"bag .* how the camera is mounted"):
        load_sequences(data, "train", tmp_path / "c")
    with BagWriter(tmp_path / "odd") as bag:
        bag.image("/image", START_NS, picture(0))
        bag.float32_array("/camera_mount", START_NS, np.float32([0.25, 0.0]))
    with pytest.raises(DataError, match=r"bag .*odd, /camera_mount: a message has 2 numbers"):
        list(read_frames(tmp_path / "odd"))


@pytest.mark.parametrize(
    ("late_ns", "found"),
    [
        (0, 19),  # frame 5 has no label of its own
        (24_999_999, 19),
        (25_000_000, 20),  # frame 5 takes that of frame 4
        (-25_000_000, 20),  # or of frame 6
        (25_000_001, 18),  # every frame takes that of the one before: none for frames 0 and 6
    ],
)
def test_labels_half_a_period_away_are_taken_and_no_others(tmp_path, late_ns, found):
    bag = record(tmp_path / "bag", late_ns=late_ns)
    data = config(bag, splits={"train": (0.0, 1.0)}, steering="/steering")
    (sequence,) = load_sequences(data, "train", tmp_path / "c")
    assert np.isfinite(sequence.steering_rad).sum() == found


@example(signal=[0, 4], stamps=[2], tolerance=2)  # both equally near: the earlier
@given(
    signal=st.lists(st.integers(-50, 50), max_size=12),
    stamps=st.lists(st.integers(-60, 60), max_size=12),
    tolerance=st.integers(0, 20),
)
def test_nearest_label(signal, stamps, tolerance):
    times = np.array(sorted(signal), np.int64)
    values = np.arange(len(times), dtype=np.float64)
    found = synchronise(Signal(times, values), np.array(stamps, np.int64), tolerance)
    assert found.dtype == np.float32
    for stamp, value in zip(stamps, found, strict=True):
        distances = [abs(int(time) - stamp) for time in times]
        if not distances or min(distances) > tolerance:
            assert np.isnan(value)
        else:
            assert distances[int(value)] == min(distances)
            earliest = next(t for t, d in zip(times, distances, strict=True) if d == min(distances))
            assert times[int(value)] == earliest


def test_a_drive_is_decoded_once(tmp_path, monkeypatch):
    data = config(record(tmp_path / "bag"))
    first = load_sequences(data, "train", tmp_path / "c")[0]

    def fail(*arguments: object, **_: object) -> None:
        raise AssertionError(f"decoded again {arguments}")

    with monkeypatch.context() as patched:
        patched.setattr(dataset, "read_frames", fail)
        again = load_sequences(data, "test", tmp_path / "c")[0]
        assert isinstance(again.frames, np.memmap)
        assert isinstance(first.frames, np.memmap)
        for changed in (
            config(tmp_path / "bag", contract=InputContract(8, 6, "grey")),
            config(tmp_path / "bag", contract=InputContract(8, 6, "rgb", crop_top=0.5)),
        ):
            with pytest.raises(AssertionError, match="decoded again"):
                load_sequences(changed, "train", tmp_path / "c")
        os.utime(tmp_path / "bag" / "bag.mcap", ns=(1, 1))
        with pytest.raises(AssertionError, match="decoded again"):
            load_sequences(data, "train", tmp_path / "c")


def test_memory_stays_bounded(tmp_path):
    ok, data = cv2.imencode(".jpg", np.zeros((64, 96, 3), np.uint8))
    assert ok
    with BagWriter(tmp_path / "bag") as bag:
        for number in range(1500):
            bag.compressed_image("/i", START_NS + number * PERIOD_NS, "jpeg", data.tobytes())
    settings = config(tmp_path / "bag", contract=InputContract(96, 64, "rgb"))
    load_sequences(config(record(tmp_path / "warm")), "test", tmp_path / "c")
    tracemalloc.start()
    (sequence,) = load_sequences(settings, "train", tmp_path / "c")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sequence.frames.shape == (1050, 3, 64, 96)
    assert peak < 8e6  # the frames are 28 MB


def test_what_is_wrong_is_named(tmp_path):
    bag = record(tmp_path / "bag")
    cache = tmp_path / "c"
    with pytest.raises(ConfigError, match="split 'test' is not in the data set: train"):
        load_sequences(config(bag, splits={"train": (0.0, 1.0)}), "test", cache)
    with pytest.raises(DataError, match="split 'test' is empty, of 20 frames"):
        load_sequences(config(bag, splits={"test": (0.5, 0.51)}), "test", cache)
    with pytest.raises(DataError, match="has no topic /steer, only"):
        load_sequences(config(bag, steering="/steer"), "test", cache)
    with pytest.raises(DataError, match=r"has 20 Hz, frame_rate_hz is 30"):
        load_sequences(config(bag, rate=30.0), "test", cache)
    with pytest.raises(DataError, match="is missing"):
        load_sequences(config(tmp_path / "gone"), "test", cache)
    assert all(not p.name.startswith(".") for p in cache.iterdir())


def test_labels_out_of_range_are_refused(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        for number in range(4):
            bag.image("/image", START_NS + number * PERIOD_NS, picture(number))
            bag.float32("/degrees", START_NS + number * PERIOD_NS, 10.0 * number)
    with pytest.raises(DataError, match=r"/degrees: value 1 is 10, expected -1.571..1.571"):
        load_sequences(config(tmp_path / "bag", steering="/degrees"), "train", tmp_path / "c")
    with pytest.raises(DataError, match=r"/degrees: value 1 is 10, expected 0..1"):
        load_sequences(config(tmp_path / "bag", collision="/degrees"), "train", tmp_path / "c")


def test_stamps_that_run_back_are_refused(tmp_path):
    store = message_store()
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/i", COMPRESSED_IMAGE, typestore=store)
        for number, sec in enumerate((10, 11, 12, 11)):
            time = store.types["builtin_interfaces/msg/Time"](sec=sec, nanosec=0)
            message = store.types[COMPRESSED_IMAGE](
                header=store.types["std_msgs/msg/Header"](stamp=time, frame_id=""),
                format="png",
                data=cv2.imencode(".png", picture(0))[1].reshape(-1),
            )
            raw = store.serialize_cdr(message, COMPRESSED_IMAGE)
            writer.write(connection, START_NS + number, raw)
    with pytest.raises(DataError, match=r"frame 3 is stamped 1\.000 s before"):
        load_sequences(config(tmp_path / "bag", rate=1.0), "train", tmp_path / "c")
