"""A camera and a base that know nothing of ROS: a program of Cyclone DDS, another implementation.

    python test/foreign_peer.py DOMAIN FRAMES PERIOD_S

It looks for the node, then shows frames, and prints every command as a line of JSON with the time
at which it came; at the end it only listens. Annotations are no strings here, because
Cyclone DDS reads the types from them.
"""

import json
import os
import sys
import time
from dataclasses import dataclass

# Loopback only, where the node is told the same; there is no multicast on it.
os.environ["CYCLONEDDS_URI"] = """<CycloneDDS><Domain id="any">
<General><AllowMulticast>false</AllowMulticast>
<Interfaces><NetworkInterface address="127.0.0.1"/></Interfaces></General>
<Discovery><ParticipantIndex>auto</ParticipantIndex>
<MaxAutoParticipantIndex>32</MaxAutoParticipantIndex>
<Peers><Peer address="127.0.0.1"/></Peers></Discovery>
</Domain></CycloneDDS>"""

from cyclonedds.core import Policy, Qos
from cyclonedds.domain import DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.idl.annotations import final
from cyclonedds.idl.types import float64, int32, sequence, uint8, uint32
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration

WIDTH, HEIGHT = 32, 24
LISTEN_S, FIND_S = 2.0, 40.0


@final
@dataclass
class Time(IdlStruct, typename="builtin_interfaces::msg::dds_::Time_"):
    sec: int32
    nanosec: uint32


@final
@dataclass
class Header(IdlStruct, typename="std_msgs::msg::dds_::Header_"):
    stamp: Time
    frame_id: str


@final
@dataclass
class Image(IdlStruct, typename="sensor_msgs::msg::dds_::Image_"):
    header: Header
    height: uint32
    width: uint32
    encoding: str
    is_bigendian: uint8
    step: uint32
    data: sequence[uint8]


@final
@dataclass
class Vector3(IdlStruct, typename="geometry_msgs::msg::dds_::Vector3_"):
    x: float64
    y: float64
    z: float64


@final
@dataclass
class Twist(IdlStruct, typename="geometry_msgs::msg::dds_::Twist_"):
    linear: Vector3
    angular: Vector3


@final
@dataclass
class Vector3Stamped(IdlStruct, typename="geometry_msgs::msg::dds_::Vector3Stamped_"):
    header: Header
    vector: Vector3


def frame(number: int) -> Image:
    """A picture that is neither dark nor bright, with the present time."""
    now_ns = time.time_ns()
    stamp = Time(now_ns // 10**9, now_ns % 10**9)
    pixels = [(7 * n + 31 * number + n * n // 5) % 200 + 25 for n in range(3 * WIDTH * HEIGHT)]
    return Image(Header(stamp, "foreign"), HEIGHT, WIDTH, "bgr8", 0, 3 * WIDTH, pixels)


class Base:
    """Prints what is heard."""

    def __init__(self, participant: DomainParticipant) -> None:
        qos = Qos(Policy.Reliability.Reliable(duration(seconds=1)), Policy.History.KeepLast(100))
        topics = {"cmd_vel": Twist, "prediction": Vector3Stamped}
        self._readers = {
            name: DataReader(participant, Topic(participant, f"rt/{name}", kind), qos)
            for name, kind in topics.items()
        }

    def heard_of_node(self) -> bool:
        return all(reader.get_matched_publications() for reader in self._readers.values())

    def listen(self, until_s: float) -> None:
        while time.monotonic() < until_s:
            for name, reader in self._readers.items():
                for told in reader.take(100):
                    self._print(name, told)
            time.sleep(0.005)

    def _print(self, name: str, told: Twist | Vector3Stamped) -> None:
        line: dict[str, object] = {"topic": name, "at": time.monotonic()}
        if isinstance(told, Twist):
            line |= {"linear": told.linear.x, "angular": told.angular.z}
        else:
            line |= {"steering": told.vector.x, "frame_id": told.header.frame_id}
        print(json.dumps(line), flush=True)


def main(domain: int, frames: int, period_s: float) -> int:
    participant = DomainParticipant(domain)
    image = DataWriter(participant, Topic(participant, "rt/image", Image))
    base = Base(participant)
    end_s = time.monotonic() + FIND_S
    while not (base.heard_of_node() and image.get_matched_subscriptions()):
        if time.monotonic() > end_s:
            print("no node", file=sys.stderr)
            return 1
        time.sleep(0.05)
    base.listen(time.monotonic() + 0.5)
    for number in range(frames):
        image.write(frame(number))
        base.listen(time.monotonic() + period_s)
    print(json.dumps({"topic": "", "at": time.monotonic()}), flush=True)  # no more frames
    base.listen(time.monotonic() + LISTEN_S)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
