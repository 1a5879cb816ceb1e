"""A camera of 640x480 at 30 Hz for a while: memory stays flat, and every frame is accounted for.

A minute; the long one: ``CRNN_SNN_SOAK_S=1800 pytest -s`` this file. Then the times are asserted
too, which a busy machine of a CI cannot keep. The figures are printed.
"""

from __future__ import annotations

import json
import os
import time

import numpy as np
import pytest
from ros_peer import running
from test_fuzz_node import FAULTS, resident_mb

from crnn_snn_ros.core.types import Frame
from crnn_snn_ros.ros import messages
from crnn_snn_ros.ros.dds import profile_environment

ASKED_S = os.environ.get("CRNN_SNN_SOAK_S")
SOAK_S = float(ASKED_S or 60)
RATE_HZ = 30
WARM_UP_S = min(10.0, SOAK_S / 4)
SAMPLES = 15  # of the resident memory
FLAT_MB, AGE_MS = 10, 100
# What becomes of a frame, each in one of these: docs/node.md, "/diagnostics".
FATES = (
    "answered",
    *(f"dropped_{why}" for why in ("missed", "repeated", "decimated", "voided")),
    *FAULTS,
)
pytestmark = pytest.mark.timeout(240 + int(SOAK_S))


def test_memory_and_ages(tmp_path, monkeypatch):
    for name, value in profile_environment().items():
        monkeypatch.setenv(name, value)
    settings = {"model": "donkeycar_mit.snn", "stamped": True, "decimate": False}
    if ASKED_S:
        settings["max_latency"] = 1.0 / RATE_HZ  # what is later is dropped and counted
    rng = np.random.default_rng(9)
    pictures = [rng.integers(0, 256, (480, 640, 3), np.uint8) for _ in range(8)]
    # Made beforehand: the camera must not be what is slow.
    shown = [messages.image(Frame(1, picture)) for picture in pictures]
    with running(tmp_path / "log", peer_stamped=True, **settings) as (node, peer):
        while not ages(peer):  # the first frame takes longest
            peer.images.publish(stamped(shown[0]))
            time.sleep(1 / RATE_HZ)
        before = fates(peer)
        begun, sent, resident, ages_ms = time.monotonic(), 0, [], []
        while (now := time.monotonic()) - begun < SOAK_S:
            if now - begun > WARM_UP_S + len(resident) * SOAK_S / SAMPLES:
                resident.append(resident_mb(node.process.pid))
            peer.images.publish(stamped(shown[sent % len(shown)]))
            sent += 1
            ages_ms += ages(peer)
            time.sleep(max(0.0, begun + sent / RATE_HZ - time.monotonic()))
        grown_mb = resident_mb(node.process.pid) - resident[0]
        ages(peer)
        while not ages(peer):  # what is missed is known by what comes after it
            peer.images.publish(stamped(shown[0]))
            sent += 1
            time.sleep(0.5)
        became = {what: count - before[what] for what, count in fates(peer).items()}
        told = peer.diagnostics()
    counts = {key: int(v) for key, v in told.items() if key.startswith(("count_", "dropped_"))}
    p50, p99 = np.percentile(ages_ms, (50, 99))
    figures = {
        **{"sent": sent, "became": {k: v for k, v in became.items() if v}},
        "grown_mb": round(grown_mb, 2),
        **{
            "age_ms_p50": round(p50, 1),
            "age_ms_p99": round(p99, 1),
            "latency": told["latency_p99_ms"],
            "resident_mb": [round(mb, 1) for mb in resident],
        },
        **counts,
    }
    print(json.dumps(figures))
    assert grown_mb < FLAT_MB
    assert sum(became.values()) == sent
    assert became["answered"] > 0  # how many is the machine's affair, unless it was asked for
    if ASKED_S:
        assert became["answered"] > 0.95 * sent
        assert p99 < AGE_MS


def stamped(image):
    image.header.stamp = messages.stamp(time.time_ns())
    return image


def fates(peer) -> dict[str, int]:
    """What became of all frames so far, of which none must be under way, by the next report."""
    reports = len(peer.heard["/diagnostics"])
    peer.wait(lambda: len(peer.heard["/diagnostics"]) > reports + 1, "reports")
    told = peer.diagnostics()
    return {fate: int(told.get(fate, 0)) for fate in FATES}


def ages(peer) -> list[float]:
    """Age of the frame behind each command that has come since, when it came, ms; forget them."""
    found = []
    with peer.changed:
        wall_ns, now_s = time.time_ns(), time.monotonic()
        for heard_s, message in peer.heard["cmd_vel"]:
            age_ns = wall_ns - messages.stamp_ns(message.header)
            if message.header.frame_id:  # not a zero of the watchdog
                found.append(age_ns / 1e6 - 1000.0 * (now_s - heard_s))
        for topic in peer.heard:
            del peer.heard[topic][: -1 if topic == "/diagnostics" else None]
    return found
