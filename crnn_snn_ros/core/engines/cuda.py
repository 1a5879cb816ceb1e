"""For CUDA: a chunk of time-steps as one CUDA graph, the neurons of a layer as one kernel in it.

The chunk is that of the engine ``compiled``, a function of tensors without decisions: it is
recorded once, with buffers that stay where they are, and replayed for every frame. Synapses are
matrix products in float32. TF32 may replace them and is still exact: its operands keep integers up
to 2^11, of which ``base.EXACT_OPERAND`` allows 2^8 (larger ones are multiplied in float64), and it
sums in float32, where the proven bound of 2^24 holds. Products in float16 are not used: PyTorch
rounds their sums to float16 again.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from crnn_snn_ros.core.engines.chunked import CHUNK, Advance, ChunkedEngine
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.graph import Graph, Neurons
from crnn_snn_ros.core.neuron import BifState

WARM_UP = 3  # runs before a graph is recorded, in which libraries allocate their own memory


class CudaEngine(ChunkedEngine):
    """See the module; streams run one by one.

    Args:
        graph: The integer network.
        device: A CUDA device, unless ``record`` says how to do without.
        chunk: Time-steps at a time; of no effect on any result.
        record: Makes a function that can be repeated out of one that is called; for tests.
        fused: The module ``fused_scan``; None takes it where Triton is installed.

    Raises:
        ConfigError: the device is not CUDA.
        ConversionError: the graph cannot be proven.
    """

    name = "cuda"
    layout = torch.contiguous_format  # of which the kernel of a layer's neurons knows the channels
    kept = torch.float32

    def __init__(
        self,
        graph: Graph,
        device: str | torch.device = "cuda",
        chunk: int = CHUNK,
        record: Callable[[Callable[[], Any]], tuple[Callable[[], None], Any]] | None = None,
        fused: ModuleType | None = None,
    ) -> None:
        if torch.device(device).type != "cuda" and record is None:
            raise ConfigError(f"engine 'cuda' runs on CUDA only, got device '{device}'")
        self._record = record or record_graph
        self._fused = fused if record is not None else _fused_scan()
        super().__init__(graph, device, chunk)

    def _make_advance(self) -> Advance:
        """Record a chunk with buffers of its own; what comes in and goes out is copied."""
        buffers = self._example()
        replay, outcome = self._record(lambda: self._chunk(*buffers))

        def advance(*given: Any) -> Any:
            _copy(given, buffers)
            replay()
            return _cloned(outcome)  # the next replay writes over it

        return advance

    def _scan(
        self,
        node: Neurons,
        trains: dict[str, Tensor],
        before: Tensor | None,
        state: BifState,
        start: Tensor,
        until: Tensor,
    ) -> tuple[Tensor, Tensor, BifState]:
        if self._fused is None:
            return super()._scan(node, trains, before, state, start, until)
        charges = torch.zeros(self._length, *state.v.shape[1:], device=self.device)
        for part in self._charge_trains(node, trains):
            charges[: len(part)] += part
        memory = None if before is None else (before, self._recurrent[node.name])
        found: tuple[Tensor, Tensor, BifState] = self._fused.scan(
            charges, state, self._params[node.name], memory, start, until
        )
        return found


def record_graph(run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    """Record what a function does on the device; what it returns is written anew by each replay."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outcome = run()
    return graph.replay, outcome


def _fused_scan() -> ModuleType | None:
    """One kernel a layer where Triton is installed, as it is with PyTorch for CUDA."""
    try:
        return import_module("crnn_snn_ros.core.engines.fused_scan")
    except ImportError:
        return None


def _copy(source: Any, target: Any) -> None:
    """Tensors of nested tuples and dictionaries of one structure, into their places."""
    if isinstance(target, Tensor):
        target.copy_(source)
    elif isinstance(target, dict):
        for name in target:
            _copy(source[name], target[name])
    else:
        for one, other in zip(source, target, strict=True):
            _copy(one, other)


def _cloned(values: Any) -> Any:
    """The same structure of new tensors."""
    if isinstance(values, Tensor):
        return values.clone()
    if isinstance(values, dict):
        return {name: _cloned(value) for name, value in values.items()}
    return type(values)(*map(_cloned, values))  # a NamedTuple
