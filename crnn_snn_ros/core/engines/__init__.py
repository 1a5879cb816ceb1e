"""Spiking engines behind one interface; ``stepwise`` is the specification of all others."""

from __future__ import annotations

import torch

from crnn_snn_ros.core.device import choose_device
from crnn_snn_ros.core.engines.base import Engine
from crnn_snn_ros.core.engines.folded import FoldedEngine
from crnn_snn_ros.core.engines.native import NativeEngine, native_paths
from crnn_snn_ros.core.engines.stepwise import StepwiseEngine
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.graph import Graph

ENGINES: dict[str, type[Engine]] = {"stepwise": StepwiseEngine, "folded": FoldedEngine}
CPU_ENGINES: dict[str, type[Engine]] = {"native": NativeEngine}  # and not always built


def engines_on(device: str) -> tuple[str, ...]:
    """Names of the engines that can be made here on a device, the fastest last."""
    native = CPU_ENGINES if torch.device(device).type == "cpu" and native_paths() else {}
    return (*ENGINES, *native)


def make_engine(name: str, graph: Graph, device: str = "cpu") -> Engine:
    """Build the engine called ``name`` ("auto": the fastest) on ``device`` ("auto": CUDA if any).

    Raises:
        ConfigError: no such engine or device here.
        ConversionError: the graph cannot be proven.
    """
    known = ENGINES | CPU_ENGINES
    device = choose_device(device)
    name = engines_on(device)[-1] if name == "auto" else name
    if name not in known:
        raise ConfigError(f"engine '{name}' is unknown; choose auto, {', '.join(known)}")
    return known[name](graph, device)
