"""The node and a program of another DDS implementation, Cyclone DDS, which knows nothing of ROS."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from ros_peer import DOMAIN, ROOT, NodeProcess, arguments, small_model

from crnn_snn_ros.ros.dds import profile_environment

pytest.importorskip("cyclonedds", reason="no wheel of cyclonedds for this machine")
FRAME_TIMEOUT_S = 0.4
# Of the other implementation's own code, which a warning must not stop.
PROGRAM = [sys.executable, "-W", "ignore", str(ROOT / "test" / "foreign_peer.py")]


def test_it_shows_frames_and_gets_commands_and_a_stop(tmp_path):
    """Frames of another vendor are answered; when they end, so does the drive."""
    settings = {
        "model": small_model(tmp_path / "small.snn"),
        "allow_untrained": True,
        "frame_timeout": FRAME_TIMEOUT_S,
        "stop_pub_timeout": 0.3,
        "min_rate": 0.0,
        "go_threshold": 0.99,
        "stop_threshold": 1.0,
    }
    around = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", **profile_environment()}
    node = NodeProcess(tmp_path / "log", arguments(**settings), **around)
    try:
        done = subprocess.run(
            [*PROGRAM, str(DOMAIN), "40", "0.05"], capture_output=True, text=True, timeout=90
        )
        assert done.returncode == 0, done.stderr + node.output
        assert node.end() == 0, node.output
    finally:
        node.kill()
    told = [json.loads(line) for line in done.stdout.splitlines()]
    (ended,) = (number for number, line in enumerate(told) if not line["topic"])
    said = [line for line in told if line["topic"] == "prediction"]
    assert len(said) > 10
    assert {line["frame_id"] for line in said} == {"foreign"}
    assert len({line["steering"] for line in said}) > 5
    before, after = (
        [line for line in part if line["topic"] == "cmd_vel"]
        for part in (told[:ended], told[ended:])
    )
    assert max(line["linear"] for line in before) > 0.0
    assert any(line["linear"] == line["angular"] == 0.0 for line in after)
    assert after[-1]["linear"] == after[-1]["angular"] == 0.0
