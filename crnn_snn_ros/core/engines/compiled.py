"""For CPUs: chunks of time-steps compiled by inductor, a layer's scan over time as one loop.

Between layers spikes and their counts are half floats, which hold integers up to 2^11, with the
channels of a pixel side by side: half the memory to move. Where a CPU has int8 products, they
convolve the spikes.
"""

from __future__ import annotations

import warnings
from types import FunctionType, MethodType

import torch

from crnn_snn_ros.core.engines import int8_convolution
from crnn_snn_ros.core.engines.base import Charge
from crnn_snn_ros.core.engines.chunked import CHUNK, Advance, ChunkedEngine
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.graph import Conv, Graph, Synapse


class CompiledEngine(ChunkedEngine):
    """See the module. Compiles when it is made, which may take minutes.

    Args:
        graph: The integer network.
        device: Of all tensors.
        compiled: False runs the same function without a compiler: exact too, slow, for tests.
        chunk: Time-steps at a time; of no effect on any result.

    Raises:
        ConfigError: inductor cannot compile here.
        ConversionError: the graph cannot be proven.
    """

    name = "compiled"
    layout = torch.channels_last
    kept = torch.float16

    def __init__(
        self,
        graph: Graph,
        device: str | torch.device = "cpu",
        compiled: bool = True,
        chunk: int = CHUNK,
    ) -> None:
        self._compiled = compiled
        super().__init__(graph, device, chunk)

    def _make_charge(self, synapse: Synapse, dtype: torch.dtype) -> Charge:
        if self.device.type == "cpu" and int8_convolution.available() and isinstance(synapse, Conv):
            largest = int8_convolution.largest_spikes(self.graph).get(synapse.source)
            if largest is not None and largest <= int8_convolution.LARGEST:
                size = self.shapes[synapse.source]
                return int8_convolution.make_int8_charge(synapse, largest, size)
        return super()._make_charge(synapse, dtype)

    def _make_advance(self) -> Advance:
        """Compile, and run until there is nothing left to compile."""
        if not self._compiled:
            return self._chunk
        # What is compiled is kept by code object, and only a few of each: this engine has its own.
        own = FunctionType(
            ChunkedEngine._chunk.__code__.replace(), ChunkedEngine._chunk.__globals__
        )
        advance: Advance = torch.compile(MethodType(own, self), fullgraph=True, dynamic=False)
        pixels, before, state, start, until = self._example()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what the compiler is made of; none is ours
                for now in (start, start + self._length):
                    state = advance(pixels, before, state, now, until).state
        except (RuntimeError, OSError) as error:
            raise ConfigError(
                f"engine 'compiled' cannot be compiled here: {_reason(error)}; install a C++ "
                "compiler (apt-get install g++), or choose native or folded"
            ) from error
        return advance


def _reason(error: Exception) -> str:
    """The line of a compiler's report that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [
        "no reason given"
    ]
    return next((line for line in lines if not line.endswith("raised:")), lines[0])
