"""A bag through the node: the same bytes on every run, those of ``crnn-snn replay``, and a golden.

After a change that is meant to change commands or predictions, look at the differences that

    python test/test_process_replay.py && git diff test/data/process_replay.txt

makes, and commit them with it. One line a frame: its stamp (ns), then as exact decimal numbers
steering (rad), collision probability, settled, linear (m/s) and angular (rad/s). Probability and
filters take exponentials of the C library: if only a last digit differs on a new machine, it is
that library's. The model was made once by ``ros_peer.small_model``.
"""

from __future__ import annotations

import os
import struct
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from geometry_msgs.msg import TwistStamped, Vector3Stamped
from ros_peer import DOMAIN, HEIGHT, ROOT, WIDTH
from rosbags.rosbag2 import Reader
from std_msgs.msg import Float32

from crnn_snn_ros import cli
from crnn_snn_ros.data.bag_writer import BagWriter
from crnn_snn_ros.data.bags import read_frames
from crnn_snn_ros.ros.lockstep import DEPTH, Player, check, node_process

DATA = Path(__file__).parent / "data"
MODEL, GOLDEN = DATA / "process_replay.snn", DATA / "process_replay.txt"
FRAMES, GAP = 80, 50  # before frame GAP two seconds pass, which clears the network's memory
TOPICS = {
    "prediction": Vector3Stamped,
    "activity": Vector3Stamped,
    "steering": Float32,
    "collision_probability": Float32,
    "cmd_vel": TwistStamped,
}
TWIST_BYTES = 48  # six doubles, the last of a Twist and of a TwistStamped
Bytes = dict[str, list[bytes]]  # by topic, as they came over the wire


def drive(folder: Path) -> Path:
    """A bag of pictures made by arithmetic, which is the same with any library."""
    rows, columns, _ = np.ogrid[:HEIGHT, :WIDTH, :3]
    with BagWriter(folder / "drive") as bag:
        for n in range(FRAMES):
            stamp_ns = 10**18 + n * 50_000_000 + (n >= GAP) * 2_000_000_000
            pixels = 3 * n * columns + (5 + n) * rows + 11 * ((columns * rows + n * n) % 19)
            image = np.broadcast_to(pixels % 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
            bag.image("/image", stamp_ns, image)
    return folder / "drive"


def through_the_node(bag: Path, log: Path) -> Bytes:
    heard: Bytes = defaultdict(list)
    with node_process(log, {"model": str(MODEL)}) as process, closing(Player()) as player:
        for topic, kind in TOPICS.items():
            player.node.create_subscription(kind, topic, heard[topic].append, DEPTH, raw=True)
        player.find_node(partial(check, process, log))
        for topic in TOPICS:
            heard[topic].clear()  # zeros of the watchdog, before the first frame
        for n, frame in enumerate(read_frames(bag)):
            player.ask(frame)
            whole = partial(all_came, heard, n + 1)
            player.listen_until(whole, 10.0, f"not everything about frame {n} came")
    return dict(heard)


def all_came(heard: Bytes, count: int) -> bool:
    return all(len(heard[topic]) == count for topic in TOPICS)


def offline(bag: Path, out: Path) -> Bytes:
    """What ``crnn-snn replay --out`` wrote."""
    assert cli.main(["replay", str(MODEL), str(bag), "--out", str(out), "--json"]) == 0
    told: Bytes = defaultdict(list)
    with Reader(out / "predictions") as reader:
        for connection, _, raw in reader.messages():
            told[connection.topic.lstrip("/")].append(bytes(raw))
    return told


def lines(told: Bytes) -> Iterator[str]:
    """What the golden file says of it."""
    for prediction, command in zip(told["prediction"], told["cmd_vel"], strict=True):
        sec, nanosec = struct.unpack_from("<iI", prediction, 4)
        x, y, z = struct.unpack("<3d", prediction[-24:])
        linear, _, _, _, _, angular = struct.unpack("<6d", command[-TWIST_BYTES:])
        yield f"{sec * 10**9 + nanosec} {x!r} {y!r} {z:g} {linear!r} {angular!r}"


@pytest.fixture
def bag(tmp_path, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(DOMAIN))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return drive(tmp_path)


def test_the_same_bytes_on_every_run_and_offline(bag, tmp_path, capsys):
    once, again = (through_the_node(bag, tmp_path / name) for name in ("one.log", "two.log"))
    assert once == again
    told = offline(bag, tmp_path / "replayed")
    capsys.readouterr()
    for topic in ("prediction", "steering", "collision_probability"):
        assert once[topic] == told[topic], topic
    moved = [command[-TWIST_BYTES:] for command in once["cmd_vel"]]
    assert moved == [command[-TWIST_BYTES:] for command in told["cmd_vel"]]
    found = list(lines(once))
    assert len({line.split()[1] for line in found}) > 10, "the golden must say something"
    assert len({line.split()[4] for line in found}) > 10
    assert found == GOLDEN.read_text(encoding="utf-8").splitlines()


def regenerate() -> None:
    with TemporaryDirectory() as folder:
        told = through_the_node(drive(Path(folder)), Path(folder, "node.log"))
    GOLDEN.write_text("".join(f"{line}\n" for line in lines(told)), encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    sys.exit(regenerate())
