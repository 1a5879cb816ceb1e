"""The predictions bag, read back by rosbags and by the mcap library."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from mcap.reader import make_reader
from rosbags.rosbag2 import Reader
from test_replay import frames, pipeline

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.data.bags import read_info
from crnn_snn_ros.data.messages import message_store
from crnn_snn_ros.evaluation.predictions import write_predictions
from crnn_snn_ros.evaluation.replay import replay

TYPES = {
    "/prediction": "geometry_msgs/msg/Vector3Stamped",
    "/steering": "std_msgs/msg/Float32",
    "/collision_probability": "std_msgs/msg/Float32",
    "/cmd_vel": "geometry_msgs/msg/Twist",
}


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    made = replay(frames(30, gaps=(11,)), pipeline(seed=2), name="first")
    replay(frames(5), pipeline(seed=2), recording=made, name="second")
    made.rows["settled"][7] = False
    path = tmp_path_factory.mktemp("bags") / "predictions"
    write_predictions(path, made, 0, {"model": "bar.snn"})
    return made, path


def test_rosbags_reads_what_was_predicted(bag):
    made, path = bag
    rows = made.of_drive(0)
    info = read_info(path)
    assert {name: topic.msgtype for name, topic in info.topics.items()} == TYPES
    assert info.about["model"] == "bar.snn"
    found: dict[str, list] = {name: [] for name in TYPES}
    with Reader(path) as reader:
        for connection, stamp_ns, raw in reader.messages():
            message = message_store().deserialize_cdr(raw, connection.msgtype)
            found[connection.topic].append((stamp_ns, message))
    for messages in found.values():
        assert [stamp for stamp, _ in messages] == rows["stamp_ns"].tolist()
    for row, (stamp_ns, message) in zip(rows, found["/prediction"], strict=True):
        assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec == stamp_ns
        vector = message.vector
        assert (vector.x, vector.y, vector.z) == (*row["snn"], float(row["settled"]))
    assert found["/prediction"][7][1].vector.z == 0.0
    steering = [message.data for _, message in found["/steering"]]
    np.testing.assert_array_equal(steering, rows["snn"][:, 0].astype(np.float32))
    collision = [message.data for _, message in found["/collision_probability"]]
    np.testing.assert_array_equal(collision, rows["snn"][:, 1].astype(np.float32))
    commands = [(m.linear.x, m.angular.z) for _, m in found["/cmd_vel"]]
    np.testing.assert_array_equal(commands, rows["command"])


def test_the_mcap_library_reads_the_same(bag):
    """Nothing of rosbags in it: the messages are taken apart by hand, as CDR says."""
    made, path = bag
    rows = made.of_drive(0)
    found: dict[str, list] = {name: [] for name in TYPES}
    with next(path.glob("*.mcap")).open("rb") as file:
        for schema, channel, message in make_reader(file).iter_messages():
            assert schema.name == TYPES[channel.topic]
            found[channel.topic].append((message.log_time, message.data))
    for messages in found.values():
        assert [stamp for stamp, _ in messages] == rows["stamp_ns"].tolist()
    twists = [struct.unpack("<4x6d", data) for _, data in found["/cmd_vel"]]
    np.testing.assert_array_equal([(t[0], t[5]) for t in twists], rows["command"])
    steering = [struct.unpack("<4xf", data) for _, data in found["/steering"]]
    np.testing.assert_array_equal(steering, rows["snn"][:, :1].astype(np.float32))


def test_an_existing_bag_is_kept(bag):
    made, path = bag
    with pytest.raises(DataError, match="exists"):
        write_predictions(path, made, 1)
