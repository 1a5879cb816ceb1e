"""Malformed messages: the node lives, nothing moves, memory stays flat.

A short run; the full one: ``CRNN_SNN_FUZZ=100000 CRNN_SNN_FUZZ_DDS=20000 pytest -s`` this file.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import cv2
import pytest
from malformed_messages import good, malformed, malformed_compressed, stream
from node_here import here
from ros_peer import frames, running, small_model

from crnn_snn_ros.core.supervisor import Mode
from crnn_snn_ros.core.types import STOP

IN_PROCESS = int(os.environ.get("CRNN_SNN_FUZZ", "3000"))
OVER_DDS = int(os.environ.get("CRNN_SNN_FUZZ_DDS", "600"))
FLAT_MB = 10
# A frame that is not answered because of what it is, is counted as one of these.
FAULTS = (
    *("count_bad_frame", "count_blind", "count_old_frame", "count_future_frame"),
    *("count_zero_stamp", "count_time_back", "count_engine_failure"),
)
pytestmark = pytest.mark.timeout(120 + IN_PROCESS // 100 + OVER_DDS // 10)


def resident_mb(pid: int | str = "self") -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


@pytest.fixture
def node(tmp_path):
    model = small_model(tmp_path / "small.snn")
    # A frame that is left out, or too few of them, would hide what the message led to.
    settings = {"decimate": False, "min_rate": 0.0, "frame_timeout": 10.0, "max_latency": 10.0}
    with here(model=model, **settings) as made:
        yield made


def encoded() -> list[bytes]:
    image = frames(1)[0].image
    return [cv2.imencode(kind, image)[1].tobytes() for kind in (".jpg", ".png")]


def feed(node, message) -> None:
    node._on_image(message)


@pytest.mark.parametrize("compressed", [False, True])
def test_in_process(node, compressed):
    count = IN_PROCESS // 2
    node.start()
    whole, now_ns = encoded(), time.time_ns
    before_mb = answered = 0
    for number, rng in enumerate(stream(11, count)):
        if number == count // 10:
            before_mb = resident_mb()
        if number % 50 == 0:  # it lives: a good frame is answered
            feed(node, good(rng, now_ns()))
            answered += 1
            assert node._guard.status.answered == answered
        node._guard.outputs.commands.clear()
        faults = sum(node._guard.status.counts.values())
        if compressed:
            feed(node, malformed_compressed(rng, now_ns(), whole))
        else:
            feed(node, malformed(rng, now_ns()))
        assert set(node._guard.outputs.commands) <= {STOP}, number
        assert node._guard.status.mode is Mode.STOPPED, number
        assert sum(node._guard.status.counts.values()) == faults + 1, number
        assert node._guard.status.answered == answered, number
    grown_mb = resident_mb() - before_mb
    print(f"{count} messages, resident memory grew by {grown_mb:.1f} MB")
    assert grown_mb < FLAT_MB


def test_over_dds(tmp_path):
    model = small_model(tmp_path / "small.snn")
    settings = {"qos_overrides./image.subscription.reliability": "reliable", "decimate": False}
    with running(tmp_path / "log", model=model, **settings) as (node, peer):
        before_mb = 0.0
        peer.images.publish(good(random.Random(3), time.time_ns()))
        peer.wait(lambda: peer.heard["prediction"], "the first frame, which says the size")
        for number, rng in enumerate(stream(12, OVER_DDS)):
            if number == OVER_DDS // 10:
                before_mb = resident_mb(node.process.pid)
            peer.images.publish(malformed(rng, time.time_ns()))
            time.sleep(0.002)
        assert node.process.poll() is None, node.output
        grown_mb = resident_mb(node.process.pid) - before_mb
        counted, missed = faults(peer)
        assert all(command[1:] == (0.0, 0.0) for command in peer.commands())
        assert len(peer.heard["prediction"]) == 1
        for _ in range(40):
            peer.images.publish(good(random.Random(3), time.time_ns()))
            time.sleep(0.05)
        assert len(peer.heard["prediction"]) > 10
        told = f"{counted} counted as faults, {missed} as missed"
        print(f"{OVER_DDS} messages sent, {told}, resident memory grew by {grown_mb:.1f} MB")
        assert counted + missed == OVER_DDS
        assert counted > OVER_DDS // 10
        assert grown_mb < FLAT_MB


def faults(peer) -> tuple[int, int]:
    """Faulty frames and missed ones, in a report that was made after the last message."""
    reports = len(peer.heard["/diagnostics"])
    peer.wait(lambda: len(peer.heard["/diagnostics"]) > reports + 1, "reports")
    told = peer.diagnostics()
    counted = sum(int(told.get(fault, 0)) for fault in FAULTS)
    return counted, int(told.get("dropped_missed", 0))
