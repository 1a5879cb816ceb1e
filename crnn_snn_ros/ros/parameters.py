"""ROS parameters <-> configuration: names, ranges and meanings come from the dataclasses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from crnn_snn_ros.core.command import ControlConfig
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.settings import Setting, check, setting, settings
from crnn_snn_ros.core.supervisor import Timeouts
from crnn_snn_ros.io import model_file
from crnn_snn_ros.io.resources import resource_path
from crnn_snn_ros.pipeline import Pipeline, load_pipeline

TRANSPORTS = ("raw", "compressed")


@dataclass(frozen=True)
class NodeConfig:
    """What the node is told beside the control law.

    Raises:
        ConfigError: a value is outside its range.
    """

    model: str = setting("", "model file, or the name of a shipped one; empty: default.snn")
    engine: str = setting("auto", "spiking engine: auto, or a name that `crnn-snn bench` lists")
    device: str = setting("auto", "auto, cpu or cuda")
    threads: int = setting(1, "threads of torch", (1, 256))
    image_transport: str = setting(
        "raw",
        "raw: Image on `image`; compressed: JPEG or PNG on `image/compressed`",
        choices=TRANSPORTS,
    )
    stamped: bool = setting(False, "publish cmd_vel as TwistStamped, with the header of the image")
    autostart: bool = setting(True, "configure and activate by itself")
    enabled: bool = setting(True, "let commands leave from the start; see ~/enable")
    allow_untrained: bool = setting(
        False, "drive even with a model that has an output for which it never saw a label"
    )
    reset_gap: float = setting(
        1.0, "gap between two frames that clears the recurrent state, s", (0.05, 60.0)
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

    def __post_init__(self) -> None:
        check(self)

    @property
    def timeouts(self) -> Timeouts:
        """The times of the supervisor."""
        return Timeouts(round(self.frame_timeout * 1e9), round(self.stop_pub_timeout * 1e9))


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


def read(node: Node, kind: type[Config], changes: Iterable[Parameter] = ()) -> Config:
    """The node's parameters as a configuration, with ``changes`` that are not made yet.

    Raises:
        ConfigError: the values contradict each other or are out of range.
    """
    values = {name: node.get_parameter(name).value for name in settings(kind)}
    values.update({change.name: change.value for change in changes if change.name in values})
    return kind(**values)


def check_changes(node: Node, changes: list[Parameter], *, configured: bool) -> None:
    """Judge changes before they are made.

    Raises:
        ConfigError: with the reason to refuse them.
    """
    for name in _fixed(changes) if configured else ():
        raise ConfigError(f"{name} changes only while the node is unconfigured")
    read(node, NodeConfig, changes)
    read(node, ControlConfig, changes)


def build(config: NodeConfig, control: ControlConfig) -> Built:
    """The pipeline that the parameters ask for.

    Raises:
        CrnnSnnError: the model, the engine or the device is refused.
    """
    path = model_path(config.model)
    pipeline = load_pipeline(path, config.engine, config.device, control, config.reset_gap)
    engine = f"{pipeline.engine.name} on {pipeline.engine.device}"
    digest = model_file.header(path)["sha256"]
    untrained = [name for name, head in pipeline.model.heads.items() if not head.trained]
    if untrained and not config.allow_untrained:
        raise ConfigError(
            f"{path}: no label ever reached the output {' and '.join(untrained)}, so it means "
            "nothing; train it, or set parameter 'allow_untrained' and keep the robot off the floor"
        )
    return Built(
        pipeline,
        facts={"model": str(path), "model_sha256": digest, "engine": engine},
        remark=f"untrained heads: {', '.join(untrained)}" if untrained else "",
    )


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


def _fixed(changes: list[Parameter]) -> Iterator[str]:
    every = known()
    return (c.name for c in changes if c.name in every and not every[c.name][1].runtime)
