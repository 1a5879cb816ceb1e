"""``DATA.yaml``: which bags, which topics, which part is for what.

.. code-block:: yaml

    bags:
      - {path: mit.bag, image: /image/compressed, steering: /steering, collision: /collision}
    splits: {train: [0.0, 0.7], validation: [0.7, 0.85], test: [0.85, 1.0]}
    frame_rate_hz: 20
    input: {width: 96, height: 64, colour: rgb, crop_top: 0.0, crop_bottom: 0.0}

``path`` is relative to the file. ``image`` may be left out where a bag has one image topic;
``steering`` and ``collision`` where there is no such label; ``scan`` names a laser scanner's topic,
by which an eye may be taught (``train --scan-weight``), and ``way_costs`` one that says what each
way to steer would cost (``train --ways``). A bag whose steering is a velocity command may say
``yaw_gain``, or ``wheelbase_m``, and ``max_steering_rad``; ``mount: [0.22, 0.05, 1.6]`` says how
the camera is mounted, m above the ground, rad down and rad of horizontal field of view, whatever
the bag says on ``/camera_mount``; ``tolerance_s`` is how far a label may be from its frame, half a
frame period where nothing is said. A split is a contiguous stretch of every bag, in fractions of
its frames, or whole bags, where they say ``split: train``; neighbours in a drive are near-copies,
so splits of single frames would test on what was trained.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from crnn_snn_ros.core.errors import ConfigError, DataError, closest
from crnn_snn_ros.core.mount import CameraMount
from crnn_snn_ros.data.steering import SteeringConfig
from crnn_snn_ros.io.preprocess import InputContract, told

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class BagConfig:
    """One bag and its topics."""

    path: Path
    image: str | None = None  # None: the only image topic of the bag
    steering: str | None = None  # a type that ``steering`` reads; rad, positive to the left
    collision: str | None = None  # std_msgs/Float32, 0..1
    scan: str | None = None  # sensor_msgs/LaserScan
    way_costs: str | None = None  # std_msgs/Float32MultiArray, what each way to steer would cost
    split: str | None = None  # the whole bag belongs to this split; None: ``DataConfig.splits``
    mount: CameraMount | None = None  # of the camera; None: as the bag says
    tolerance_s: float | None = None  # of a label's stamp; None: half a frame period
    steering_config: SteeringConfig = field(default_factory=SteeringConfig)  # of velocity commands


@dataclass(frozen=True)
class DataConfig:
    """A data set: recorded bags, their split, and what the network takes of them.

    Raises:
        ConfigError: naming what is wrong.
    """

    bags: tuple[BagConfig, ...]
    splits: Mapping[str, tuple[float, float]]  # fractions of each bag, [begin, end)
    frame_rate_hz: float
    contract: InputContract

    def __post_init__(self) -> None:
        """Validate."""
        if not self.bags:
            raise ConfigError("bags is empty, expected at least one")
        for bag in self.bags:
            if bag.split is not None and bag.split not in self.splits:
                known = ", ".join(self.splits)
                raise ConfigError(f"bag {bag.path.name}: split '{bag.split}' is not one of {known}")
        placed: dict[Path, BagConfig] = {}
        for bag in self.bags:
            other = placed.setdefault(bag.path.resolve(), bag)
            if other.split != bag.split:
                raise ConfigError(
                    f"bag {bag.path.name} is there for split {other.split or 'all'} and again for "
                    f"{bag.split or 'all'}: they would share frames"
                )
        if not self.splits:
            raise ConfigError(f"splits is empty, expected some of {', '.join(SPLITS)}")
        for name, (begin, end) in self.splits.items():
            if name not in SPLITS:
                raise ConfigError(f"split '{name}' is not one of {', '.join(SPLITS)}")
            if not 0.0 <= begin < end <= 1.0:
                raise ConfigError(f"split '{name}' [{begin}, {end}] is not within 0 <= a < b <= 1")
        ordered = sorted(self.splits.items(), key=lambda item: item[1])
        for (first, (_, end)), (second, (begin, _)) in pairwise(ordered):
            if begin < end:
                raise ConfigError(f"splits '{first}' and '{second}' share frames ({begin} < {end})")
        if not (math.isfinite(self.frame_rate_hz) and 0.1 <= self.frame_rate_hz <= 1000.0):
            raise ConfigError(f"frame_rate_hz {self.frame_rate_hz} is not within 0.1..1000")


class _Loader(yaml.SafeLoader):
    """YAML says that keys differ, and its reader takes the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for key, times in keys.most_common(1):
            if times > 1:
                line = node.start_mark.line + 1
                raise ConfigError(
                    f"the key '{key:.60}' is there twice, in what begins on line {line}"
                )
        return super().construct_mapping(node, deep)


def load_data_config(path: Path) -> DataConfig:
    """Read and validate a ``DATA.yaml``.

    Raises:
        ConfigError: unreadable, unknown or missing keys, wrong values; names the file and the key.
    """
    try:
        content = yaml.load(path.read_text("utf-8"), _Loader)
        return _data_config(content, path.parent)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} is not YAML: {reason}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _data_config(content: object, folder: Path) -> DataConfig:
    required = ("bags", "splits", "frame_rate_hz", "input")
    top = _mapping(content, "the file", required, ())
    return DataConfig(
        bags=tuple(
            _bag(bag, f"bags[{number}]", folder)
            for number, bag in enumerate(_list(top["bags"], "bags"))
        ),
        splits={
            name: _fractions(fractions, f"splits.{name}")
            for name, fractions in _mapping(top["splits"], "splits", (), SPLITS).items()
        },
        frame_rate_hz=_number(top["frame_rate_hz"], "frame_rate_hz"),
        contract=InputContract(
            **_mapping(
                top["input"],
                "input",
                ("width", "height", "colour"),
                (
                    "crop_top",
                    "crop_bottom",
                    "motion",
                    "mount",
                    "steady",
                    "floor",
                    "wheels",
                    "fov_deg",
                ),
            )
        ),
    )


def _bag(content: object, where: str, folder: Path) -> BagConfig:
    texts = ("image", "steering", "collision", "scan", "way_costs", "split")
    numbers = ("tolerance_s", "yaw_gain", "wheelbase_m", "max_steering_rad")
    fields = _mapping(content, where, ("path",), (*texts, *numbers, "mount"))
    for key in ("path", *(key for key in texts if key in fields)):
        if not isinstance(fields[key], str) or not fields[key]:
            raise ConfigError(f"{where}.{key} is {fields[key]!r:.60}, expected text")
    given = {key: _number(fields[key], f"{where}.{key}") for key in numbers if key in fields}
    tolerance_s = given.pop("tolerance_s", None)
    if tolerance_s is not None and not 0.0 <= tolerance_s <= 60.0:
        raise ConfigError(f"{where}.tolerance_s {tolerance_s} is not within 0..60")
    try:
        steering = SteeringConfig(**given)
    except ConfigError as error:
        raise ConfigError(f"{where}.{error}") from None
    return BagConfig(
        path=folder / fields["path"],
        **{key: fields[key] for key in texts if key in fields},
        mount=_mount(fields["mount"], f"{where}.mount") if "mount" in fields else None,
        tolerance_s=tolerance_s,
        steering_config=steering,
    )


def _mount(content: object, where: str) -> CameraMount:
    numbers = [_number(number, where) for number in _list(content, where)]
    if len(numbers) != len(CameraMount._fields):
        raise ConfigError(f"{where} has {len(numbers)} numbers, expected [height, pitch, view]")
    try:
        told(mount := CameraMount(*numbers))
    except DataError as error:
        raise ConfigError(f"{where}: {error}") from None
    return mount


def _mapping(
    content: object, where: str, required: tuple[str, ...], optional: tuple[str, ...]
) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ConfigError(f"{where} is {content!r:.60}, expected keys and values")
    allowed = ", ".join(required + optional)
    for key in content:
        if key not in required + optional:
            meant = closest(key, required + optional)
            raise ConfigError(
                f"{where} has an unknown key {key!r:.60}{meant}; allowed are {allowed}"
            )
    for key in required:
        if key not in content:
            raise ConfigError(f"{where} lacks the key '{key}'; allowed are {allowed}")
    return content


def _list(content: object, where: str) -> list[object]:
    if not isinstance(content, list):
        raise ConfigError(f"{where} is {content!r:.60}, expected a list")
    return content


def _fractions(content: object, where: str) -> tuple[float, float]:
    pair = _list(content, where)
    if len(pair) != 2:
        raise ConfigError(f"{where} has {len(pair)} numbers, expected [begin, end]")
    return _number(pair[0], where), _number(pair[1], where)


def _number(content: object, where: str) -> float:
    if isinstance(content, bool) or not isinstance(content, int | float):
        raise ConfigError(f"{where} is {content!r:.60}, expected a number")
    try:
        return float(content)
    except OverflowError:  # YAML knows integers of any length
        raise ConfigError(f"{where} is a number of {len(str(content))} digits") from None
