"""Fields of configuration dataclasses: default, range and meaning in one place.

The same field checks a value here and becomes the descriptor of a ROS parameter there, so that
a range is written down once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

from crnn_snn_ros.core.errors import ConfigError

_KEY = "setting"


@dataclass(frozen=True)
class Setting:
    """What is known of one field: its meaning and the values that it takes."""

    doc: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    runtime: bool = False  # may change while the robot drives


def setting(
    default: bool | int | float | str,
    doc: str,
    limits: tuple[float, float] | None = None,
    *,
    choices: tuple[str, ...] = (),
    runtime: bool = False,
) -> Any:
    """A dataclass field with its meaning and, for numbers, its range (both ends included)."""
    low, high = limits if limits is not None else (None, None)
    return field(default=default, metadata={_KEY: Setting(doc, low, high, choices, runtime)})


def settings(config: Any) -> dict[str, tuple[Any, Setting]]:
    """Name -> (default value, setting) of a configuration class or instance, in order."""
    return {f.name: (f.default, f.metadata[_KEY]) for f in fields(config)}


def check(config: Any) -> None:
    """Check every field of a configuration against its type, range and choices.

    Raises:
        ConfigError: naming the field, the value and what is allowed.
    """
    for name, (default, known) in settings(config).items():
        _check_one(name, getattr(config, name), type(default), known)


def _check_one(name: str, value: Any, kind: type, known: Setting) -> None:
    fits = type(value) is kind or (kind is float and type(value) is int)
    if not fits:
        raise ConfigError(f"{name} is {value!r}; it takes a value of type {kind.__name__}")
    if known.choices and value not in known.choices:
        raise ConfigError(f"{name} is '{value}'; it takes one of {', '.join(known.choices)}")
    if known.low is None or known.high is None:
        return
    if not math.isfinite(value) or not known.low <= value <= known.high:
        raise ConfigError(f"{name} is {value}; it must lie in [{known.low:g}, {known.high:g}]")
