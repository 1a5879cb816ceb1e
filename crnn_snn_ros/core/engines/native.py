"""The graph in C++: int8 products, the neurons' scan fused behind them, silence skipped.

How it works is told in ``native_src``. The library is compiled when the package is installed, if
there is a compiler; it holds one build of the kernel per instruction set and runs the best that the
CPU has. One thread.
"""

from __future__ import annotations

import ctypes
import os
from abc import abstractmethod
from functools import lru_cache
from importlib.util import find_spec
from typing import NamedTuple

import torch
from torch import Tensor

from crnn_snn_ros.core.engines.base import Carry, Engine, FrameResult, Trace, changes, deliver
from crnn_snn_ros.core.engines.native_pack import IncrementalPacked, Packed
from crnn_snn_ros.core.engines.native_structs import STRUCTURES, CallStruct, CarryStruct
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.graph import Graph
from crnn_snn_ros.core.neuron import canonical_spike

LIBRARY = "crnn_snn_ros.core.engines._native"
CHUNK = 16  # time-steps at a time: most frames settle within one chunk, and it fits the caches
SHORTS = ("avx2",)  # paths without an instruction for products of any u8
PATH_VARIABLE = "CRNN_SNN_NATIVE_PATH"  # for comparisons; the fastest is the default


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL | None:
    """The library, or None where it was not built."""
    spec = find_spec(LIBRARY)
    if spec is None or spec.origin is None:
        return None
    library = ctypes.CDLL(spec.origin)
    library.native_path.restype = ctypes.c_char_p
    library.native_run.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    library.native_run.restype = None
    sizes = (ctypes.c_int64 * len(STRUCTURES))()
    library.native_layout(sizes)
    return library if list(sizes) == [ctypes.sizeof(struct) for struct in STRUCTURES] else None


def native_paths() -> dict[str, int]:
    """Instruction sets that the library and this CPU both have, fastest first; empty: no library.

    The values are the library's numbers for them.
    """
    library = _library()
    names: list[str] = []
    while library is not None and (name := library.native_path(len(names))) is not None:
        names.append(name.decode())  # empty: this CPU cannot run it
    return {name: number for number, name in enumerate(names) if name}


def usual_path() -> str | None:
    """The instruction set that an engine takes where none is asked for; None: no library."""
    return os.environ.get(PATH_VARIABLE) or next(iter(native_paths()), None)


class NativeMemory(NamedTuple):
    """What ``Memory`` is to other engines, as the library wrote it."""

    delivered: dict[str, Tensor]
    last_frame: Tensor  # int8 (N, C, H, W)
    last_results: Tensor  # float32 (N, result size)
    last_membranes: Tensor  # int32 (N, result size)


class LibraryEngine(Engine):
    """What the engines of the library share: one call a frame. Its buffers are for one thread.

    Raises:
        ConfigError: the library is not built, or there is no such path or device.
        ConversionError: the graph cannot be proven.
    """

    def __init__(
        self,
        graph: Graph,
        device: str | torch.device,
        path: str | None,
        incremental: bool = False,
    ) -> None:
        super().__init__(graph, device, incremental)
        if self.device.type != "cpu":
            raise ConfigError(
                f"engine '{self.name}' in C++ runs on the CPU only, got device '{self.device}'"
            )
        paths, library = native_paths(), _library()
        if library is None or not paths:
            raise ConfigError(
                f"engine '{self.name}' is not built here; install a C++ compiler (apt-get install "
                "g++) and then this package again, or choose folded"
            )
        self.path = path or usual_path() or ""
        if self.path not in paths:
            raise ConfigError(f"native path '{self.path}' is unknown; choose {', '.join(paths)}")
        self._run, self._path = library.native_run, paths[self.path]
        self._recurrent = [node.name for node, _ in graph.recurrent()]
        self._carries = (CarryStruct * max(1, len(self._recurrent)))()
        self.packed = self._pack()
        self._views = {name: self._layout(name) for name in self.packed.lanes}
        self._call = CallStruct(
            carry=ctypes.addressof(self._carries), result_size=self.packed.result_size
        )

    @abstractmethod
    def _pack(self) -> Packed:
        """The graph in the library's form, once the rest of the engine is known."""

    def _answer(
        self,
        frame: Tensor,
        carry: Carry,
        limit: int,
        kept: tuple[Tensor | None, ...] = (None, None),
        memory: NativeMemory | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run one frame: results, settle steps, and whether a spike was still to come.

        Args:
            frame: As for ``step``.
            carry: As for ``step``, of recurrent counts that are charged in this frame.
            limit: Last time-step.
            kept: Where to keep spikes, (N, T, trace size) of bytes, and membranes, int32 (N, ...).
            memory: Where the frame before ended, if this one goes on from there.
        """
        self._check(frame, carry)
        pixels = _bytes(frame)
        batch = len(pixels)
        results = torch.empty(batch, self.packed.result_size, dtype=torch.float32)
        settle_steps = torch.empty(batch, dtype=torch.int64)
        busy = torch.empty(batch, dtype=torch.bool)
        call = self._call
        call.frame, call.batch, call.limit = pixels.data_ptr(), batch, limit
        call.results = results.data_ptr()
        trace, membranes = kept
        call.trace, call.membranes = _pointer(trace), _pointer(membranes)
        if trace is not None:
            call.trace_steps, call.trace_size = trace.shape[1:]
        for name in ("last_frame", "last_results", "last_membranes"):
            setattr(call, name, memory and getattr(memory, name).data_ptr())
        quiet = carry.exact.to("cpu").contiguous()
        call.quiet = quiet.data_ptr()
        call.settle_steps, call.busy = settle_steps.data_ptr(), busy.data_ptr()
        before = [self._set_carry(i, carry.counts[name]) for i, name in enumerate(self._recurrent)]
        self._run(self._path, ctypes.addressof(self.packed.program), ctypes.addressof(call))
        del before, pixels, quiet  # the library read them until here
        return results, settle_steps, busy

    def _layout(self, name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shape of one stream's results of a node, and their strides."""
        shape, lanes = self.shapes[name], self.packed.lanes[name]
        return shape, (1,) if len(shape) == 1 else (1, shape[2] * lanes, lanes)

    def view(self, results: Tensor, name: str, first: int) -> Tensor:
        """One node's part of what the library wrote (N, ..., size), channels last: (N, *shape)."""
        shape, strides = self._views[name]
        batch, *_, size = results.shape
        return results.as_strided((batch, *shape), (size, *strides), first)

    def _set_carry(self, number: int, counts: Tensor) -> Tensor:
        """Point the library at a carry, wherever it lies; the caller keeps what is returned."""
        name = self._recurrent[number]
        if tuple(counts.shape[1:]) != self.shapes[name] or len(counts) != self._call.batch:
            raise ValueError(
                f"carry of layer '{name}' has shape {tuple(counts.shape)}, "
                f"expected {(self._call.batch, *self.shapes[name])}"
            )
        counts = counts.to("cpu", torch.float32)
        struct, strides = self._carries[number], counts.stride()
        struct.values, struct.stride_n, struct.stride_c = counts.data_ptr(), *strides[:2]
        struct.stride_h, struct.stride_w = strides[2:] or (0, 0)
        return counts


class NativeEngine(LibraryEngine):
    """See the module. Not to be used from several threads at once: buffers are its own.

    Args:
        graph: The integer network.
        device: Must be a CPU.
        path: Instruction set, one of ``native_paths``; None takes the fastest.
        chunk: Time-steps at a time, 1 to 64; of no effect on any result.
        incremental: As for ``Engine``.

    Raises:
        ConfigError: the library is not built, or there is no such path or device.
        ConversionError: the graph cannot be proven.
    """

    name = "native"

    def __init__(
        self,
        graph: Graph,
        device: str | torch.device = "cpu",
        incremental: bool = False,
        path: str | None = None,
        chunk: int = CHUNK,
    ) -> None:
        self._chunk = chunk
        super().__init__(graph, device, path, incremental)

    def _pack(self) -> Packed:
        form = IncrementalPacked if self.incremental else Packed
        shorts = self.path in SHORTS
        return form(self.graph, self.bounds, self.shapes, self._chunk, shorts=shorts)

    def step(
        self, frame: Tensor, carry: Carry, *, num_steps: int | None = None, trace: bool = False
    ) -> tuple[FrameResult, Carry]:
        """See ``Engine.step``."""
        limit = self._limit(num_steps)
        memory: NativeMemory | None = carry.memory if self.incremental else None
        arriving, membranes = carry, None
        if memory is not None:
            arriving = Carry(changes(carry.counts, memory.delivered), carry.exact)
        if self.incremental:
            membranes = torch.empty(len(frame), self.packed.result_size, dtype=torch.int32)
        results, settle_steps, busy = self._answer(
            frame, arriving, limit, (None, membranes), memory
        )
        traced = self._trace(frame, settle_steps, limit, arriving, memory) if trace else None
        counts, activity, heads = self._gather(results)
        settled = carry.exact & ~busy
        result = FrameResult(heads, counts, activity, settle_steps, settled, traced)
        kept = None
        if membranes is not None:
            delivered = deliver(carry.counts, arriving.counts, limit)
            kept = NativeMemory(delivered, _bytes(frame), results, membranes)
        return result, Carry({name: counts[name] for name in self._recurrent}, settled, kept)

    def _gather(
        self, results: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
        """Counts, activity and heads: views of the results."""
        heads, counts, activity = {}, {}, {}
        for name, (first, second) in self.packed.places.items():
            if second == 0:
                heads[name] = self.view(results, name, first)
            else:
                counts[name] = self.view(results, name, first)
                activity[name] = self.view(results, name, second)
        return counts, activity, heads

    def _trace(
        self,
        frame: Tensor,
        settle_steps: Tensor,
        limit: int,
        carry: Carry,
        memory: NativeMemory | None,
    ) -> Trace:
        """Run the same frame again and keep every spike, now that it is known how many steps."""
        packed, batch = self.packed, len(settle_steps)
        steps = min(limit, int(settle_steps.max()) + 1)  # the last one is the silence found there
        trains = torch.zeros(batch, steps, packed.trace_size, dtype=torch.int8)
        membranes = torch.zeros(batch, packed.result_size, dtype=torch.int32)
        self._answer(frame, carry, limit, (trains, membranes), memory)
        spikes = {}
        for name, place in packed.trace_places.items():
            shape, strides = self._views[name]
            view = trains.as_strided((steps, batch, *shape), (*_swapped(trains), *strides), place)
            spikes[name] = view.to(torch.float32)
        recurrent = {
            name: torch.stack([canonical_spike(count, t) for t in range(1, steps + 1)])
            for name, count in carry.counts.items()
        }
        ends = self._gather(membranes)[0]
        neurons = {node.name: ends[node.name].to(torch.float32) for node in self.graph.neurons()}
        return Trace(spikes, recurrent, neurons)


def _bytes(frame: Tensor) -> Tensor:
    return frame.to("cpu", torch.int8).contiguous()


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _swapped(trains: Tensor) -> tuple[int, int]:
    """Strides of (steps, batch) of a tensor (batch, steps, ...)."""
    return trains.stride(1), trains.stride(0)
