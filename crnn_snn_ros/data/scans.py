"""What a laser scanner saw in the field that a camera looks into, frame by frame.

Not what a network is for, but what its eye can be taught by: see ``training.probe``.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.data.bags import read_messages
from crnn_snn_ros.data.messages import LASER_SCAN
from crnn_snn_ros.data.tables import Table, as_table

VIEW_RAD = math.pi / 2  # symmetric about straight ahead
BEARINGS = 31  # evenly over the view, from its right to its left end, so that one is straight ahead
REACH_M = 8.0  # what is farther, or not there at all, is said to be here

Floats = NDArray[np.float32]


def read_scans(path: Path, topic: str) -> Table:
    """Read a topic of ``sensor_msgs/LaserScan`` whole; the scanner looks where the camera does.

    Returns:
        Ranges (n, BEARINGS), m, NaN where nothing was measured.

    Raises:
        DataError: the bag is damaged, or the topic missing, of another type or empty.
    """
    messages = read_messages(path, topic, (LASER_SCAN,))
    return as_table((message.stamp_ns, ahead(message.content)) for message in messages)


def ahead(scan: Any) -> Floats:
    """(BEARINGS,) ranges of a LaserScan, m: the least of the rays around each bearing.

    Infinite is ``REACH_M`` and too near is ``range_min`` (REP-117); NaN is where no ray measured.

    Raises:
        DataError: its angles are no numbers.
    """
    ranges = np.asarray(scan.ranges, np.float64)
    angles = scan.angle_min + scan.angle_increment * np.arange(len(ranges))
    if not np.isfinite(angles).all():
        raise DataError(f"a scan has angles from {scan.angle_min} by {scan.angle_increment}")
    far = ranges > min(scan.range_max, REACH_M)
    ranges = np.where(far, REACH_M, np.where(np.isneginf(ranges), scan.range_min, ranges))
    angles = (angles + math.pi) % (2.0 * math.pi) - math.pi
    step = VIEW_RAD / (BEARINGS - 1)
    bearing = np.floor((angles + VIEW_RAD / 2) / step + 0.5)
    seen = (bearing >= 0) & (bearing < BEARINGS) & (ranges >= min(scan.range_min, REACH_M))
    found = np.full(BEARINGS, np.inf)
    np.minimum.at(found, bearing[seen].astype(np.int64), ranges[seen])
    return np.where(np.isinf(found), np.nan, found).astype(np.float32)
