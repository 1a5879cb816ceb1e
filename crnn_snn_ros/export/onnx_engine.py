"""ONNX Runtime as an engine, so that ``core.verify`` can hold an exported file to the QANN."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor

from crnn_snn_ros.core.engines.base import Carry, Engine, FrameResult
from crnn_snn_ros.core.graph import Graph, MaxPool, Neurons
from crnn_snn_ros.export.onnx_graph import (
    IMAGE,
    carry_input,
    carry_output,
    counts_tensor,
    head_output,
)

try:
    from onnxruntime import InferenceSession, SessionOptions
except ImportError as error:
    raise ImportError("export needs onnxruntime: pip install 'crnn_snn_ros[export]'") from error

PROVIDER = "CPUExecutionProvider"


class OnnxEngine(Engine):
    """Runs what ``onnx_graph.build`` made. It does not spike: as the engine ``collapsed``.

    Heads and carry are those of the exported bytes, run as a user's program would run them. The
    counts of the layers between come from a second session, of the same graph with all of them
    among its outputs, so that a fault is found in the layer that makes it.

    Args:
        graph: That was exported.
        exported: The file's bytes.
    """

    name = "onnxruntime"
    spikes = False

    def __init__(self, graph: Graph, exported: bytes) -> None:
        super().__init__(graph)
        self._recurrent = [node.name for node, _ in graph.recurrent()]
        self._heads = [head.name for head in graph.heads()]
        self._layers = [n.name for n in graph.nodes if isinstance(n, Neurons | MaxPool)]
        self._session = _session(exported)
        self._opened = _session(_opened(exported, self._layers))

    def step(
        self,
        frame: Tensor,
        carry: Carry,
        *,
        num_steps: int | None = None,
        trace: bool = False,  # noqa: ARG002
    ) -> tuple[FrameResult, Carry]:
        """See ``Engine.step``; of one stream, N = 1."""
        self._check(frame, carry)
        self._limit(num_steps)
        heads, after = self.infer(frame, carry.counts)
        given = self._given(frame, carry.counts)
        between = self._opened.run([*map(counts_tensor, self._layers)], given)
        counts = dict(zip(self._layers, map(torch.from_numpy, between), strict=True))
        settled = carry.exact.clone()
        steps = torch.zeros(1, dtype=torch.int64)
        result = FrameResult(heads, {**counts, **after}, {}, steps, settled, None)
        return result, Carry(after, settled)

    def infer(
        self, frame: Tensor, counts: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Heads and recurrent counts of a frame (1, C, H, W), as a user's program gets them."""
        wanted = [*map(head_output, self._heads), *map(carry_output, self._recurrent)]
        given = self._given(frame, counts)
        values = [torch.from_numpy(v).float() for v in self._session.run(wanted, given)]
        heads = dict(zip(self._heads, values, strict=False))
        return heads, dict(zip(self._recurrent, values[len(heads) :], strict=True))

    def _given(self, frame: Tensor, counts: dict[str, Tensor]) -> dict[str, Any]:
        pixels = frame.to(torch.int16).add(128).to(torch.uint8).permute(0, 2, 3, 1).numpy()
        given = {IMAGE: np.ascontiguousarray(pixels)}
        for name in self._recurrent:
            given[carry_input(name)] = counts[name].to(torch.int32).numpy()
        return given


def _opened(exported: bytes, layers: list[str]) -> bytes:
    """The same graph with the counts of more layers among its outputs."""
    proto = copy.deepcopy(onnx.load_from_string(exported))
    names = map(counts_tensor, layers)
    proto.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    data: bytes = proto.SerializeToString()
    return data


def _session(exported: bytes) -> InferenceSession:
    options = SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return InferenceSession(exported, options, providers=[PROVIDER])
