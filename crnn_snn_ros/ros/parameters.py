"""ROS parameters <-> configuration: names, ranges and meanings come from the dataclasses."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from crnn_snn_ros.core.command import ControlConfig
from crnn_snn_ros.core.engines import ENCODINGS, S_ANALOG
from crnn_snn_ros.core.errors import ConfigError, closest
from crnn_snn_ros.core.gate import GateConfig
from crnn_snn_ros.core.mount import CameraMount, MountConfig
from crnn_snn_ros.core.settings import Setting, check, setting, settings
from crnn_snn_ros.core.supervisor import Timeouts
from crnn_snn_ros.core.types import RESET_GAP_S
from crnn_snn_ros.io.preprocess import InputContract
from crnn_snn_ros.io.resources import resource_path
from crnn_snn_ros.pipeline import Pipeline, load_pipeline

TRANSPORTS = ("raw", "compressed")
MODES = ("drive", "assist", "observe")
TURNS = ("commands", "odom")
OFF_LENS = 1.25  # a focal length this much longer or shorter than the network's is remarked
OFF_CALIBRATION = 1.1  # and one so far from what camera_fov tells
MAX_PERIOD_S = 1e6  # beyond it a rate is as good as none
ZERO_STAMPS = ("receive_time", "reject")


@dataclass(frozen=True)
class NodeConfig(MountConfig):
    """What the node is told beside the control law.

    Raises:
        ConfigError: a value is outside its range.
    """

    model: str = setting(
        "",
        "model file, or the name of a shipped one; empty: default.snn, which needs camera_height",
    )
    engine: str = setting("auto", "spiking engine: auto, or a name that `crnn-snn bench` lists")
    encoding: str = setting(
        S_ANALOG,
        "s-analog: every frame is charged whole; incremental: what has changed since the last, "
        "with the same results; `crnn-snn bench` says which is faster",
        choices=ENCODINGS,
    )
    device: str = setting("auto", "auto, cpu or cuda")
    threads: int = setting(1, "threads of torch", (1, 256))
    image_transport: str = setting(
        "raw",
        "raw: Image on `image`; compressed: JPEG or PNG on `image/compressed`",
        choices=TRANSPORTS,
    )
    mode: str = setting(
        "drive",
        "drive: the network's own commands; assist: those of `cmd_vel_in`, slowed, bent, stopped; "
        "observe: none",
        choices=MODES,
    )
    turn_from: str = setting(
        "commands",
        "where a model with steadied motion learns how the robot moves: commands: its own, in mode "
        "drive; odom: Odometry on `odom`, in any mode",
        choices=TURNS,
    )
    stamped: bool = setting(False, "publish cmd_vel as TwistStamped, with the header of the image")
    autostart: bool = setting(True, "configure and activate by itself")
    enabled: bool = setting(True, "let commands leave from the start; see ~/enable")
    allow_untrained: bool = setting(
        False, "drive even with a model that has an output for which it never saw a label"
    )
    reset_gap: float = setting(
        RESET_GAP_S, "gap between two frames that clears the recurrent state, s", (0.05, 60.0)
    )
    frame_timeout: float = setting(
        0.5,
        "a command is in force for this long after its frame came, s",
        (0.05, 10.0),
        runtime=True,
    )
    stop_pub_timeout: float = setting(
        1.0, "a zero command is repeated for this long, s", (0.1, 60.0), runtime=True
    )

    max_latency: float = setting(
        0.2, "an answer that took longer is dropped, s", (0.001, 10.0), runtime=True
    )
    min_rate: float = setting(
        5.0,
        "fewer answered frames per second stop the robot; 0: any, Hz",
        (0.0, 100.0),
        runtime=True,
    )
    input_timeout: float = setting(
        0.5, "mode assist: `cmd_vel_in` silent for this long stops, s", (0.05, 10.0), runtime=True
    )
    max_frame_age: float = setting(
        0.5,
        "a frame whose stamp is longer ago stops the robot; 0: any, s",
        (0.0, 60.0),
        runtime=True,
    )
    max_frame_future: float = setting(
        0.1,
        "a frame whose stamp is further ahead of the clock stops the robot; 0: any, s",
        (0.0, 60.0),
        runtime=True,
    )
    zero_stamp: str = setting(
        "receive_time",
        "a frame without a stamp gets the time of its arrival, or stops the robot",
        choices=ZERO_STAMPS,
        runtime=True,
    )
    decimate: bool = setting(
        True, "answer a faster camera at the frame rate of the model only", runtime=True
    )
    refuse_blind: bool = setting(
        True, "a frame that is black or white all over stops the robot", runtime=True
    )

    base_frame: str = setting("base_link", "frame of the cloud on `obstacles`")
    obstacle_distance: float = setting(
        0.5, "distance of the cloud on `obstacles` from the base, m", (0.05, 10.0)
    )
    obstacle_angle: float = setting(
        0.6, "angle that the cloud on `obstacles` covers to either side, rad", (0.05, 1.5)
    )

    def __post_init__(self) -> None:
        check(self)

    @property
    def timeouts(self) -> Timeouts:
        """The times of the supervisor."""
        return Timeouts(
            frame_ns=_ns(self.frame_timeout),
            stop_ns=_ns(self.stop_pub_timeout),
            late_ns=_ns(self.max_latency),
            period_ns=_ns(min(1.0 / self.min_rate, MAX_PERIOD_S)) if self.min_rate else 0,
            input_ns=_ns(self.input_timeout) if self.mode == "assist" else 0,
        )

    def gate(self, frame_rate_hz: float) -> GateConfig:
        """What is asked of a frame, for a model of that frame rate."""
        return GateConfig(
            max_age_ns=_ns(self.max_frame_age),
            max_future_ns=_ns(self.max_frame_future),
            refuse_zero=self.zero_stamp == "reject",
            period_ns=_ns(1.0 / frame_rate_hz) if self.decimate else 0,
            refuse_blind=self.refuse_blind,
        )


class Built(NamedTuple):
    """A pipeline, and what diagnostics tell of it."""

    pipeline: Pipeline
    facts: dict[str, str]
    remark: str  # what a user must know even while all is well


Config = TypeVar("Config")


def known() -> dict[str, tuple[Any, Setting]]:
    """Name -> (default, setting) of every parameter of the node."""
    return {**settings(NodeConfig), **settings(ControlConfig)}


def descriptor(default: Any, meaning: Setting, *, fixed: bool = False) -> ParameterDescriptor:
    """What ``ros2 param describe`` tells of a parameter; ``fixed`` ones are given at the start."""
    when = "" if meaning.runtime or fixed else "; changes only while unconfigured"
    result = ParameterDescriptor(description=meaning.doc + when, read_only=fixed)
    if meaning.choices:
        result.additional_constraints = "one of " + ", ".join(meaning.choices)
    low, high = meaning.low, meaning.high
    if low is None or high is None:
        return result
    if isinstance(default, int):
        result.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
    else:
        result.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    return result


def declare(
    node: Node, wanted: Mapping[str, tuple[Any, Setting]] | None = None, *, fixed: bool = False
) -> None:
    """Declare parameters.

    Args:
        node: whose they are.
        wanted: name -> (default, setting); None takes those of the node ``collision_avoidance``.
        fixed: they cannot be changed once the node runs.

    Raises:
        ConfigError: a given value has the wrong type or is out of range.
    """
    for name, (default, meaning) in (known() if wanted is None else wanted).items():
        try:
            node.declare_parameter(name, default, descriptor(default, meaning, fixed=fixed))
        except InvalidParameterTypeException as error:
            hint = " (write 1.0, not 1)" if isinstance(default, float) else ""
            raise ConfigError(f"{error}{hint}") from None
        except InvalidParameterValueException as error:
            raise ConfigError(str(error)) from None


def warn_of_unknown(node: Node) -> None:
    """Say which of the parameters that were given nobody asks for; ROS takes them in silence.

    They are no error: a file of parameters may be meant for several nodes.
    """
    given: Iterable[str] = getattr(node, "_parameter_overrides", ())  # rclpy keeps them to itself
    for name in given:
        if not (node.has_parameter(name) or name.startswith("qos_overrides.")):
            declared = node.get_parameters_by_prefix("")
            node.get_logger().warning(
                f"there is no parameter '{name}'{closest(name, declared)}: it changes nothing"
            )


def read(node: Node, kind: type[Config], changes: Iterable[Parameter] = ()) -> Config:
    """The node's parameters as a configuration, with ``changes`` that are not made yet.

    Raises:
        ConfigError: the values contradict each other or are out of range.
    """
    values = {name: node.get_parameter(name).value for name in settings(kind)}
    values.update({change.name: change.value for change in changes if change.name in values})
    return kind(**values)


def judge(node: Node, changes: list[Parameter], *, configured: bool) -> SetParametersResult:
    """Whether changes may be made, and the reason if not."""
    try:
        for name in _fixed(changes) if configured else ():
            raise ConfigError(f"{name} changes only while the node is unconfigured")
        read(node, NodeConfig, changes)
        read(node, ControlConfig, changes)
    except ConfigError as error:
        return SetParametersResult(successful=False, reason=str(error))
    return SetParametersResult(successful=True)


def build(config: NodeConfig, control: ControlConfig) -> Built:
    """The pipeline that the parameters ask for.

    Raises:
        CrnnSnnError: the model, the engine or the device is refused.
    """
    path = model_path(config.model)
    pipeline = load_pipeline(
        path, config.engine, config.device, control, config.reset_gap, config.encoding
    )
    mode = ", incremental" if pipeline.engine.incremental else ""
    engine = f"{pipeline.engine.name} on {pipeline.engine.device}{mode}"
    untrained = [name for name, head in pipeline.model.heads.items() if not head.trained]
    if untrained and not config.allow_untrained:
        raise ConfigError(
            f"{path}: no label ever reached the output {' and '.join(untrained)}, so it means "
            "nothing; train it, or set parameter 'allow_untrained' and keep the robot off the floor"
        )
    if pipeline.contract.mount and config.mount(pipeline.contract.fov_deg) is None:
        raise ConfigError(
            f"{path}: this model must be told how the camera is mounted; set parameters "
            "'camera_height' (m), 'camera_pitch' and 'camera_fov' (rad)"
        )
    if pipeline.contract.steady and config.mode != "drive" and config.turn_from == "commands":
        raise ConfigError(
            f"{path}: this model must know how the robot moves, and in mode {config.mode} its own "
            "commands do not tell it; set parameter 'turn_from' to odom, or 'mode' to drive"
        )
    return Built(
        pipeline,
        facts={"model": str(path), "model_sha256": pipeline.card["sha256"], "engine": engine},
        remark=f"untrained heads: {', '.join(untrained)}" if untrained else "",
    )


def lens(contract: InputContract, mount: CameraMount | None, calibrated_rad: float | None) -> str:
    """What a user must know of a camera unlike the one that is told, or those of the network.

    Args:
        contract: of the network.
        mount: as the network is told it.
        calibrated_rad: horizontal field of view by the camera's own calibration; None: not known.
    """
    if not contract.mount or mount is None:
        return ""
    told_rad = mount.horizontal_fov_rad
    remarks = []
    if calibrated_rad is not None and _unlike(calibrated_rad, told_rad, OFF_CALIBRATION):
        remarks.append(
            f"camera_info says a field of view of {math.degrees(calibrated_rad):.0f} degrees, the "
            f"network is told {math.degrees(told_rad):.0f}: set camera_fov to {calibrated_rad:.3f}"
        )
    if _unlike(told_rad, math.radians(contract.fov_deg), OFF_LENS):
        remarks.append(
            f"the camera's field of view is {math.degrees(told_rad):.0f} degrees, "
            f"the network is made for {contract.fov_deg:g}"
        )
    return "; ".join(remarks)


def _unlike(fov_rad: float, other_rad: float, most: float) -> bool:
    """Whether the focal length of one lens is more than so many times that of the other."""
    ratio = math.tan(0.5 * fov_rad) / math.tan(0.5 * other_rad)
    return not 1 / most < ratio < most


def model_path(model: str) -> Path:
    """A model file of the user's, else a shipped one of that name, else the default.

    Raises:
        ConfigError: there is none.
    """
    if model and (Path(model).is_file() or Path(model).name != model):
        return Path(model)
    try:
        return resource_path("models", model or "default.snn")
    except ConfigError as error:
        raise ConfigError(f"no model: {error}; set parameter 'model'") from None


def markdown() -> str:
    """The parameters as a table, for the documentation."""
    rows = ["| parameter | default | values | while driving | meaning |", "|---|---|---|---|---|"]
    for name, (default, meaning) in known().items():
        described = descriptor(default, meaning)
        values = described.additional_constraints.replace("one of ", "")
        if meaning.low is not None and meaning.high is not None:
            values = f"{meaning.low:g} to {meaning.high:g}"
        shown = json.dumps(default)  # as it is written in a parameter file
        when = "yes" if meaning.runtime else "no"
        rows.append(f"| `{name}` | `{shown}` | {values} | {when} | {meaning.doc} |")
    return "\n".join(rows)


def _ns(duration_s: float) -> int:
    return round(duration_s * 1e9)


def _fixed(changes: list[Parameter]) -> Iterator[str]:
    every = known()
    return (c.name for c in changes if c.name in every and not every[c.name][1].runtime)


if __name__ == "__main__":
    print(markdown())
