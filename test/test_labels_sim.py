"""The label of a laser scan against the simulator's own, which knows where everything is."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from bag_samples import START_NS, float32, laser_scan, twist_stamped, write_bag

from crnn_snn_ros.data.bags import read_signal
from crnn_snn_ros.data.labels.labelling import label_bag
from crnn_snn_ros.data.labels.rules import Rules
from crnn_snn_ros.data.labels.sensors import Mount
from crnn_snn_ros.data.labels.tube import RobotShape
from crnn_snn_ros.sim.expert import Expert
from crnn_snn_ros.sim.record import Wandering
from crnn_snn_ros.sim.simulator import SCAN_REACH_M, Simulator
from crnn_snn_ros.sim.suites import SUITES, Straight

RAYS = 360


def drive(path: Path, suite: str, seed: int, straight: bool) -> Path:
    """A course with what a robot would have recorded of it, and the simulator's label."""
    rows, course = [], SUITES[suite].course(seed)
    with Simulator(course, None) as simulator:
        teacher = Expert(course, simulator.robot)
        driver = Wandering(Straight() if straight else teacher, seed, 0.3, simulator.rate_hz)
        seen = simulator.observation
        while seen.finished is None and seen.time_s < 15.0:
            at = START_NS + round(seen.time_s * 1e9)
            ranges = simulator.scan(RAYS)
            ranges = np.where(ranges >= SCAN_REACH_M, math.inf, ranges)
            last = math.pi - 2 * math.pi / RAYS
            rows.append(("/scan", at, laser_scan(ranges, at, -math.pi, last)))
            state = seen.state
            moved = twist_stamped(state.speed_mps, state.yaw_rate_radps, at)
            rows.append(("/moved", at, moved))
            label = float(math.isfinite(teacher.time_to_contact_s(state, seen.time_s)))
            rows.append(("/truth", at, float32(label)))
            seen = simulator.step(driver.act(seen))
    return write_bag(path, rows)


def agreement(bag: Path) -> tuple[np.ndarray, np.ndarray]:
    robot = RobotShape(width=0.36, front=0.18, horizon=1.5, least_speed=0.5)  # the simulator's disc
    labels = label_bag(bag, Rules(scan="/scan", motion="/moved"), robot, Mount())
    return labels.collision > 0.5, read_signal(bag, "/truth").values > 0.5


def test_a_scan_says_what_the_simulator_knows(tmp_path):
    """Things stand still there: 0.95 of the frames agree, and of the collisions 0.9 are found."""
    said, known = [], []
    for number, (suite, seed, straight) in enumerate(
        [("static", 2000, True), ("static", 2001, False), ("narrow", 2002, True)]
    ):
        found, truth = agreement(drive(tmp_path / str(number), suite, seed, straight))
        said.append(found)
        known.append(truth)
    found, truth = np.concatenate(said), np.concatenate(known)
    assert 20 < truth.sum() < len(truth) - 20
    assert (found == truth).mean() > 0.95
    assert found[truth].mean() > 0.9
