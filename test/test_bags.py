from __future__ import annotations

import os
import random
import shutil
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.core.types import Command
from crnn_snn_ros.data.bag_writer import BagWriter
from crnn_snn_ros.data.bags import find_image_topic, read_frames, read_info, read_signal
from crnn_snn_ros.data.messages import COMPRESSED_IMAGE, FLOAT32, message_store

START_NS = 1_700_000_000_123_456_789
SHARED = Path(os.environ.get("CRNN_SNN_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (12, 16, 3), np.uint8)


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()


def stamp(number: int) -> int:
    return START_NS + number * 50_000_000


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """Three compressed frames and three steering angles, in a folder named like a ROS 1 bag."""
    path = tmp_path / "drive.bag"
    with BagWriter(path, {"licence": "MIT"}) as bag:
        for number in range(3):
            bag.compressed_image("/camera/c", stamp(number), "png", png(picture(number)))
            bag.float32("/steering", stamp(number), number / 4)
    return path


def test_what_was_written_is_read(drive):
    frames = list(read_frames(drive))
    assert [frame.stamp_ns for frame in frames] == [stamp(n) for n in range(3)]
    assert all((frame.image == picture(n)).all() for n, frame in enumerate(frames))
    signal = read_signal(drive, "/steering")
    assert signal.stamps_ns.tolist() == [stamp(n) for n in range(3)]
    assert signal.values.tolist() == [0.0, 0.25, 0.5]
    info = read_info(drive)
    assert info.about == {"licence": "MIT"}
    assert info.topics == {"/camera/c": (COMPRESSED_IMAGE, 3), "/steering": (FLOAT32, 3)}
    assert sorted(p.name for p in drive.iterdir()) == ["drive.bag.mcap", "metadata.yaml"]
    assert [p.name for p in drive.parent.iterdir()] == ["drive.bag"]


def test_single_file_is_read(drive):
    assert len(list(read_frames(drive / "drive.bag.mcap"))) == 3


def test_another_reader_agrees(drive):
    reader = pytest.importorskip("mcap.reader")
    with (drive / "drive.bag.mcap").open("rb") as file:
        messages = list(reader.make_reader(file, validate_crcs=True).iter_messages())
    steering = [m.data for _, channel, m in messages if channel.topic == "/steering"]
    assert [np.frombuffer(data[4:], "<f4")[0] for data in steering] == [0.0, 0.25, 0.5]
    assert {schema.name for schema, _, _ in messages} == {COMPRESSED_IMAGE, FLOAT32}


@pytest.mark.parametrize("storage", list(StoragePlugin))
@pytest.mark.parametrize(
    "mode", [CompressionMode.NONE, CompressionMode.FILE, CompressionMode.MESSAGE]
)
def test_every_storage_and_compression(tmp_path, drive, storage, mode):
    path = tmp_path / "other"
    writer = Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer, Reader(drive) as reader:
        new = {
            c.topic: writer.add_connection(c.topic, c.msgtype, typestore=message_store())
            for c in reader.connections
        }
        for connection, received_ns, raw in reader.messages():
            writer.write(new[connection.topic], received_ns, raw)
    assert [f.image.tolist() for f in read_frames(path)] == [picture(n).tolist() for n in range(3)]
    assert read_signal(path, "/steering").values.tolist() == [0.0, 0.25, 0.5]


def test_raw_images_and_commands(tmp_path):
    path = tmp_path / "raw"
    with BagWriter(path) as bag:
        bag.image("/raw", stamp(0), picture(7)[:, ::-1], frame_id="left")
        bag.twist("/cmd_vel", stamp(0), Command(0.5, -0.25))
        bag.twist_stamped("/cmd_vel_stamped", stamp(1), Command(0.5, -0.25))
        bag.vector3_stamped("/prediction", stamp(1), (0.1, 0.9, 1.0), frame_id="left")
    (frame,) = read_frames(path, "/raw")
    assert frame.stamp_ns == stamp(0)
    assert (frame.image == picture(7)[:, ::-1]).all()
    found = {}
    with Reader(path) as reader:
        for connection, received_ns, raw in reader.messages():
            message = message_store().deserialize_cdr(raw, connection.msgtype)
            found[connection.topic] = (received_ns, message)
    assert found["/raw"][1].header.frame_id == "left"
    twist = found["/cmd_vel"][1]
    assert (twist.linear.x, twist.linear.y, twist.angular.z) == (0.5, 0.0, -0.25)
    received_ns, stamped = found["/cmd_vel_stamped"]
    assert received_ns == stamp(1)
    assert stamped.header.stamp.sec * 10**9 + stamped.header.stamp.nanosec == stamp(1)
    assert (stamped.twist.linear.x, stamped.twist.angular.z) == (0.5, -0.25)
    vector = found["/prediction"][1].vector
    assert (vector.x, vector.y, vector.z) == (0.1, 0.9, 1.0)


@pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")  # of the wheels' lark
def test_ros_itself_reads_the_messages(tmp_path):
    serialization = pytest.importorskip("rclpy.serialization")
    from geometry_msgs.msg import Twist, TwistStamped, Vector3Stamped
    from sensor_msgs.msg import CompressedImage, Image
    from std_msgs.msg import Float32

    with BagWriter(tmp_path / "bag") as bag:
        bag.compressed_image("/CompressedImage", stamp(0), "png", png(picture(0)))
        bag.image("/Image", stamp(0), picture(0))
        bag.float32("/Float32", stamp(0), 0.5)
        bag.twist("/Twist", stamp(0), Command(0.5, -0.25))
        bag.twist_stamped("/TwistStamped", stamp(0), Command(0.5, -0.25))
        bag.vector3_stamped("/Vector3Stamped", stamp(0), (1.0, 2.0, 3.0))
    read = {}
    with Reader(tmp_path / "bag") as reader:
        for connection, _, raw in reader.messages():
            kinds = (CompressedImage, Float32, Image, Twist, TwistStamped, Vector3Stamped)
            kind = next(k for k in kinds if k.__name__ == connection.topic[1:])
            read[kind.__name__] = serialization.deserialize_message(bytes(raw), kind)
    assert bytes(read["CompressedImage"].data) == png(picture(0))
    assert read["CompressedImage"].format == "png"
    image = read["Image"]
    assert (image.height, image.width, image.step, image.encoding) == (12, 16, 48, "rgb8")
    assert bytes(image.data) == picture(0).tobytes()
    assert read["Float32"].data == 0.5
    assert (read["Twist"].linear.x, read["TwistStamped"].twist.angular.z) == (0.5, -0.25)
    vector = read["Vector3Stamped"]
    assert (vector.vector.x, vector.vector.y, vector.vector.z) == (1.0, 2.0, 3.0)
    assert vector.header.stamp.sec * 10**9 + vector.header.stamp.nanosec == stamp(0)
    assert vector.header.frame_id == "camera"


def test_unstamped_images_take_the_time_of_receipt(tmp_path):
    store = message_store()
    zero = store.types["builtin_interfaces/msg/Time"](sec=0, nanosec=0)
    message = store.types[COMPRESSED_IMAGE](
        header=store.types["std_msgs/msg/Header"](stamp=zero, frame_id=""),
        format="png",
        data=np.frombuffer(png(picture(0)), np.uint8),
    )
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/c", COMPRESSED_IMAGE, typestore=store)
        writer.write(connection, 42, store.serialize_cdr(message, COMPRESSED_IMAGE))
    assert [frame.stamp_ns for frame in read_frames(tmp_path / "bag")] == [42]


def test_signal_is_sorted_by_stamp(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        for number in (2, 0, 1):
            bag.float32("/s", stamp(number), float(number))
    assert read_signal(tmp_path / "bag", "/s").values.tolist() == [0.0, 1.0, 2.0]


def test_wrong_topics_are_named(drive, tmp_path):
    with pytest.raises(DataError, match=r"no topic /image, only /camera/c \(sensor_msgs"):
        next(read_frames(drive, "/image"))
    with pytest.raises(DataError, match=r"/steering is std_msgs/msg/Float32, expected sensor_msgs"):
        next(read_frames(drive, "/steering"))
    with pytest.raises(DataError, match=r"/camera/c is sensor_msgs.*expected std_msgs/msg/Float32"):
        read_signal(drive, "/camera/c")
    with BagWriter(tmp_path / "two") as bag:
        bag.image("/left", stamp(0), picture(0))
        bag.compressed_image("/right", stamp(0), "png", png(picture(0)))
        bag.compressed_image("/depth/compressedDepth", stamp(0), "png", png(picture(0)))
    with pytest.raises(DataError, match=r"several image topics, name one: /left, /right$"):
        next(read_frames(tmp_path / "two"))
    assert find_image_topic(tmp_path / "two", "/left") == "/left"
    with BagWriter(tmp_path / "none") as bag:
        bag.float32("/s", stamp(0), 1.0)
    with pytest.raises(DataError, match=r"no image topic, only /s \(std_msgs/msg/Float32\)"):
        next(read_frames(tmp_path / "none"))


def test_bad_frame_is_located(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        bag.compressed_image("/c", stamp(0), "png", png(picture(0)))
        bag.compressed_image("/c", stamp(1), "png", png(picture(1))[:-20])
    frames = read_frames(tmp_path / "bag")
    next(frames)
    with pytest.raises(DataError, match="bag, /c, frame 1: PNG image is cut"):
        next(frames)


@pytest.mark.parametrize("storage", list(StoragePlugin))
def test_empty_bags(tmp_path, storage):
    with Writer(tmp_path / "empty", version=9, storage_plugin=storage):
        pass
    with pytest.raises(DataError, match="no image topic, only nothing at all"):
        next(read_frames(tmp_path / "empty"))
    with Writer(tmp_path / "silent", version=9, storage_plugin=storage) as writer:
        writer.add_connection("/c", COMPRESSED_IMAGE, typestore=message_store())
        writer.add_connection("/s", FLOAT32, typestore=message_store())
    with pytest.raises(DataError, match="/c has no messages"):
        next(read_frames(tmp_path / "silent"))
    with pytest.raises(DataError, match="/s has no messages"):
        read_signal(tmp_path / "silent", "/s")


def test_missing_bags(tmp_path):
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(DataError, match="is missing, or has no metadata"):
            read_info(path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"Unrecognized storage format '\.txt'"):
        read_info(tmp_path / "notes.txt")


def drain(path: Path) -> tuple[int, int]:
    """Frames and angles that can be read of a damaged bag; 0 where a DataError says why not."""
    counts = [0, 0]
    for index, read in enumerate(
        (lambda: list(read_frames(path)), lambda: read_signal(path, "/steering").values)
    ):
        with suppress(DataError):
            counts[index] = len(read())
    return counts[0], counts[1]


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of rosbags, which loses its open file
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
def test_damaged_bags_raise_nothing_but_data_error(tmp_path, drive, suffix):
    whole = tmp_path / "whole"
    storage = StoragePlugin.MCAP if suffix == ".mcap" else StoragePlugin.SQLITE3
    with Writer(whole, version=9, storage_plugin=storage) as writer, Reader(drive) as reader:
        for old in reader.connections:
            new = writer.add_connection(old.topic, old.msgtype, typestore=message_store())
            for _, received_ns, raw in reader.messages([old]):
                writer.write(new, received_ns, raw)
    file = next(whole.glob(f"*{suffix}"))
    content = file.read_bytes()
    chance = random.Random(5)
    for length in [0, 1, 8, len(content) - 1, *chance.sample(range(len(content)), 40)]:
        file.write_bytes(content[:length])
        # sqlite pads its pages: a file that lost only padding is whole.
        assert drain(whole) in ((0, 0), (0, 3), (3, 0), (3, 3))
        assert suffix == ".db3" or drain(whole) == (0, 0)
        drain(file)
    for _ in range(150):
        broken = bytearray(content)
        for _ in range(chance.randint(1, 5)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        file.write_bytes(broken)
        drain(whole)
        drain(file)
    file.unlink()
    with pytest.raises(DataError, match="files are missing"):
        read_info(whole)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_damaged_metadata_raises_nothing_but_data_error(drive):
    metadata = drive / "metadata.yaml"
    content = metadata.read_bytes()
    chance = random.Random(6)
    for _ in range(100):
        broken = bytearray(content)
        for _ in range(chance.randint(1, 5)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        metadata.write_bytes(broken)
        drain(drive)
        metadata.write_bytes(content[: chance.randrange(len(content))])
        drain(drive)


def test_writer_refuses_what_exists_and_leaves_nothing_after_an_error(tmp_path, drive):
    before = (drive / "metadata.yaml").read_bytes()
    with pytest.raises(DataError, match="exists: remove it"), BagWriter(drive):
        pass
    assert (drive / "metadata.yaml").read_bytes() == before

    def fail() -> None:
        with BagWriter(tmp_path / "deep" / "new") as bag:
            bag.float32("/s", stamp(0), 1.0)
            assert not (tmp_path / "deep" / "new").exists()
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fail()
    assert list((tmp_path / "deep").iterdir()) == []


def test_writer_refuses_wrong_messages(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        bag.float32("/s", stamp(0), 1.0)
        with pytest.raises(DataError, match=r"/s is std_msgs/msg/Float32 in this bag"):
            bag.twist("/s", stamp(0), Command(0.0, 0.0))
        with pytest.raises(DataError, match="does not fit a ROS time"):
            bag.vector3_stamped("/v", -1, (0.0, 0.0, 0.0))
        with pytest.raises(DataError, match="expected uint8"):
            bag.image("/i", stamp(0), np.zeros((2, 2, 4), np.uint8))


def test_writer_names_an_impossible_place(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DataError, match="cannot be written"),
        BagWriter(tmp_path / "file" / "bag"),
    ):
        pass


def test_frames_stream(tmp_path):
    """Stopping early closes the bag: nothing is left open."""
    with BagWriter(tmp_path / "bag") as bag:
        for number in range(5):
            bag.image("/i", stamp(number), picture(number))
    frames = read_frames(tmp_path / "bag")
    next(frames)
    frames.close()
    shutil.rmtree(tmp_path / "bag")


def test_error_of_the_consumer_is_not_taken_for_a_damaged_bag(drive):
    def consume() -> None:
        for _ in read_frames(drive):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        consume()


def test_foreign_bag_of_a_turtlebot():
    bag = SHARED / "turtlebot_scan_cmdvel_bags" / "test_bag"
    if not bag.is_dir():
        pytest.skip(f"no foreign bags in {SHARED}")
    assert read_info(bag).topics["/cmd_vel"] == ("geometry_msgs/msg/Twist", 1802)
    with pytest.raises(DataError, match="no image topic, only /cmd_vel"):
        next(read_frames(bag))
