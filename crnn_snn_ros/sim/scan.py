"""What a laser scanner in the simulator would say, in the terms of ``sensor_msgs/LaserScan``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.sim.simulator import SCAN_REACH_M

FRAME = "base_scan"  # the middle of the footprint
SCAN_NEAREST_M = 0.02


def circle(ranges_m: NDArray[np.float64], rate_hz: float) -> tuple[dict[str, Any], NDArray[Any]]:
    """A full circle of ranges that begins behind the robot and goes anticlockwise.

    Nothing within reach is +inf, and what is too near to be measured -inf (REP-117).

    Args:
        ranges_m: (rays,), of ``Simulator.scan``.
        rate_hz: of the scans.

    Returns:
        The fields of the message without header and ranges; the ranges, float32 (rays,).
    """
    seen = np.where(ranges_m >= SCAN_REACH_M, np.inf, ranges_m)
    seen = np.where(seen < SCAN_NEAREST_M, -np.inf, seen)
    step = 2.0 * math.pi / len(ranges_m)
    fields = {
        "angle_min": -math.pi,
        "angle_max": math.pi - step,
        "angle_increment": step,
        "time_increment": 0.0,  # all at one moment
        "scan_time": 1.0 / rate_hz,
        "range_min": SCAN_NEAREST_M,
        "range_max": SCAN_REACH_M,
    }
    return fields, seen.astype(np.float32)
