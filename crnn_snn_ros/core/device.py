"""Which device to compute on: asked for by name, never silently another one."""

from __future__ import annotations

import torch

from crnn_snn_ros.core.errors import ConfigError


def choose_device(name: str) -> torch.device:
    """The device called ``name``; "auto" is CUDA where there is any, else the CPU.

    Raises:
        ConfigError: no such device here.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
        raise ConfigError(f"device '{name}' is unknown; choose auto, cpu or cuda")
    if kind == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError(f"device '{name}' was asked for, but torch finds no CUDA; use auto")
        if int(number or 0) >= torch.cuda.device_count():
            raise ConfigError(f"device '{name}': there are only {torch.cuda.device_count()}")
    return torch.device(name)
