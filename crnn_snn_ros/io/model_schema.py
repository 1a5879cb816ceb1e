"""What a model file says: a model as JSON and tensors, and back. Format: ``docs/model_file.md``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from crnn_snn_ros.core.errors import ModelFileError
from crnn_snn_ros.core.graph import (
    Conv,
    Graph,
    Head,
    Identity,
    Linear,
    MaxPool,
    Neurons,
    Node,
    SumPool,
    Synapse,
    validate,
)
from crnn_snn_ros.core.mount import STANDARD_FOV_DEG
from crnn_snn_ros.io.preprocess import InputContract
from crnn_snn_ros.io.tensor_file import Arrays, fields, require, show

NORMALISATION = "pixel - 128"  # what ``preprocess`` does; a reader must refuse any other
MAX_FRAME_RATE_HZ = 1000.0

_MODEL = {
    "graph": dict,
    "input": dict,
    "frame_rate_hz": float,
    "heads": dict,
    "provenance": dict,
    "metrics": dict,
}
_INPUT = {
    "width": int,
    "height": int,
    "colour": str,
    "crop_top": float,
    "crop_bottom": float,
    "normalisation": str,
}
# Where there are channels beside colour.
_CHANNELS = {"motion": int, "mount": bool, "steady": bool, "floor": bool, "wheels": bool}
_LENS = {"fov_deg": float}
_NODE: dict[str, dict[str, type]] = {
    "neurons": {"synapses": list, "n_min": int, "n_max": int, "recurrent": bool},
    "sum_pool": {"source": str, "kernel": list},
    "max_pool": {"source": str, "kernel": int, "stride": int, "padding": int},
    "head": {"synapses": list, "scale": float, "kind": str},
}
_SYNAPSE: dict[str, dict[str, type]] = {
    "conv": {"source": str, "stride": int, "padding": int},
    "linear": {"source": str},
    "identity": {"source": str},
}


@dataclass(frozen=True)
class HeadInfo:
    """What an output of the network means."""

    unit: str  # "rad", "probability", ...
    trained: bool  # False: no label ever reached this head, its value means nothing

    def __post_init__(self) -> None:
        """Validate."""
        require(
            re.fullmatch(r"[A-Za-z0-9%/^*_-]{1,32}", self.unit) is not None,
            f"unit {show(self.unit)} of a head is not 1..32 letters, digits or any of %/^*_-",
        )


@dataclass(frozen=True, eq=False)
class Model:
    """A network with all that is needed to run it and to say where it came from.

    Raises:
        ModelFileError: the parts contradict each other.
    """

    graph: Graph
    contract: InputContract
    frame_rate_hz: float  # of the frames it was trained on
    heads: Mapping[str, HeadInfo]  # one for each head of the graph
    provenance: Mapping[str, Any]  # plain JSON: data, licence, seed, versions
    metrics: Mapping[str, Any]  # plain JSON

    def __post_init__(self) -> None:
        """Validate."""
        contract = self.contract
        wanted = (contract.channels, contract.height, contract.width)
        require(
            self.graph.input_shape == wanted,
            f"graph takes frames {self.graph.input_shape}, the input contract gives {wanted}",
        )
        require(
            math.isfinite(self.frame_rate_hz) and 0 < self.frame_rate_hz <= MAX_FRAME_RATE_HZ,
            f"frame rate {self.frame_rate_hz} Hz is not within 0..{MAX_FRAME_RATE_HZ}",
        )
        names = sorted(head.name for head in self.graph.heads())
        told = sorted(self.heads)
        require(names == told, f"graph has the heads {names}, described are {told}")


def encode(model: Model) -> tuple[dict[str, Any], Arrays]:
    """The JSON description and the tensors of a model."""
    nodes, tensors = [], {}
    for node in model.graph.nodes:
        description, arrays = _encode_node(node)
        nodes.append(description)
        tensors.update({f"{node.name}.{key}": array for key, array in arrays.items()})
    contract = {key: getattr(model.contract, key) for key in _INPUT if key != "normalisation"}
    for name in _CHANNELS:  # older readers refuse a channel that they could not fill
        if getattr(model.contract, name):
            contract[name] = getattr(model.contract, name)
    if model.contract.fov_deg != STANDARD_FOV_DEG:  # as they refuse a lens that they do not know
        contract["fov_deg"] = model.contract.fov_deg
    return {
        "graph": {"input_shape": list(model.graph.input_shape), "nodes": nodes},
        "input": contract | {"normalisation": NORMALISATION},
        "frame_rate_hz": model.frame_rate_hz,
        "heads": {name: asdict(info) for name, info in model.heads.items()},
        "provenance": dict(model.provenance),
        "metrics": dict(model.metrics),
    }, tensors


def decode(description: object, tensors: Arrays) -> Model:
    """The model of a description; its structure is valid, its weights were not looked at.

    Raises:
        ModelFileError, ConfigError, ConversionError: what is wrong, without the path.
    """
    found = fields(description, "the model", _MODEL)
    graph = _decode_graph(found["graph"], tensors)
    validate(graph)
    beside = {name: kind for name, kind in (_CHANNELS | _LENS).items() if name in found["input"]}
    contract = fields(found["input"], "the input contract", _INPUT | beside)
    normalisation = contract.pop("normalisation")
    require(
        normalisation == NORMALISATION,
        f"normalisation {show(normalisation)} is unknown, expected '{NORMALISATION}'",
    )
    infos = {
        name: HeadInfo(**fields(info, f"head {show(name)}", {"unit": str, "trained": bool}))
        for name, info in found["heads"].items()
    }
    order = [head.name for head in graph.heads() if head.name in infos]
    return Model(
        graph=graph,
        contract=InputContract(**contract),
        frame_rate_hz=found["frame_rate_hz"],
        heads={name: infos.pop(name) for name in order} | infos,
        provenance=found["provenance"],
        metrics=found["metrics"],
    )


def _encode_node(node: Node) -> tuple[dict[str, Any], Arrays]:
    if isinstance(node, SumPool):
        body: dict[str, Any] = {"source": node.source, "kernel": list(node.kernel)}
        return {"type": "sum_pool", "name": node.name, **body}, {}
    if isinstance(node, MaxPool):
        body = {key: getattr(node, key) for key in _NODE["max_pool"]}
        return {"type": "max_pool", "name": node.name, **body}, {}
    synapses = [_encode_synapse(synapse) for synapse in node.synapses]
    arrays = {f"weight{i}": synapse.weight for i, synapse in enumerate(node.synapses)}
    if isinstance(node, Head):
        body = {"synapses": synapses, "scale": node.scale, "kind": node.kind}
        return {"type": "head", "name": node.name, **body}, {"bias": node.bias, **arrays}
    fixed = {"bias": node.bias, "threshold": node.threshold}
    if node.recurrent is not None:
        fixed["recurrent"] = node.recurrent
    counts = {"n_min": node.n_min, "n_max": node.n_max, "recurrent": node.recurrent is not None}
    body = {"synapses": synapses, **counts}
    return {"type": "neurons", "name": node.name, **body}, {**fixed, **arrays}


def _encode_synapse(synapse: Synapse) -> dict[str, Any]:
    kind = {Conv: "conv", Linear: "linear", Identity: "identity"}[type(synapse)]
    return {"type": kind} | {key: getattr(synapse, key) for key in _SYNAPSE[kind]}


def _decode_graph(value: object, tensors: Arrays) -> Graph:
    found = fields(value, "the graph", {"input_shape": list, "nodes": list})
    left = dict(tensors)
    nodes = tuple(_decode_node(node, i, left) for i, node in enumerate(found["nodes"]))
    require(not left, f"tensor {show(next(iter(left), ''))} belongs to no node")
    return Graph(_integers(found["input_shape"], "the input shape", 3), nodes)


def _decode_node(value: object, index: int, left: dict[str, Any]) -> Node:
    kind, found = _typed(value, f"node {index}", _NODE, {"name": str})
    name = found.pop("name")

    def take(field: str) -> Any:
        tensor = f"{name}.{field}"
        require(tensor in left, f"tensor {show(tensor)} is missing")
        return left.pop(tensor)

    if kind == "sum_pool":
        kernel = _integers(found["kernel"], f"kernel of node {index}", 2)
        return SumPool(name, found["source"], kernel)
    if kind == "max_pool":
        return MaxPool(name, **found)
    parts = enumerate(found.pop("synapses"))
    synapses = tuple(_decode_synapse(p, f"node {index}", take(f"weight{i}")) for i, p in parts)
    if kind == "head":
        return Head(name, synapses, take("bias"), **found)
    recurrent = take("recurrent") if found.pop("recurrent") else None
    return Neurons(name, synapses, take("bias"), take("threshold"), **found, recurrent=recurrent)


def _decode_synapse(value: object, where: str, weight: Any) -> Synapse:
    kind, found = _typed(value, f"a synapse of {where}", _SYNAPSE, {})
    if kind == "conv":
        return Conv(found["source"], weight, found["stride"], found["padding"])
    return (Linear if kind == "linear" else Identity)(found["source"], weight)


def _typed(
    value: object, where: str, kinds: dict[str, dict[str, type]], common: dict[str, type]
) -> tuple[str, dict[str, Any]]:
    """The ``type`` of an object and its fields, which depend on that type."""
    if type(value) is not dict or type(value.get("type")) is not str:
        raise ModelFileError(f"{where} is not a JSON object with a 'type'")
    kind = value["type"]
    require(kind in kinds, f"{where} is of type {show(kind)}, known are {list(kinds)}")
    found = fields(value, where, {"type": str} | common | kinds[kind])
    found.pop("type")
    return kind, found


def _integers(value: list[Any], where: str, count: int) -> Any:
    """A tuple of ``count`` integers."""
    require(
        len(value) == count and all(type(number) is int for number in value),
        f"{where} is not {count} integers",
    )
    return tuple(value)
