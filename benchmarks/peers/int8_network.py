"""The float network quantized to int8 by ONNX Runtime's own tool: what a user of it would deploy.

Static quantization (QDQ, int8 weights per channel, uint8 activations) of the network that
``FloatNetwork`` is, run by ONNX Runtime and by OpenVINO, on one thread. It rounds as they like: its
outputs are near ours, not equal.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crnn_snn_ros.core.graph import Graph
from crnn_snn_ros.evaluation.bench import Contender
from crnn_snn_ros.evaluation.float_network import FloatNetwork

Arrays = dict[str, NDArray[np.float32]]


class _Flat(nn.Module):
    """One frame in, state in; heads and state out, as plain lists of tensors."""

    def __init__(self, graph: Graph, shapes: dict[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.network = FloatNetwork(graph)
        self.names = [node.name for node, _ in graph.recurrent()]
        self.heads = [head.name for head in graph.heads()]
        self.start = {f"state_{n}": np.zeros((1, *shapes[n]), np.float32) for n in self.names}

    def forward(self, frame: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        heads, after = self.network(frame, dict(zip(self.names, state, strict=True)))
        return (*(heads[n] for n in self.heads), *(after[n] for n in self.names))


def contenders(
    graph: Graph, shapes: dict[str, tuple[int, ...]], frames: Sequence[NDArray[np.int8]]
) -> dict[str, Contender]:
    """By those runtimes that are installed.

    Raises:
        ImportError: there is no ONNX Runtime, whose tool quantizes.
    """
    from onnxruntime import InferenceSession, SessionOptions

    flat = _Flat(graph, shapes).eval()
    exported = _quantized(flat, frames)
    options = SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = InferenceSession(exported, options, providers=["CPUExecutionProvider"])
    found = {"int8 network, ONNX Runtime": _contender(flat, lambda a: session.run(None, a))}
    try:
        import openvino
    except ImportError:
        return found
    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(
        core.read_model(io.BytesIO(exported)), "CPU", settings
    ).create_infer_request()
    found["int8 network, OpenVINO"] = _contender(
        flat, lambda a: list(request.infer(a, share_outputs=True).values())
    )
    return found


def _contender(flat: _Flat, infer: Any) -> Contender:
    heads, names = len(flat.heads), list(flat.start)

    def step(frame: Tensor, state: Arrays) -> tuple[Any, Arrays]:
        values = infer({"frame": frame.numpy().astype(np.float32), **state})
        told = zip(flat.heads, map(torch.from_numpy, values), strict=False)
        return dict(told), dict(zip(names, values[heads:], strict=True))

    return Contender(step, flat.start, None)


def _quantized(flat: _Flat, frames: Sequence[NDArray[np.int8]]) -> bytes:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    example = torch.zeros(1, *frames[0].shape)
    state = tuple(map(torch.from_numpy, flat.start.values()))
    inputs = ["frame", *flat.start]
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, which has a successor
        paths = [str(Path(folder, name)) for name in ("float.onnx", "clean.onnx", "int8.onnx")]
        torch.onnx.export(
            flat, (example, *state), paths[0], input_names=inputs, opset_version=17, dynamo=False
        )
        quant_pre_process(paths[0], paths[1])
        quantize_static(
            *paths[1:],
            _Calibration({"frame": f[None].astype(np.float32), **flat.start} for f in frames),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return Path(paths[2]).read_bytes()


class _Calibration:
    """Frames, as the tool asks for them."""

    def __init__(self, inputs: Iterator[Arrays]) -> None:
        self._inputs = inputs

    def get_next(self) -> Arrays | None:
        """The next, or None."""
        return next(self._inputs, None)
