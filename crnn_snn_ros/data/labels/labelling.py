"""A bag and rules -> a new bag with the labels in it, at the stamps of its frames.

Everything of the old bag is copied as it is; beside it there are

| topic | type | |
|---|---|---|
| ``/collision`` | std_msgs/Float32 | the highest that a rule says; nothing where none can say |
| ``/steering`` | std_msgs/Float32 | rad, positive to the left |
| ``/labels/RULE`` | std_msgs/Float32 | what one rule says |
| ``/labels/RULE/seconds`` | std_msgs/Float32 | to contact, where there is one ahead |

A bag without images is labelled at the stamps of the first rule's sensor.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.data.bag_writer import BagWriter
from crnn_snn_ros.data.bags import (
    Signal,
    find_image_topic,
    raw_messages,
    read_info,
    read_messages,
)
from crnn_snn_ros.data.dataset import synchronise
from crnn_snn_ros.data.labels.rules import Judged, Rules, judge, sensor_clock
from crnn_snn_ros.data.labels.sensors import Mount
from crnn_snn_ros.data.labels.suspicion import Suspicion, suspicions
from crnn_snn_ros.data.labels.tube import Floats, RobotShape
from crnn_snn_ros.data.messages import ACKERMANN, COMPRESSED_IMAGE, IMAGE, TWIST
from crnn_snn_ros.data.steering import FLOATS, SteeringConfig, read_steering

_TOPIC = re.compile("/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")


@dataclass(frozen=True)
class Outputs:
    """What the labels are called, and how near a sensor's stamp must be.

    Raises:
        ConfigError: the tolerance is out of range, or a name is none of a topic.
    """

    collision: str = "/collision"
    steering: str = "/steering"
    details: str = "/labels"
    tolerance_s: float = 0.1  # from a frame to the sensor's measurement, or to the command

    def __post_init__(self) -> None:
        if not 0.0 <= self.tolerance_s <= 60.0:
            raise ConfigError(f"tolerance {self.tolerance_s} s is not within 0..60")
        for name in (self.collision, self.steering, self.details):
            if not _TOPIC.fullmatch(name):
                raise ConfigError(
                    f"{name!r} is no name of a topic: words of letters, digits and _, none of "
                    "which begins with a digit, with / between them"
                )


@dataclass(frozen=True, eq=False)
class RuleLabels:
    """One rule, at the frames."""

    judged: Judged
    collision: Floats  # (n,), NaN: it cannot say
    seconds: Floats  # (n,)
    suspicions: tuple[Suspicion, ...]


@dataclass(frozen=True, eq=False)
class Labels:
    """All labels of a bag."""

    path: Path
    image_topic: str | None
    stamps_ns: NDArray[np.int64]  # (n,) of the frames
    rules: tuple[RuleLabels, ...]
    collision: Floats  # (n,), the highest of the rules; NaN where none can say
    steering: Floats | None  # (n,), rad; None where it was not asked for


def label_bag(
    path: Path,
    rules: Rules,
    robot: RobotShape,
    mount: Mount,
    steering: str | None = None,
    steering_config: SteeringConfig | None = None,
    tolerance_s: float = 0.1,
    image_topic: str | None = None,
) -> Labels:
    """Work out the labels of a bag; nothing is written.

    Raises:
        DataError: the bag is damaged, a topic is missing or of another type, or no frame could be
            labelled.
    """
    judged = judge(path, rules, robot, mount)
    image_topic, stamps = _frames(path, judged, image_topic)
    tolerance_ns = round(tolerance_s * 1e9)
    found = tuple(_at_frames(one, stamps, tolerance_ns) for one in judged)
    collision = np.full(len(stamps), np.nan)
    for one in found:
        collision = np.fmax(collision, one.collision)
    if np.isnan(collision).all():
        names = ", ".join(one.topic for one in judged)
        gap_s = min(_gap_s(one.stamps_ns, stamps) for one in judged)
        raise DataError(
            f"bag {path}: no frame has a label: the nearest message of {names} is {gap_s:.3g} s "
            f"from a frame, the tolerance is {tolerance_s:g} s (--tolerance)"
        )
    steered = None
    if steering is not None:
        signal = read_steering(path, steering, steering_config)
        if read_info(path).topics[steering].msgtype in (*FLOATS, ACKERMANN, TWIST):
            signal = sensor_clock(path, rules).carry(signal)  # they have no header
        steered = np.asarray(synchronise(signal, stamps, tolerance_ns), np.float64)
    return Labels(path, image_topic, stamps, found, collision, steered)


def write_labels(
    labels: Labels, out: Path, outputs: Outputs, progress: Callable[[int], None] | None = None
) -> None:
    """Copy the bag with its labels.

    Raises:
        DataError: ``out`` cannot be written, or is another bag; or as ``topics``.
        ConfigError: as ``topics``.
    """
    info, given = read_info(labels.path), topics(labels, outputs)
    rules = ", ".join(f"{one.judged.rule} {one.judged.topic}" for one in labels.rules)
    with BagWriter(out, {**info.about, "labels": rules}, again=True) as bag:
        for count, (connection, received_ns, raw) in enumerate(raw_messages(labels.path), start=1):
            definition = connection.msgdef.data
            bag.copy(connection.topic, received_ns, connection.msgtype, definition, bytes(raw))
            if progress is not None and count % 100 == 0:
                progress(count)
        for topic, values in given.items():
            for stamp_ns, value in zip(labels.stamps_ns.tolist(), values.tolist(), strict=True):
                if np.isfinite(value):
                    bag.float32(topic, stamp_ns, value)


def topics(labels: Labels, outputs: Outputs) -> dict[str, Floats]:
    """What the bag of the labels will have more: topic -> (n,), NaN where there is no message.

    Raises:
        DataError: a topic of a label is in the bag already.
        ConfigError: two labels have one name.
    """
    named = [(outputs.collision, labels.collision)]
    if labels.steering is not None:
        named.append((outputs.steering, labels.steering))
    for one in labels.rules:
        named.append((f"{outputs.details}/{one.judged.rule}", one.collision))
        if np.isfinite(one.seconds).any():
            named.append((f"{outputs.details}/{one.judged.rule}/seconds", one.seconds))
    given = dict(named)
    remedy = "name the label otherwise (--collision-label, --steering-label, --details)"
    if len(given) < len(named):
        names = ", ".join(name for name, _ in named)
        raise ConfigError(f"two labels have one name, of {names}; {remedy}")
    for topic in given:
        if topic in read_info(labels.path).topics:
            raise DataError(f"bag {labels.path} has a topic {topic} already; {remedy}")
    return given


def _frames(
    path: Path, judged: list[Judged], named: str | None
) -> tuple[str | None, NDArray[np.int64]]:
    topics = read_info(path).topics
    seen = [
        name
        for name, (msgtype, _) in topics.items()
        if msgtype in (IMAGE, COMPRESSED_IMAGE)
        and not name.endswith("/compressedDepth")
        and name not in {one.topic for one in judged}
    ]
    if not seen and named is None:
        return None, judged[0].stamps_ns
    topic = seen[0] if len(seen) == 1 and named is None else find_image_topic(path, named)
    stamps = (m.stamp_ns for m in read_messages(path, topic, (IMAGE, COMPRESSED_IMAGE)))
    return topic, np.sort(np.fromiter(stamps, np.int64))


def _at_frames(judged: Judged, stamps: NDArray[np.int64], tolerance_ns: int) -> RuleLabels:
    collision, seconds = (
        np.asarray(synchronise(Signal(judged.stamps_ns, values), stamps, tolerance_ns), np.float64)
        for values in (judged.collision, judged.seconds)
    )
    return RuleLabels(judged, collision, seconds, tuple(suspicions(stamps, collision, seconds)))


def _gap_s(signal: NDArray[np.int64], stamps: NDArray[np.int64]) -> float:
    after = np.clip(np.searchsorted(signal, stamps), 0, len(signal) - 1)
    before = np.maximum(after - 1, 0)
    gaps = np.minimum(np.abs(signal[after] - stamps), np.abs(stamps - signal[before]))
    return float(gaps.min()) * 1e-9
