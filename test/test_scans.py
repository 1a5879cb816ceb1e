"""Laser scans as labels: what is seen at each bearing, and at which frame."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from training_samples import START_NS, bar_bag, bar_image

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.core.ways import WAYS
from crnn_snn_ros.data.bag_writer import BagWriter
from crnn_snn_ros.data.data_config import BagConfig, DataConfig
from crnn_snn_ros.data.dataset import load_sequences
from crnn_snn_ros.data.scans import BEARINGS, REACH_M, VIEW_RAD, ahead, read_scans
from crnn_snn_ros.data.tables import read_way_costs
from crnn_snn_ros.io.preprocess import InputContract

MIDDLE = BEARINGS // 2
STEP = VIEW_RAD / (BEARINGS - 1)


def scan(ranges: list[float], first: float, increment: float, **fields: float) -> Any:
    said = {"range_min": 0.1, "range_max": 12.0} | fields
    return SimpleNamespace(ranges=ranges, angle_min=first, angle_increment=increment, **said)


def test_every_bearing_takes_the_nearest_of_its_rays():
    fine = scan([2.0, 1.5, 3.0, 4.0, 5.0], -STEP / 3, STEP / 3)  # the last two belong to the next
    seen = ahead(fine)
    assert seen[MIDDLE] == np.float32(1.5)
    assert seen[MIDDLE + 1] == 4.0
    assert np.isnan(np.delete(seen, [MIDDLE, MIDDLE + 1])).all()


def test_a_full_circle_is_read_wherever_it_begins():
    count = 360
    ranges = np.linspace(1.0, 4.0, count)
    behind = scan(ranges.tolist(), -math.pi, 2 * math.pi / count)
    front = scan(np.roll(ranges, count // 2).tolist(), 0.0, 2 * math.pi / count)
    backward = scan(ranges[::-1].tolist(), -math.pi + 2 * math.pi / count * (count - 1),
                    -2 * math.pi / count)  # fmt: skip
    assert np.isfinite(ahead(behind)).all()
    assert (ahead(behind) == ahead(front)).all()
    assert (ahead(behind) == ahead(backward)).all()
    assert (np.diff(ahead(behind)) > 0).all()  # from right to left


@pytest.mark.parametrize(
    ("said", "meant"),
    [(math.inf, REACH_M), (11.0, REACH_M), (-math.inf, 0.1), (0.0, math.nan), (math.nan, math.nan)],
)
def test_what_is_no_distance_is_told_from_far_and_near(said, meant):
    found = ahead(scan([said], 0.0, 0.01))[MIDDLE]
    assert found == np.float32(meant) or (math.isnan(found) and math.isnan(meant))


def test_a_scan_without_rays_or_without_angles():
    assert np.isnan(ahead(scan([], 0.0, 0.0))).all()
    with pytest.raises(DataError, match="angles"):
        ahead(scan([1.0], math.nan, 0.0))


def record(path: Path, frames: int = 20) -> Path:
    fields = {"angle_min": -VIEW_RAD / 2, "angle_max": VIEW_RAD / 2, "angle_increment": STEP}
    fields |= {"time_increment": 0.0, "scan_time": 0.1, "range_min": 0.1, "range_max": 9.0}
    with BagWriter(path) as bag:
        for number in range(frames):
            stamp_ns = START_NS + number * 50_000_000
            bag.image("/image", stamp_ns, bar_image(10.0, 3))
            bag.float32("/steering", stamp_ns, 0.1)
            if number % 2 == 0:
                ranges = np.full(BEARINGS, 1.0 + number / 10, np.float32)
                bag.laser_scan("/scan", stamp_ns, fields, ranges, "laser")
    return path


def test_scans_belong_to_the_frames_that_they_were_recorded_with(tmp_path):
    bag = BagConfig(record(tmp_path / "bag"), None, "/steering", scan="/scan")
    splits = {"train": (0.0, 0.5), "validation": (0.5, 1.0)}
    data = DataConfig((bag,), splits, 20.0, InputContract(24, 16, "grey"))
    for _ in range(2):  # decoded, then from the cache
        (drive,) = load_sequences(data, "validation", tmp_path / "cache")
        assert drive.ranges_m is not None
        assert drive.ranges_m.shape == (10, BEARINGS)
        assert np.isnan(drive.ranges_m[1::2]).all()
        recorded = [np.float32(1.0 + number / 10) for number in range(10, 20, 2)]
        assert drive.ranges_m[::2, 0].tolist() == recorded
    without = dataclasses.replace(data, bags=(dataclasses.replace(bag, scan=None),))
    assert load_sequences(without, "train", tmp_path / "cache")[0].ranges_m is None


def ways_bag(path, *rows):
    with BagWriter(path) as bag:
        for number, row in enumerate(rows):
            bag.float32_array("/way_costs", START_NS + number, np.array(row, np.float32))
    return path


def test_what_ways_would_cost_is_read_and_judged(tmp_path):
    rows = np.linspace(0.0, 3.0, 3 * WAYS, dtype=np.float32).reshape(3, WAYS)
    good = ways_bag(tmp_path / "good", *rows)
    assert np.array_equal(read_way_costs(good, "/way_costs").rows, rows)
    for name, row, says in (
        ("short", rows[0, 1:], "has 26 values, expected 27"),
        ("negative", rows[0] - 2.0, "value 0 of message 1 is -2, expected a cost from 0 on"),
        ("none", rows[0] * np.nan, "value 0 of message 1 is nan, expected a cost from 0 on"),
    ):
        with pytest.raises(DataError, match=says):
            read_way_costs(ways_bag(tmp_path / name, rows[0], row), "/way_costs")


def test_a_topic_of_another_type_is_refused(tmp_path):
    with pytest.raises(DataError, match="/steering"):
        read_scans(bar_bag(tmp_path / "bag"), "/steering")
