"""Range sensors -> obstacles in the robot's frame, (n, 2) metres, or None where nothing is known.

REP-117: +inf is nothing within reach, -inf is something too close to measure, NaN is no
measurement. What lies outside ``range_min..range_max`` is no measurement either, 0 of many drivers
among it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.data.labels.tube import Floats

FEWEST_VALID = 0.1  # share of measurements below which a scan says nothing
CONE_RAYS = 15
MOST_PIXELS = 80 * 60  # of a depth image; more make no other label
DEPTH_ENCODINGS = {
    "16UC1": (np.uint16, 1e-3),
    "mono16": (np.uint16, 1e-3),
    "32FC1": (np.float32, 1),
}


@dataclass(frozen=True)
class Mount:
    """Where a sensor sits on the robot.

    Raises:
        ConfigError: a value is out of range.
    """

    x: float = 0.0  # metres ahead of base_link
    y: float = 0.0  # metres to the left
    z: float = 0.2  # metres over the floor (depth images)
    yaw: float = 0.0  # rad to the left
    pitch: float = 0.0  # rad downwards (depth images)
    floor: float = 0.05  # metres; what is lower is floor (depth images)

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            most = math.tau if name in ("yaw", "pitch") else 10.0
            if not -most <= value <= most:
                raise ConfigError(f"sensor's {name} {value} is not within -{most:.3g}..{most:.3g}")


class Intrinsics:
    """A camera, as ``sensor_msgs/CameraInfo`` describes it.

    Args:
        content: of the message.

    Raises:
        DataError: it is not calibrated.
    """

    def __init__(self, content: Any) -> None:
        matrix = getattr(content, "k", None)
        matrix = content.K if matrix is None else matrix
        self.fx, self.cx, self.fy, self.cy = (float(matrix[at]) for at in (0, 2, 4, 5))
        if not (self.fx > 0.0 and self.fy > 0.0):
            raise DataError(f"CameraInfo has focal lengths {self.fx:g}, {self.fy:g}: uncalibrated")


def scan_points(scan: Any, mount: Mount) -> Floats | None:
    """Obstacles of a LaserScan."""
    ranges = np.asarray(scan.ranges, np.float64)
    angles = scan.angle_min + scan.angle_increment * np.arange(len(ranges))
    touching = np.isneginf(ranges)
    measured = (ranges >= scan.range_min) & (ranges <= scan.range_max)
    known = measured | touching | np.isposinf(ranges) | (ranges > scan.range_max)
    if not len(ranges) or known.mean() < FEWEST_VALID:
        return None
    ranges = np.where(touching, scan.range_min, ranges)
    seen = measured | touching
    return _placed(ranges[seen], angles[seen], mount)


def range_points(message: Any, mount: Mount) -> Floats | None:
    """Obstacles of a Range: it is somewhere in the cone, so it is everywhere in it."""
    distance = float(message.range)
    if math.isnan(distance):
        return None
    if message.min_range == message.max_range:  # a detector: -inf something, +inf nothing
        distance = message.max_range if distance == -math.inf else math.inf
    if distance == -math.inf:
        distance = float(message.min_range)
    if distance > message.max_range:
        return np.empty((0, 2))
    if distance < message.min_range:
        return None
    half = 0.5 * float(message.field_of_view)
    angles = np.linspace(-half, half, CONE_RAYS)
    return _placed(np.full(CONE_RAYS, distance), angles, mount)


def depth_points(image: Any, camera: Intrinsics, mount: Mount, height_m: float) -> Floats | None:
    """Obstacles of a depth image (16UC1 in mm, 32FC1 in m) between floor and robot's height.

    Raises:
        DataError: another encoding, or a size that does not fit the data.
    """
    depth = depth_metres(image)
    stride = max(1, math.ceil(math.sqrt(depth.size / MOST_PIXELS)))
    rows, columns = np.mgrid[0 : depth.shape[0] : stride, 0 : depth.shape[1] : stride]
    ahead = depth[::stride, ::stride]
    known = np.isfinite(ahead) & (ahead > 0.0)
    if known.mean() < FEWEST_VALID:
        return None
    ahead, rows, columns = ahead[known], rows[known], columns[known]
    right = (columns - camera.cx) / camera.fx * ahead
    down = (rows - camera.cy) / camera.fy * ahead
    cos, sin = math.cos(mount.pitch), math.sin(mount.pitch)
    over_floor = mount.z - (ahead * sin + down * cos)
    level = ahead * cos - down * sin
    solid = (over_floor >= mount.floor) & (over_floor <= height_m)
    level, left = level[solid], -right[solid]
    return _placed(np.hypot(level, left), np.arctan2(left, level), mount)


def depth_metres(image: Any) -> Floats:
    """Pixels of a depth image in metres, (H, W); 0, NaN and inf are no measurement.

    Raises:
        DataError: another encoding, or a size that does not fit the data.
    """
    known = DEPTH_ENCODINGS.get(image.encoding)
    if known is None:
        raise DataError(
            f"depth image is {image.encoding!r}, expected {' or '.join(DEPTH_ENCODINGS)}"
        )
    kind = np.dtype(known[0]).newbyteorder(">" if image.is_bigendian else "<")
    data = np.ascontiguousarray(image.data, np.uint8)
    row = image.width * kind.itemsize
    if image.step < row or len(data) != image.height * image.step or not len(data):
        raise DataError(
            f"depth image {image.width}x{image.height} has {len(data)} bytes, step {image.step}"
        )
    rows = np.ascontiguousarray(data.reshape(image.height, image.step)[:, :row])
    return rows.view(kind).astype(np.float64) * known[1]


def _placed(ranges: Floats, angles: Floats, mount: Mount) -> Floats:
    angles = angles + mount.yaw
    return np.stack([mount.x + ranges * np.cos(angles), mount.y + ranges * np.sin(angles)], axis=1)
