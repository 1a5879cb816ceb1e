"""Spiking engines behind one interface; ``stepwise`` is the specification of all others."""

from __future__ import annotations

import torch

from crnn_snn_ros.core.engines.base import Engine
from crnn_snn_ros.core.engines.folded import FoldedEngine
from crnn_snn_ros.core.engines.stepwise import StepwiseEngine
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.graph import Graph

ENGINES: dict[str, type[Engine]] = {"stepwise": StepwiseEngine, "folded": FoldedEngine}
FASTEST = "folded"


def make_engine(name: str, graph: Graph, device: str = "cpu") -> Engine:
    """Build the engine called ``name`` ("auto": the fastest) on ``device`` ("auto": CUDA if any).

    Raises:
        ConfigError: no such engine or device here.
        ConversionError: the graph cannot be proven.
    """
    name = FASTEST if name == "auto" else name
    if name not in ENGINES:
        raise ConfigError(f"engine '{name}' is unknown; choose auto, {', '.join(ENGINES)}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.partition(":")[0] not in ("cpu", "cuda"):
        raise ConfigError(f"device '{device}' is unknown; choose auto, cpu or cuda")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError("device 'cuda' was asked for, but torch finds no CUDA here; use auto")
    return ENGINES[name](graph, device)
