"""Spiking engines behind one interface; ``stepwise`` is the specification of all others."""

from __future__ import annotations

from crnn_snn_ros.core.device import choose_device
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
    return ENGINES[name](graph, choose_device(device))
