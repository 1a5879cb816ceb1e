"""One picture for each rule of ``label``, so that a person can see whether to believe it.

From top to bottom: the label over time, with the time to contact and what is suspicious; how often
it says what; frames that are called a collision, frames that are called free, suspicious ones. Into
each frame the obstacles are drawn as they lie around the robot, with the tube that it was to sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.data.bags import decode_image, read_messages
from crnn_snn_ros.data.labels.labelling import Labels, RuleLabels
from crnn_snn_ros.data.labels.sensors import Mount
from crnn_snn_ros.data.labels.tube import Floats, RobotShape, arc
from crnn_snn_ros.data.messages import COMPRESSED_IMAGE, IMAGE, LASER_SCAN, RANGE
from crnn_snn_ros.evaluation.pictures import Colour, Picture
from crnn_snn_ros.io.atomic import replacing

WIDTH, TILE_WIDTH, TILE_HEIGHT, TILES = 1280, 312, 234, 8
PER_ROW = 4
INK: Colour = (30, 30, 30)
PAPER: Colour = (255, 255, 255)
HIT: Colour = (214, 48, 49)
FREE: Colour = (39, 154, 90)
SILENT: Colour = (190, 190, 190)
ODD: Colour = (240, 140, 0)
VIEW_M = 4.0  # of the map around the robot


def write_picture(
    labels: Labels, rule: RuleLabels, robot: RobotShape, mount: Mount, path: Path
) -> Path:
    """Draw one rule; returns the path.

    Raises:
        DataError: the bag cannot be read again.
    """
    groups = _groups(rule)
    chosen = sorted({index for _, _, indices in groups for index in indices})
    images = _images(labels, chosen)
    points = _points(labels, rule, chosen)
    parts = [_head(labels, rule, robot, mount), _timeline(labels, rule), _histogram(rule)]
    for title, found, indices in groups:
        tiles = [_tile(labels, rule, index, images, points, robot) for index in indices]
        parts += [_text_line(f"{title}: {len(tiles)} of {found}" if tiles else f"{title}: none")]
        parts += [_row(tiles[at : at + PER_ROW]) for at in range(0, len(tiles), PER_ROW)]
    canvas = np.concatenate(parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    _, png = cv2.imencode(".png", canvas[:, :, ::-1])
    with replacing(path) as temporary:  # by Python, which says why a disk refuses
        temporary.write_bytes(png.tobytes())
    return path


def _groups(rule: RuleLabels) -> list[tuple[str, str, list[int]]]:
    """What is shown, of how many, and which frames, spread over the drive."""
    positive = np.flatnonzero(rule.collision > 0.5)
    free = np.flatnonzero(rule.collision <= 0.5)
    odd = np.array([(s.begin + s.end) // 2 for s in rule.suspicions], np.int64)
    return [
        ("called a collision", f"{len(positive)} frames", _spread(positive)),
        ("called free", f"{len(free)} frames", _spread(free)),
        ("suspicious", f"{len(odd)} stretches", _spread(odd)),
    ]


def _spread(indices: NDArray[np.int64]) -> list[int]:
    if len(indices) <= TILES:
        return [int(index) for index in indices]
    return [int(indices[at]) for at in np.linspace(0, len(indices) - 1, TILES).round().astype(int)]


def _images(labels: Labels, chosen: Sequence[int]) -> dict[int, Picture]:
    """The frames to show, by index; only they are decoded."""
    if labels.image_topic is None:
        return {}
    wanted = {int(labels.stamps_ns[index]): index for index in chosen}
    found: dict[int, Picture] = {}
    for message in read_messages(labels.path, labels.image_topic, (IMAGE, COMPRESSED_IMAGE)):
        index = wanted.get(message.stamp_ns)
        if index is not None and index not in found:
            found[index] = decode_image(message.content)
    return found


class _Around(NamedTuple):
    """What a map shows."""

    points: Floats  # (n, 2) obstacles
    motion: tuple[float, float]  # m/s and rad/s of the tube


def _points(labels: Labels, rule: RuleLabels, chosen: Sequence[int]) -> dict[int, _Around]:
    """Obstacles around the robot at the frames to show."""
    judged = rule.judged
    if judged.points is None or judged.motions is None:
        return {}
    wanted: dict[int, list[tuple[int, int]]] = {}
    for index in chosen:
        nearest = int(np.abs(judged.stamps_ns - labels.stamps_ns[index]).argmin())
        wanted.setdefault(int(judged.stamps_ns[nearest]), []).append((index, nearest))
    found: dict[int, _Around] = {}
    for message in read_messages(labels.path, judged.topic, (LASER_SCAN, RANGE, IMAGE)):
        for index, at in wanted.get(message.stamp_ns, ()):
            points = judged.points(message.content)
            if points is not None:
                speed, yaw_rate = judged.motions[at].tolist()
                found[index] = _Around(points, (speed, yaw_rate))
    return found


def _canvas(height: int) -> Picture:
    return np.full((height, WIDTH, 3), 255, np.uint8)


def _write(
    canvas: Picture, text: str, x: int, y: int, size: float = 0.5, ink: Colour = INK
) -> None:
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(canvas, plain, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, ink, 1, cv2.LINE_AA)


def _text_line(text: str) -> Picture:
    canvas = _canvas(34)
    _write(canvas, text, 12, 24, 0.6)
    return canvas


def _head(labels: Labels, rule: RuleLabels, robot: RobotShape, mount: Mount) -> Picture:
    known = ~np.isnan(rule.collision)
    positive = int((rule.collision[known] > 0.5).sum())
    canvas = _canvas(90)
    _write(
        canvas, f"{labels.path.name}: rule '{rule.judged.rule}' on {rule.judged.topic}", 12, 28, 0.8
    )
    _write(
        canvas,
        f"{len(known)} frames, {int(known.sum())} labelled, {positive} of them a collision "
        f"({100.0 * positive / max(int(known.sum()), 1):.1f} %), {len(rule.suspicions)} suspicious "
        "stretches",
        12,
        54,
    )
    _write(canvas, _measures(rule, robot, mount), 12, 76)
    return canvas


def _measures(rule: RuleLabels, robot: RobotShape, mount: Mount) -> str:
    """What the rule went by."""
    if rule.judged.points is not None:
        return (
            f"robot {robot.width:g} m wide, front at {robot.front:g} m; within {robot.horizon:g} s"
            f", at {robot.least_speed:g} m/s or faster; sensor at {mount.x:g}, {mount.y:g} m, "
            f"turned {mount.yaw:g} rad; map of {VIEW_M:g} m: obstacles, robot (blue) and its tube"
        )
    if np.isfinite(rule.seconds).any():
        return f"from {robot.horizon:g} s before the robot is held up until it is free again"
    return "as recorded"


def _timeline(labels: Labels, rule: RuleLabels) -> Picture:
    """Label, time to contact, suspicious stretches, over the time of the drive."""
    canvas = _canvas(170)
    left, right = 12, WIDTH - 12
    time_s = (labels.stamps_ns - labels.stamps_ns[0]) * 1e-9
    length_s = max(float(time_s[-1]), 1e-9)
    columns = (left + (right - left - 1) * time_s / length_s).astype(int)
    ends = np.append(columns[1:], right)
    for column, end, value in zip(columns, ends, rule.collision, strict=True):
        colour = SILENT if np.isnan(value) else HIT if value > 0.5 else FREE
        canvas[8:40, column : max(end, column + 1)] = colour
    finite = np.isfinite(rule.seconds)
    top = max(float(rule.seconds[finite].max()), 1e-9) if finite.any() else 1.0
    rows = 130 - (80 * np.where(finite, rule.seconds, 0.0) / top).astype(int)
    for column, row in zip(columns[finite], rows[finite], strict=True):
        cv2.circle(canvas, (int(column), int(row)), 1, INK, -1)
    cv2.line(canvas, (left, 130), (right, 130), SILENT, 1)
    _write(canvas, f"seconds to contact, 0 to {top:.1f}", left, 62, 0.4)
    for odd in rule.suspicions:
        cv2.rectangle(
            canvas, (int(columns[odd.begin]), 134), (int(ends[odd.end]) + 1, 142), ODD, -1
        )
    _write(canvas, "0 s", left, 160, 0.4)
    _write(canvas, f"{length_s:.1f} s", right - 60, 160, 0.4)
    _write(canvas, "red: collision; green: free; grey: no label; orange: suspicious", 440, 160, 0.4)
    return canvas


def _histogram(rule: RuleLabels) -> Picture:
    """How often which time to contact; none within the horizon to the right of them."""
    canvas = _canvas(150)
    finite = rule.seconds[np.isfinite(rule.seconds)]
    if len(finite):
        counts, edges = np.histogram(finite, bins=15)
        names = [f"{edge:.1f}" for edge in edges[:-1]]
        title = "frames by seconds to contact"
    else:
        known = rule.collision[~np.isnan(rule.collision)]
        counts, edges = np.histogram(known, bins=10, range=(0.0, 1.0))
        names = [f"{edge:.1f}" for edge in edges[:-1]]
        title = "frames by label"
    free = int((rule.collision <= 0.5).sum()) if len(finite) else 0
    bars = [*counts.tolist(), *([free] if free else [])]
    names += ["free"] if free else []
    _write(canvas, title, 12, 18)
    width, most = (WIDTH - 24) // max(len(bars), 1), max([*bars, 1])
    for at, (count, name) in enumerate(zip(bars, names, strict=True)):
        x = 12 + at * width
        colour = FREE if name == "free" else HIT if len(finite) else INK
        cv2.rectangle(canvas, (x, 125 - round(90 * count / most)), (x + width - 6, 125), colour, -1)
        _write(canvas, name, x, 142, 0.4)
        _write(canvas, str(count), x, 120 - round(90 * count / most), 0.4)
    return canvas


def _tile(
    labels: Labels,
    rule: RuleLabels,
    index: int,
    images: dict[int, Picture],
    points: dict[int, _Around],
    robot: RobotShape,
) -> Picture:
    tile = np.full((TILE_HEIGHT, TILE_WIDTH, 3), 235, np.uint8)
    image, around = images.get(index), points.get(index)
    if image is not None:
        scale = min(TILE_WIDTH / image.shape[1], TILE_HEIGHT / image.shape[0])
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        shown = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        tile[: size[1], : size[0]] = shown
    if around is not None:
        side = 100 if image is not None else TILE_HEIGHT - 4
        inset = _map(around, side, robot)
        tile[2 : 2 + side, TILE_WIDTH - side - 2 : TILE_WIDTH - 2] = inset
    value = rule.collision[index]
    colour = SILENT if np.isnan(value) else HIT if value > 0.5 else FREE
    cv2.rectangle(tile, (0, 0), (TILE_WIDTH - 1, TILE_HEIGHT - 1), colour, 4)
    _caption(tile, _said(labels, rule, index))
    return tile


def _said(labels: Labels, rule: RuleLabels, index: int) -> str:
    time_s = (labels.stamps_ns[index] - labels.stamps_ns[0]) * 1e-9
    seconds = rule.seconds[index]
    contact = f", contact in {seconds:.2f} s" if np.isfinite(seconds) else ""
    odd = next((s.why for s in rule.suspicions if s.begin <= index <= s.end), "")
    return f"{time_s:.1f} s{contact}{', ' + odd if odd else ''}"


def _caption(tile: Picture, text: str) -> None:
    tile[-20:-4, 4:-4] = 255 - (255 - tile[-20:-4, 4:-4].astype(int)) // 4
    _write(tile, text[:52], 8, TILE_HEIGHT - 8, 0.36)


def _map(around: _Around, side: int, robot: RobotShape) -> Picture:
    """Obstacles around the robot, which looks up, and the tube that it was to sweep."""
    canvas: Any = np.full((side, side, 3), 255, np.uint8)
    scale = side / VIEW_M
    base = np.array([side / 2, side * 0.75])

    def pixel(x: float, y: float) -> tuple[int, int]:
        return round(base[0] - y * scale), round(base[1] - x * scale)

    half, (speed, yaw_rate) = robot.width / 2, around.motion
    poses = arc(max(speed, robot.least_speed), yaw_rate, np.linspace(robot.horizon, 0.0, 30))
    corners = ((0.0, half), (robot.front, half), (robot.front, -half), (0.0, -half))
    for x, y, yaw in zip(*poses, strict=True):
        cos, sin = np.cos(yaw), np.sin(yaw)
        outline = [pixel(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in corners]
        now = x == y == yaw == 0.0
        cv2.fillConvexPoly(canvas, np.array(outline), (120, 140, 200) if now else (255, 226, 190))
    for x, y in around.points:
        column, row = pixel(x, y)
        if 0 <= column < side and 0 <= row < side:
            cv2.circle(canvas, (column, row), 1 if side < 150 else 2, INK, -1)
    cv2.rectangle(canvas, (0, 0), (side - 1, side - 1), SILENT, 1)
    return np.asarray(canvas, np.uint8)


def _row(tiles: list[Picture]) -> Picture:
    canvas = _canvas(TILE_HEIGHT + 8)
    for at, tile in enumerate(tiles):
        x = 12 + at * (TILE_WIDTH + 4)
        canvas[4 : 4 + TILE_HEIGHT, x : x + TILE_WIDTH] = tile
    return canvas
