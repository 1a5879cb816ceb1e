"""Models and hostile model files for tests. Run it to write the golden file anew.

``sign`` follows ``docs/model_file.md`` and not the package, so that it tells when they part.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.graph import (
    INPUT,
    Conv,
    Graph,
    Head,
    Identity,
    Linear,
    MaxPool,
    Neurons,
    SumPool,
)
from crnn_snn_ros.io.model_file import HeadInfo, Model, save
from crnn_snn_ros.io.preprocess import InputContract

GOLDEN = Path(__file__).parent / "data" / "golden.snn"
ZEROS = "0" * 64
RAW = "@raw@"  # a string RAW + text becomes that text in the JSON, whether JSON or not


def weights(*shape: int) -> NDArray[np.int8]:
    """A fixed pattern over the whole range, the same in every version of NumPy."""
    return (np.arange(np.prod(shape)) * 37 % 255 - 127).astype(np.int8).reshape(shape)


def vector(*values: int) -> NDArray[np.int32]:
    return np.array(values, np.int32)


def golden_model() -> Model:
    """Every kind of node and synapse, small."""
    nodes = (
        Neurons(
            "conv1",
            (Conv(INPUT, weights(2, 1, 3, 3), stride=1, padding=1),),
            vector(-5, 900),
            vector(2047, 1000),
            0,
            7,
            vector(-300, 3000),
        ),
        MaxPool("peak", "conv1", kernel=2, stride=2),
        Neurons(
            "block1",
            (
                Conv("peak", weights(2, 2, 1, 1)),
                Identity("peak", vector(51, -52)),
                Conv("conv1", weights(2, 2, 2, 2), stride=2),
            ),
            vector(0, 1),
            vector(3, 400),
            0,
            15,
        ),
        SumPool("mean", "block1", (2, 1)),
        Neurons(
            "memory",
            (Linear("mean", weights(3, 4)),),
            vector(1, 2, 3),
            vector(2, 77, 500),
            -3,
            3,
            vector(6, -231, 0),
        ),
        Head("steering", (Linear("memory", weights(1, 3)),), vector(-8), 0.001),
        Head("collision", (Linear("memory", weights(1, 3)),), vector(9), 2.0**-10, "logit"),
    )
    return model_of(
        Graph((1, 4, 4), nodes),
        provenance={"data": "none: a fixed pattern", "licence": "CC0-1.0", "seed": None},
        metrics={"steering_rmse": 0.25},
    )


def model_of(graph: Graph, **fields: Any) -> Model:
    """A model of a graph whose heads are called steering and collision."""
    channels, height, width = graph.input_shape
    units = {"steering": "rad", "collision": "probability"}
    rest: dict[str, Any] = {"frame_rate_hz": 20.0, "provenance": {}, "metrics": {}} | fields
    return Model(
        graph=graph,
        contract=InputContract(width, height, "rgb" if channels == 3 else "grey", crop_top=0.25),
        heads={head.name: HeadInfo(units[head.name], trained=True) for head in graph.heads()},
        **rest,
    )


def parts(file: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """The header, the model description inside it, and the data of a good file."""
    end = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:end])
    return header, json.loads(header["__metadata__"]["model"]), file[end:]


def sign(header: dict[str, Any], model: Any, data: bytes) -> bytes:
    """A file with a right hash and header length, however wrong the rest."""
    metadata = header.get("__metadata__")
    if isinstance(metadata, dict):
        metadata = {"sha256": ZEROS} | metadata | {"sha256": ZEROS}
        header = header | {"__metadata__": metadata | {"model": raw_json(model)}}
    text = raw_json(header).encode()
    blank = len(text).to_bytes(8, "little") + text
    digest = hashlib.sha256(blank + data).hexdigest()
    return blank.replace(ZEROS.encode(), digest.encode(), 1) + data


def raw_json(value: Any) -> str:
    """JSON in which strings that begin with RAW stand as they are."""
    found = rf'"{RAW}((?:[^"\\]|\\.)*)"'
    return re.sub(found, lambda match: str(json.loads(f'"{match[1]}"')), json.dumps(value))


if __name__ == "__main__":
    print(save(GOLDEN, golden_model()))
