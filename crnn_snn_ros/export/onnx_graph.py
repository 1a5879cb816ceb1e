"""The integer network as ONNX: picture and memory in, outputs and memory out.

All values are integers held in float32. The proof that every partial sum stays below 2^24 is made
for any order of summation, so any runtime that multiplies what it is given (and not fractions of
it, as Winograd and FFT convolutions do) gets the same integers. ``ConvInteger`` would be no safer:
its operands end at 8 bits, which sums of pools do not, and its kernels for older processors
saturate in 16.

    count = clip(floor((Q + r + 0.5) / threshold), n_min, n_max)

The half changes nothing, as Q + r is an integer, but keeps the quotient 0.5 / threshold away from
the next integer on either side, so that a runtime may divide by a reciprocal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.bounds import prove
from crnn_snn_ros.core.errors import ConversionError
from crnn_snn_ros.core.graph import (
    INPUT,
    Conv,
    Head,
    Identity,
    MaxPool,
    Neurons,
    Shape,
    SumPool,
    Synapse,
    validate,
)
from crnn_snn_ros.io.model_schema import Model

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError as error:
    raise ImportError("export needs onnx: pip install 'crnn_snn_ros[export]'") from error

IMAGE = "image"  # the picture's input
OPSET = 17
IR_VERSION = 8  # with it, what ONNX Runtime 1.12 and all later ones read
FLOAT, INT32 = TensorProto.FLOAT, TensorProto.INT32


def carry_input(layer: str) -> str:
    """Name of the input that takes a recurrent layer's counts of the frame before."""
    return f"carry.{layer}"


def carry_output(layer: str) -> str:
    """Name of the output that gives them for the next frame."""
    return f"next.{layer}"


def head_output(head: str) -> str:
    """Name of the output that gives a head's accumulators, the integers."""
    return f"{head}.accumulator"


def counts_tensor(layer: str) -> str:
    """Name of the inner tensor that holds a layer's counts, float32."""
    return f"counts/{layer}"


def build(model: Model, about: Mapping[str, str]) -> onnx.ModelProto:
    """The network of one camera.

    | | | |
    |---|---|---|
    | in | ``image`` | uint8 (1, H, W, C): as the contract says, a channel of motion plus 128 |
    | in | ``carry.LAYER`` | int32 (1, *shape) of each recurrent layer; zeros at first |
    | out | ``HEAD.UNIT`` | float32 (1, outputs); of a logit, its probability |
    | out | ``HEAD.accumulator`` | int32 (1, outputs): the same, before its scale |
    | out | ``next.LAYER`` | int32, the carry of the next frame |

    Args:
        model: To export.
        about: Notes kept in the file, beside its input contract and frame rate.

    Raises:
        ConversionError: the graph cannot be proven.
    """
    prove(model.graph)
    builder = _Builder(model)
    for node in model.graph.nodes:
        if isinstance(node, SumPool):
            builder.sum_pool(node)
        elif isinstance(node, MaxPool):
            builder.max_pool(node)
        elif isinstance(node, Head):
            builder.head(node, model.heads[node.name].unit)
        else:
            builder.neurons(node)
    return builder.model(about)


class _Builder:
    """Grows the ONNX graph node by node; the activation of each is a tensor ``counts/NAME``."""

    def __init__(self, model: Model) -> None:
        self._model, self._shapes = model, validate(model.graph)
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        channels, height, width = model.graph.input_shape
        self._inputs = [_value(IMAGE, TensorProto.UINT8, (height, width, channels))]
        self._said: list[Any] = []  # outputs: what the network says,
        self._kept: list[Any] = []  # and what it must be given with the next frame
        planes = self._add("Transpose", [IMAGE], "image/planes", perm=[0, 3, 1, 2])
        pixels = self._add("Cast", [planes], "image/float", to=FLOAT)
        offset = self._constant("image/offset", np.array(128, np.float32))
        self._add("Sub", [pixels, offset], counts_tensor(INPUT))

    def model(self, about: Mapping[str, str]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self._nodes,
            "crnn",
            self._inputs,
            [*self._said, *self._kept],
            list(self._constants.values()),
        )
        proto = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="crnn_snn_ros",
        )
        contract = self._model.contract
        notes = {
            "input": json.dumps(vars(contract)),
            "frame_rate_hz": f"{self._model.frame_rate_hz:g}",
            **about,
        }
        helper.set_model_props(proto, dict(sorted(notes.items())))
        try:
            onnx.checker.check_model(proto, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ConversionError(f"the ONNX graph is not valid: {error}") from error
        return proto

    def neurons(self, node: Neurons) -> None:
        shape, name = self._shapes[node.name], node.name
        charge = self._charge(node, node.threshold // 2)
        if node.recurrent is not None:
            self._inputs.append(_value(carry_input(name), INT32, shape))
            before = self._add("Cast", [carry_input(name)], f"{name}/before", to=FLOAT)
            weight = self._per_channel(f"{name}/recurrent", node.recurrent, shape)
            returned = self._add("Mul", [before, weight], f"{name}/returned")
            charge = self._add("Add", [charge, returned], f"{name}/charge")
        half = self._constant(f"{name}/half", np.array(0.5, np.float32))
        between = self._add("Add", [charge, half], f"{name}/between")
        threshold = self._per_channel(f"{name}/threshold", node.threshold, shape)
        levels = self._add("Div", [between, threshold], f"{name}/levels")
        whole = self._add("Floor", [levels], f"{name}/whole")
        low = self._constant(f"{name}/n_min", np.array(node.n_min, np.float32))
        high = self._constant(f"{name}/n_max", np.array(node.n_max, np.float32))
        counts = self._add("Clip", [whole, low, high], counts_tensor(name))
        if node.recurrent is not None:
            self._kept.append(_value(carry_output(name), INT32, shape))
            self._add("Cast", [counts], carry_output(name), to=INT32)

    def head(self, node: Head, unit: str) -> None:
        shape, name = self._shapes[node.name], node.name
        charge = self._charge(node, np.zeros_like(node.bias))
        self._said += [_value(f"{name}.{unit}", FLOAT, shape)]
        self._said += [_value(head_output(name), INT32, shape)]
        self._add("Cast", [charge], head_output(name), to=INT32)
        scale = self._constant(f"{name}/scale", np.array(node.scale, np.float32))
        if node.kind == "logit":
            logit = self._add("Mul", [charge, scale], f"{name}/logit")
            self._add("Sigmoid", [logit], f"{name}.{unit}")
        else:
            self._add("Mul", [charge, scale], f"{name}.{unit}")

    def sum_pool(self, node: SumPool) -> None:
        channels, height, width = self._shapes[node.source]
        rows, columns = node.kernel
        blocks = (1, channels, height // rows, rows, width // columns, columns)
        shape = self._constant(f"{node.name}/blocks", np.array(blocks, np.int64))
        split = self._add("Reshape", [counts_tensor(node.source), shape], f"{node.name}/split")
        axes = self._constant(f"{node.name}/axes", np.array([3, 5], np.int64))
        self._add("ReduceSum", [split, axes], counts_tensor(node.name), keepdims=0)

    def max_pool(self, node: MaxPool) -> None:
        self._add(
            "MaxPool",
            [counts_tensor(node.source)],
            counts_tensor(node.name),
            kernel_shape=[node.kernel] * 2,
            strides=[node.stride] * 2,
            pads=[node.padding] * 4,
        )

    def _charge(self, node: Neurons | Head, offset: NDArray[np.int32]) -> str:
        """The sum of all synapses, the bias and an offset, which the first synapse brings."""
        shape = self._shapes[node.name]
        bias = node.bias + offset
        total = self._synapse(f"{node.name}/synapse0", node.synapses[0], bias, shape)
        for number, synapse in enumerate(node.synapses[1:], 1):
            more = self._synapse(f"{node.name}/synapse{number}", synapse, None, shape)
            total = self._add("Add", [total, more], f"{node.name}/sum{number}")
        return total

    def _synapse(
        self, name: str, synapse: Synapse, bias: NDArray[np.int32] | None, shape: Shape
    ) -> str:
        source = counts_tensor(synapse.source)
        if isinstance(synapse, Identity):
            out = self._add(
                "Mul", [source, self._per_channel(f"{name}/weight", synapse.weight, shape)], name
            )
            if bias is None:
                return out
            return self._add("Add", [out, self._per_channel(f"{name}/b", bias, shape)], f"{name}/o")
        # Kept as int8, which makes the file small; a runtime turns them into floats once.
        stored = self._constant(f"{name}/int8", synapse.weight)
        weight = self._add("Cast", [stored], f"{name}/weight", to=FLOAT)
        operands = [source, weight]
        if bias is not None:
            operands.append(self._constant(f"{name}/bias", bias.astype(np.float32)))
        if isinstance(synapse, Conv):
            return self._add(
                "Conv",
                operands,
                name,
                kernel_shape=list(synapse.weight.shape[2:]),
                strides=[synapse.stride] * 2,
                pads=[synapse.padding] * 4,
            )
        operands[0] = self._add("Flatten", [source], f"{name}/flat")
        return self._add("Gemm", operands, name, transB=1)

    def _per_channel(self, name: str, values: NDArray[np.int32], shape: Shape) -> str:
        column = values.astype(np.float32).reshape((-1,) + (1,) * (len(shape) - 1))
        return self._constant(name, column)

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def _add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output


def _value(name: str, kind: int, shape: Shape) -> Any:
    return helper.make_tensor_value_info(name, kind, (1, *shape))
