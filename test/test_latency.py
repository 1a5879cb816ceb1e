"""Frames to commands through two nodes over DDS, on a machine that has other things to do."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from ros_peer import DOMAIN, ROOT, small_model

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.pipeline import load_pipeline
from crnn_snn_ros.ros import latency as module
from crnn_snn_ros.ros.latency import NODES, RATE_HZ, WARM_UP, latency

pytestmark = pytest.mark.timeout(120)
FRAMES = 10
STILL_S = 2.0  # longer than the whole film


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(DOMAIN))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return small_model(tmp_path / "small.snn")


def children() -> list[int]:
    """The processes that this one has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            if int(path.read_text().rsplit(")")[-1].split()[1]) == os.getpid():
                found.append(int(path.parent.name))
    return found


def test_nodes_that_stand_still_for_a_while_are_waited_for(model):
    begin = len(NODES) * WARM_UP
    signals = {
        begin: signal.SIGSTOP,
        begin + round(len(NODES) * RATE_HZ * STILL_S): signal.SIGCONT,
    }

    def freeze(number: int) -> None:
        if number in signals:
            for pid in children():
                os.kill(pid, signals[number])

    result = latency(model, load_pipeline(model, "auto", "cpu"), FRAMES, freeze)
    for name in ("node", "control"):
        assert 0.0 < result[name]["answered"] < 1.0, "it stood still"
        assert result[name]["ms_min"] > 0.0


def test_a_node_that_refuses_to_run_says_why(model, monkeypatch):
    monkeypatch.setitem(module.SETTINGS, "frame_timeout", "-1.0")
    with pytest.raises(ConfigError, match="frame_timeout"):
        latency(model, load_pipeline(model, "auto", "cpu"), FRAMES)
