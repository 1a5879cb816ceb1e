"""The engine `collapsed` in C++: counts in one step, by the products of the engine `native`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from crnn_snn_ros.core.engines.base import Carry, FrameResult
from crnn_snn_ros.core.engines.native import SHORTS, LibraryEngine
from crnn_snn_ros.core.engines.native_layout import LANES, Range
from crnn_snn_ros.core.engines.native_pack import Packed
from crnn_snn_ros.core.engines.native_structs import NodeStruct
from crnn_snn_ros.core.graph import INPUT, Graph, Neurons, SumPool


class WholePacked(Packed):
    """One step, at which every node sends its counts.

    All of them lie in images.
    """

    whole = True

    def _input_block(self, graph: Graph) -> int:
        """Pools run whole blocks of their source."""
        pooled = any(isinstance(n, SumPool) and n.source == INPUT for n in graph.nodes)
        return LANES if pooled else super()._input_block(graph)

    def _sent(self, node: Neurons) -> Range:
        return Range(-node.n_min, node.n_max - node.n_min)

    def _lies_in_image(self, graph: Graph, name: str) -> bool:  # noqa: ARG002
        return True

    def _width(self, source: str, channels: int) -> int:  # noqa: ARG002
        return self.lanes[source]

    def _results(self, struct: NodeStruct, name: str) -> None:
        """Bytes where they fit, for that is an eighth to write; floats for a carry."""
        size = self.pixels(name) * self.lanes[name]
        self.trace_places[name] = struct.trace_at = self.trace_size
        self.trace_size += size
        struct.counts_at = -1
        if struct.wide or struct.recurrent:
            self.places[name] = (self.result_size, 0)
            struct.counts_at = self.result_size
            self.result_size += size


class Counts(Mapping[str, Tensor]):
    """Spike counts by layer, float32 (N, *shape), made when asked for: most are never looked at."""

    def __init__(self, engine: NativeCollapsedEngine, results: Tensor, sent: Tensor) -> None:
        self._engine = engine
        self._results = results
        self._sent = sent  # u8 (N, 1, size)

    def __getitem__(self, name: str) -> Tensor:
        packed = self._engine.packed
        if name in packed.places:
            return self._engine.view(self._results, name, packed.places[name][0])
        count = self._engine.view(self._sent, name, packed.trace_places[name])
        return count.to(torch.float32) - packed.ranges[name].offset

    def __iter__(self) -> Iterator[str]:
        return iter(self._engine.packed.trace_places)

    def __len__(self) -> int:
        return len(self._engine.packed.trace_places)


class NativeCollapsedEngine(LibraryEngine):
    """``CollapsedEngine``, in all that it says of a frame, by int8 products.

    Args:
        graph: The integer network.
        device: Must be a CPU.
        path: Instruction set, one of ``native_paths``; None takes the fastest.

    Raises:
        ConfigError: the library is not built, or there is no such path or device.
        ConversionError: the graph cannot be proven.
    """

    name = "collapsed"
    spikes = False

    def __init__(
        self, graph: Graph, device: str | torch.device = "cpu", path: str | None = None
    ) -> None:
        super().__init__(graph, device, path)
        self._heads = [head.name for head in graph.heads()]

    def _pack(self) -> Packed:
        shorts = self.path in SHORTS
        return WholePacked(self.graph, self.bounds, self.shapes, chunk=1, shorts=shorts)

    def step(
        self,
        frame: Tensor,
        carry: Carry,
        *,
        num_steps: int | None = None,
        trace: bool = False,  # noqa: ARG002
    ) -> tuple[FrameResult, Carry]:
        """See ``Engine.step`` and ``CollapsedEngine``."""
        limit = self._limit(num_steps)
        sent = torch.empty(len(carry.exact), 1, self.packed.trace_size, dtype=torch.uint8)
        results, settle_steps, _ = self._answer(frame, carry, limit, (sent, None))
        heads, after = (
            {name: self.view(results, name, self.packed.places[name][0]) for name in names}
            for names in (self._heads, self._recurrent)
        )
        settled = carry.exact.clone()
        counts = Counts(self, results, sent)
        return FrameResult(heads, counts, {}, settle_steps, settled, None), Carry(after, settled)
