"""Several nodes, or several cameras, on one network."""

from __future__ import annotations

import time

import pytest
from geometry_msgs.msg import Twist, Vector3Stamped
from ros_peer import NodeProcess, Peer, arguments, frames, running, small_model
from sensor_msgs.msg import Image

from crnn_snn_ros.ros import messages

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def model(tmp_path):
    return small_model(tmp_path / "small.snn")


def heard(publisher) -> bool:
    return publisher.get_subscription_count() == 1


def test_two_in_their_own_namespaces_do_not_meet(model, tmp_path):
    """Each has its camera and its commands; one that is stopped does not stop the other."""
    peer, nodes = Peer(), {}
    try:
        for name, more in (("one", {}), ("two", {"enabled": False})):
            settings = arguments(allow_untrained=True, model=model, min_rate=0.0, **more)
            nodes[name] = NodeProcess(tmp_path / name, [*settings, "-r", f"__ns:=/{name}"])
            peer.listen(f"/{name}/cmd_vel", Twist)
            peer.listen(f"/{name}/prediction", Vector3Stamped)
        cameras = [peer.node.create_publisher(Image, f"/{name}/image", 5) for name in nodes]
        peer.wait(lambda: all(map(heard, cameras)), "both nodes", timeout_s=40.0)
        for frame in frames(24):
            for camera in cameras:
                camera.publish(messages.image(frame._replace(stamp_ns=time.time_ns())))
            time.sleep(0.05)
        for name in nodes:
            assert len(peer.heard[f"/{name}/prediction"]) > 8
        moved = {
            n: max((m.linear.x for _, m in peer.heard[f"/{n}/cmd_vel"]), default=0) for n in nodes
        }
        assert moved["one"] > 0.0 == moved["two"]
        told = {m.status[0].name for _, m in peer.heard["/diagnostics"]}
        assert told == {"/one/collision_avoidance", "/two/collision_avoidance"}
        assert not peer.heard["cmd_vel"]
        assert [node.end() for node in nodes.values()] == [0, 0]
    finally:
        peer.close()
        for node in nodes.values():
            node.kill()


def test_two_cameras_on_one_topic_are_told(model, tmp_path):
    with running(tmp_path / "log", model=model) as (_, peer):
        other = peer.node.create_publisher(Image, "image", 5)
        told = "2 publishers of /image, there should be one"
        peer.wait(lambda: told in peer.diagnostics().get("message", ""), "the remark")
        peer.node.destroy_publisher(other)
