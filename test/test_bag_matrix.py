"""What a recording may look like: storages, compressions, splits, ROS 1, encodings, commands."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from bag_samples import (
    ackermann,
    compressed,
    float32,
    image,
    picture,
    stamp,
    twist,
    twist_stamped,
    write_bag,
    write_ros1_bag,
)
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.data.bags import read_frames, read_info
from crnn_snn_ros.data.data_config import BagConfig, DataConfig, load_data_config
from crnn_snn_ros.data.dataset import load_sequences
from crnn_snn_ros.data.steering import SteeringConfig, read_steering
from crnn_snn_ros.io.images import ENCODINGS, decode_raw
from crnn_snn_ros.io.preprocess import InputContract

COUNT = 6
STEERING = [0.1 * n - 0.2 for n in range(COUNT)]


def rows(ros1: bool = False) -> list:
    made = []
    for n in range(COUNT):
        made.append(("/camera", stamp(n), compressed(n, stamp(n), ros1)))
        made.append(("/steering", stamp(n), float32(STEERING[n], ros1)))
    return made


def plain(folder: Path, storage: StoragePlugin, mode: CompressionMode) -> Path:
    return write_bag(folder / "bag", rows(), storage, mode)


def split(folder: Path, storage: StoragePlugin, mode: CompressionMode) -> Path:
    """Two files with one metadata, as ``ros2 bag record -b`` writes them."""
    half = len(rows()) // 2
    bag = write_bag(folder / "bag", rows()[:half], storage, mode)
    rest = write_bag(folder / "rest", rows()[half:], storage, mode)
    path = bag / "metadata.yaml"
    whole = yaml.safe_load(path.read_text())
    other = yaml.safe_load((rest / "metadata.yaml").read_text())
    about, more = (m["rosbag2_bagfile_information"] for m in (whole, other))
    (file,) = more["relative_file_paths"]
    ending = file.split(".", 1)[1]
    shutil.copy(rest / file, bag / f"bag_1.{ending}")
    about["relative_file_paths"].append(f"bag_1.{ending}")
    about["message_count"] += more["message_count"]
    end = more["starting_time"]["nanoseconds_since_epoch"] + more["duration"]["nanoseconds"]
    begin = about["starting_time"]["nanoseconds_since_epoch"]
    about["duration"]["nanoseconds"] = end - begin
    for mine, its in zip(
        about["topics_with_message_count"], more["topics_with_message_count"], strict=True
    ):
        mine["message_count"] += its["message_count"]
    path.write_text(yaml.safe_dump(whole))
    return bag


def check(bag: Path) -> None:
    frames = list(read_frames(bag))
    assert [frame.stamp_ns for frame in frames] == [stamp(n) for n in range(COUNT)]
    assert all((frame.image == picture(n)).all() for n, frame in enumerate(frames))
    steering = read_steering(bag, "/steering")
    assert steering.stamps_ns.tolist() == [stamp(n) for n in range(COUNT)]
    assert steering.values == pytest.approx(STEERING)
    info = read_info(bag)
    assert info.topics["/camera"].messages == COUNT
    assert info.duration_s == pytest.approx((COUNT - 1) * 0.05)


KINDS = [
    (storage, mode)
    for storage in StoragePlugin
    for mode in CompressionMode
    if (storage, mode) != (StoragePlugin.SQLITE3, CompressionMode.STORAGE)  # there is no such thing
]


@pytest.mark.parametrize(("storage", "mode"), KINDS)
@pytest.mark.parametrize("layout", [plain, split])
def test_every_storage_compression_and_split(tmp_path, storage, mode, layout):
    check(layout(tmp_path, storage, mode))


@pytest.mark.parametrize("compression", [None, *Ros1Writer.CompressionFormat])
def test_bags_of_ros_1(tmp_path, compression):
    check(write_ros1_bag(tmp_path / "drive.bag", rows(ros1=True), compression))


def test_several_bags_of_both_kinds_are_one_data_set(tmp_path):
    first = write_bag(tmp_path / "new", rows())
    second = write_ros1_bag(tmp_path / "old.bag", rows(ros1=True))
    bags = tuple(BagConfig(path, steering="/steering") for path in (first, second))
    config = DataConfig(bags, {"train": (0.0, 1.0)}, 20.0, InputContract(16, 12, "rgb"))
    drives = load_sequences(config, "train", tmp_path / "cache")
    assert [drive.name for drive in drives] == ["new:train", "old.bag:train"]
    assert (drives[0].frames == drives[1].frames).all()
    assert drives[1].steering_rad == pytest.approx(STEERING, abs=1e-6)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("padding", [0, 3])
def test_every_encoding(tmp_path, encoding, padding):
    size = {"mono16": 2, "yuv422": 2, "uyvy": 2, "yuv422_yuy2": 2, "yuyv": 2}
    wide = size.get(encoding, 4 if "a8" in encoding else 3 if encoding in ("rgb8", "bgr8") else 1)
    step = 16 * wide + padding
    content = np.random.default_rng(1).integers(0, 256, (12, step), np.uint8)
    for big_endian in (0, 1):
        message = image(encoding, content, step, stamp(0), big_endian)
        message.width = 16
        (frame,) = read_frames(write_bag(tmp_path / f"bag{big_endian}", [("/i", 5, message)]))
        expected = decode_raw(encoding, 12, 16, step, bool(big_endian), content.tobytes())
        assert (frame.image == expected).all()
        assert frame.stamp_ns == stamp(0)


def test_jpeg_and_unknown_encodings(tmp_path):
    message = compressed(0, stamp(0))
    jpeg = cv2.imencode(".jpg", picture(0)[:, :, ::-1])[1].reshape(-1)
    message.format, message.data = "rgb8; jpeg compressed bgr8", jpeg
    (frame,) = read_frames(write_bag(tmp_path / "jpeg", [("/c", 5, message)]))
    assert frame.image.shape == (12, 16, 3)
    odd = image("nv21", np.zeros((2, 2), np.uint8), 2, stamp(0))
    with pytest.raises(DataError, match=r"odd, /i, frame 0: image encoding 'nv21' is not one of"):
        next(read_frames(write_bag(tmp_path / "odd", [("/i", 5, odd)])))


LATE_NS = 30_000_000  # receipt after the stamp: only messages without a header are moved by it


@pytest.mark.parametrize(
    ("message", "config", "angle", "late"),
    [
        (lambda n: float32(0.1 * n), SteeringConfig(), 0.1, LATE_NS),
        (lambda n: twist(0.5, 0.3 * n), SteeringConfig(yaw_gain=3.0), 0.1, LATE_NS),
        (lambda n: twist_stamped(0.5, 0.3 * n, stamp(n)), SteeringConfig(yaw_gain=3.0), 0.1, 0),
        (
            lambda n: twist_stamped(2.0, 4.0 * np.tan(0.1 * n), stamp(n)),
            SteeringConfig(wheelbase_m=0.5),
            0.1,
            0,
        ),
        (lambda n: ackermann(0.1 * n, stamp(n)), SteeringConfig(), 0.1, 0),
    ],
    ids=["float", "twist", "twist stamped", "twist of a car", "ackermann"],
)
def test_steering_of_every_type(tmp_path, message, config, angle, late):
    bag = write_bag(tmp_path / "bag", [("/cmd", stamp(n) + LATE_NS, message(n)) for n in range(4)])
    steering = read_steering(bag, "/cmd", config)
    assert steering.values == pytest.approx([angle * n for n in range(4)], abs=1e-6)
    assert steering.stamps_ns.tolist() == [stamp(n) + late for n in range(4)]


def test_a_car_that_stands_shows_no_steering_and_turns_are_cut(tmp_path):
    commands = [(0.0, 1.0), (0.5, 1.0), (0.0, -1.0)]
    made = [("/cmd", stamp(n), twist(*command)) for n, command in enumerate(commands)]
    bag = write_bag(tmp_path / "bag", made)
    car = read_steering(bag, "/cmd", SteeringConfig(wheelbase_m=0.3))
    assert car.stamps_ns.tolist() == [stamp(1)]
    assert car.values == pytest.approx([np.arctan(0.6)])
    spot = read_steering(bag, "/cmd", SteeringConfig(yaw_gain=1.0, max_steering_rad=0.4))
    assert spot.values == pytest.approx([0.4, 0.4, -0.4])


def data(folder: Path, bag: Path, **keys: object) -> DataConfig:
    content = {
        "bags": [{"path": str(bag), **keys}],
        "splits": {"train": [0.0, 1.0]},
        "frame_rate_hz": 20,
        "input": {"width": 16, "height": 12, "colour": "rgb"},
    }
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_data_config(path)


@pytest.mark.parametrize(
    ("tolerance_s", "labelled"), [(None, 0), (0.029, 0), (0.03, COUNT), (0.2, COUNT)]
)
def test_the_tolerance_is_what_was_stated(tmp_path, tolerance_s, labelled):
    made = [row for row in rows() if row[0] == "/camera"]
    made += [("/cmd", stamp(n) + LATE_NS, twist(0.5, 0.3)) for n in range(-4, COUNT, 4)]
    bag = write_bag(tmp_path / "bag", made)
    keys = {} if tolerance_s is None else {"tolerance_s": tolerance_s}
    config = data(tmp_path, bag, steering="/cmd", yaw_gain=3.0, **keys)
    (drive,) = load_sequences(config, "train", tmp_path / "cache")
    near = np.isfinite(drive.steering_rad)
    apart = [min(abs(stamp(n) - stamp(k) - LATE_NS) for k in range(-4, COUNT, 4))
             for n in range(COUNT)]  # fmt: skip
    expected = [gap <= (0.025 if tolerance_s is None else tolerance_s) * 1e9 for gap in apart]
    assert near.tolist() == expected
    assert drive.steering_rad[near] == pytest.approx(0.1)
    assert labelled in (0, COUNT)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"yaw_gain": 0}, r"bags\[0\].yaw_gain 0.0 is not within 0..20"),
        ({"wheelbase_m": -1}, r"bags\[0\].wheelbase_m -1.0 is not within"),
        ({"max_steering_rad": 9}, "max_steering_rad 9.0 is not"),
        ({"tolerance_s": -1}, r"bags\[0\].tolerance_s -1.0 is not within 0..60"),
        ({"yaw_gain": "fast"}, r"bags\[0\].yaw_gain is 'fast', expected a number"),
    ],
)
def test_wrong_numbers_of_a_bag_are_named(tmp_path, keys, says):
    with pytest.raises(ConfigError, match=says):
        data(tmp_path, tmp_path, steering="/cmd", **keys)


def refused(folder: Path, made: list, **keys: object) -> str:
    config = data(folder, write_bag(folder / "bag", made), **{"steering": "/steering", **keys})
    with pytest.raises(DataError) as caught:
        load_sequences(config, "train", folder / "cache")
    left = [path.name for path in (folder / "cache").glob(".*")]
    assert left == []  # nothing half-written
    return str(caught.value)


def test_bad_drives_are_refused_with_a_reason(tmp_path):
    def case(name: str) -> Path:
        (tmp_path / name).mkdir()
        return tmp_path / name

    frames = [row for row in rows() if row[0] == "/camera"]
    nan = [*frames, ("/steering", stamp(0), float32(0.1)), ("/steering", stamp(1), float32(np.nan))]
    assert "/steering: value 1 is nan, expected -1.571..1.571" in refused(case("nan"), nan)
    small = image("rgb8", picture(9, 4, 4), 12, stamp(COUNT))
    mixed = [("/camera", at, image("rgb8", picture(n), 48, stamp(n)))
             for n, (_, at, _) in enumerate(frames)]  # fmt: skip
    said = refused(case("sizes"), [*mixed, ("/camera", stamp(COUNT), small)])
    assert "frame 6 has another size, 4x4 and 16x12" in said
    late = [*frames, ("/steering", stamp(100_000), float32(0.1))]
    said = refused(case("late"), late)
    assert "no label of /steering is within 0.025 s of a frame" in said
    assert "its first one is 5000 s away" in said
    back = [("/camera", stamp(n), compressed(n, stamp(-n))) for n in range(3)]
    assert "frame 1 is stamped 0.050 s before" in refused(
        case("back"), [*back, ("/steering", stamp(0), float32(0.0))]
    )
    said = refused(case("topic"), rows(), steering="/wheel")
    assert "no topic /wheel, only /camera (sensor_msgs/msg/CompressedImage), /steering" in said
    said = refused(case("type"), rows(), steering="/camera")
    assert "/camera is sensor_msgs/msg/CompressedImage, expected std_msgs/msg/Float32 or" in said
    stands = [*frames, ("/steering", stamp(0), twist(0.0, 0.1))]
    assert "says nothing of the steering" in refused(case("stands"), stands, wheelbase_m=0.3)
