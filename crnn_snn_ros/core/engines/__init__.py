"""Engines behind one interface; ``stepwise`` is the specification of all others."""

from __future__ import annotations

from collections.abc import Callable

import torch

from crnn_snn_ros.core.device import choose_device
from crnn_snn_ros.core.engines.base import Engine
from crnn_snn_ros.core.engines.collapsed import CollapsedEngine
from crnn_snn_ros.core.engines.compiled import CompiledEngine
from crnn_snn_ros.core.engines.cuda import CudaEngine
from crnn_snn_ros.core.engines.folded import FoldedEngine
from crnn_snn_ros.core.engines.native import NativeEngine, native_paths
from crnn_snn_ros.core.engines.native_whole import NativeCollapsedEngine
from crnn_snn_ros.core.engines.stepwise import StepwiseEngine
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.graph import Graph

Build = Callable[[Graph, torch.device], Engine]
BuildSpiking = Callable[[Graph, torch.device, bool], Engine]  # the last: in incremental mode


def _collapsed(graph: Graph, device: torch.device) -> Engine:
    """In C++ where that can be."""
    if device.type == "cpu" and native_paths():
        return NativeCollapsedEngine(graph, device)
    return CollapsedEngine(graph, device)


S_ANALOG, INCREMENTAL = "s-analog", "incremental"
ENCODINGS = (S_ANALOG, INCREMENTAL)  # a frame is charged whole, or what has changed since the last
ENGINES: dict[str, BuildSpiking] = {"stepwise": StepwiseEngine, "folded": FoldedEngine}  # spiking
# Never taken for "all": one does not spike, one takes minutes to be made, one wants a device.
BY_NAME_ONLY: dict[str, Build] = {
    "collapsed": _collapsed,
    "compiled": CompiledEngine,
    "cuda": CudaEngine,
}
FASTEST = "folded"  # on any device
PROBE_FRAMES = 4
if native_paths():  # a CPU engine that needs a compiler at install
    ENGINES["native"] = NativeEngine
    FASTEST_ON_CPU = "native"
else:
    FASTEST_ON_CPU = FASTEST


def engines_on(device: str) -> tuple[str, ...]:
    """Names of the spiking engines that can be made here for a device ("cpu", "cuda")."""
    return tuple(name for name in ENGINES if name != "native" or device == "cpu")


def make_engine(name: str, graph: Graph, device: str = "cpu", encoding: str = S_ANALOG) -> Engine:
    """Build the engine called ``name`` ("auto": the fastest) on ``device`` ("auto": CUDA if any).

    Args:
        name: Of ``ENGINES`` or ``BY_NAME_ONLY``, or "auto".
        graph: The integer network.
        device: auto, cpu or cuda.
        encoding: One of ``ENCODINGS``.

    Raises:
        ConfigError: no such engine or device here, or the engine does not know the encoding.
        ConversionError: the graph cannot be proven.
    """
    place = choose_device(device)
    if name == "auto" and place.type == "cuda" and encoding == S_ANALOG:
        return _fastest_on_cuda(graph, place)
    if name == "auto":
        name = FASTEST_ON_CPU if place.type == "cpu" else FASTEST
    if name == "native" and name not in ENGINES:
        return NativeEngine(graph, place)  # says what is missing
    if name not in {*ENGINES, *BY_NAME_ONLY}:
        known = ", ".join((*ENGINES, *BY_NAME_ONLY))
        raise ConfigError(f"engine '{name}' is unknown; choose auto, {known}")
    if encoding not in ENCODINGS:
        raise ConfigError(f"encoding '{encoding}' is unknown; choose {', '.join(ENCODINGS)}")
    if name in ENGINES:
        return ENGINES[name](graph, place, encoding == INCREMENTAL)
    if encoding == INCREMENTAL:
        raise ConfigError(f"engine '{name}' runs no incremental mode; choose {', '.join(ENGINES)}")
    return BY_NAME_ONLY[name](graph, place)


def _fastest_on_cuda(graph: Graph, place: torch.device) -> Engine:
    """The engine ``cuda`` if it can be made here and is the QANN on some frames; or ``folded``."""
    from crnn_snn_ros.core.verify import random_video, verify  # which needs this package

    try:
        engine: Engine = CudaEngine(graph, place)
        frames = random_video(graph.input_shape, PROBE_FRAMES)
        if verify(graph, {engine.name: engine}, frames).first_difference is None:
            return engine
    except (ConfigError, RuntimeError):  # a device or driver that cannot record or compile
        return ENGINES[FASTEST](graph, place, False)
    return ENGINES[FASTEST](graph, place, False)
