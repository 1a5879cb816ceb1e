"""Model files ``*.snn``: saved whole or not at all, and judged before they are believed.

A file goes through these gates in this order: size and header length; strict JSON; tensor table
against the file's size; format and version; graph against the shapes in the table; only then the
tensors are read, the hash of every byte is checked, and the bounds are proven.
Format: ``docs/model_file.md``.
"""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from crnn_snn_ros.core import bounds
from crnn_snn_ros.core.errors import CrnnSnnError, ModelFileError
from crnn_snn_ros.io import model_schema
from crnn_snn_ros.io.atomic import replacing
from crnn_snn_ros.io.model_schema import HeadInfo, Model
from crnn_snn_ros.io.tensor_file import (
    DIGEST,
    Layout,
    pack,
    read_arrays,
    read_layout,
    require,
    show,
    strict_json,
)

__all__ = ["FORMAT", "VERSION", "HeadInfo", "Model", "header", "load", "read", "save"]

FORMAT = "crnn_snn_ros model"
VERSION = "1"
MAX_MESSAGE = 400


def save(path: str | os.PathLike[str], model: Model) -> str:
    """Write a model; the same model always gives the same bytes.

    Returns:
        The file's sha256 field: 64 hexadecimal digits that depend on every byte of the file.

    Raises:
        ModelFileError: the model is not one that ``load`` would accept, or the disk refuses it.
    """
    with _refusing(path, "nothing was written"):
        bounds.prove(model.graph)
        data = _encode(model)
        read = _decode(io.BytesIO(data), len(data))
        _check_same(model, read.model)
        with replacing(Path(path)) as temporary:
            temporary.write_bytes(data)
        return read.layout.metadata[DIGEST]


def load(path: str | os.PathLike[str]) -> Model:
    """Read a model; its arrays are read-only.

    Raises:
        ModelFileError: in one line, what is wrong with the file.
    """
    return _load(path).model


def header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The file as plain JSON without the weights, with what is proven of it.

    Raises:
        ModelFileError: in one line, what is wrong with the file.
    """
    return read(path)[1]


def read(path: str | os.PathLike[str]) -> tuple[Model, dict[str, Any]]:
    """Both, of the same bytes: a file may be replaced from one reading to the next.

    Raises:
        ModelFileError: in one line, what is wrong with the file.
    """
    found = _load(path)
    return found.model, _header(found)


def _header(found: _Read) -> dict[str, Any]:
    layout, model, proven = found
    description, _ = model_schema.encode(model)
    return {
        "format": FORMAT,
        "format_version": int(VERSION),
        DIGEST: layout.metadata[DIGEST],
        "size_bytes": len(layout.raw) + layout.data_bytes,
        **description,
        "levels": {n.name: [n.n_min, n.n_max] for n in model.graph.neurons()},
        "bounds": {
            "settling_steps": proven.settling_steps,
            "accumulator": proven.accumulator,
            "accumulator_limit": bounds.ACCUMULATOR_LIMIT,
        },
        "tensors": {
            name: {"dtype": tensor.dtype.name, "shape": list(tensor.shape)}
            for name, tensor in layout.tensors.items()
        },
    }


class _Read(NamedTuple):
    layout: Layout
    model: Model
    proven: bounds.Bounds


def _load(path: str | os.PathLike[str]) -> _Read:
    remedy = "get the file again or make it with 'crnn-snn convert'"
    with _refusing(path, remedy):
        require("\0" not in os.fsdecode(path), "it is no path")
        with _open(path) as file:
            return _decode(file, os.fstat(file.fileno()).st_size)


def _decode(file: BinaryIO, size: int) -> _Read:
    layout = read_layout(file, size)
    metadata = layout.metadata
    require(metadata.get("format") == FORMAT, f"its format is not '{FORMAT}'")
    version = metadata.get("format_version")
    require(version == VERSION, f"format version {show(version)}, this program reads '{VERSION}'")
    known = {DIGEST, "format", "format_version", "model"}
    require(metadata.keys() == known, f"metadata has not exactly the fields {sorted(known)}")
    description = strict_json(metadata["model"])
    model_schema.decode(description, layout.placeholders())
    model = model_schema.decode(description, read_arrays(file, layout))
    return _Read(layout, model, bounds.prove(model.graph))


def _encode(model: Model) -> bytes:
    description, arrays = model_schema.encode(model)
    try:
        text = json.dumps(
            description, sort_keys=True, allow_nan=False, ensure_ascii=False, separators=(",", ":")
        )
        return pack({"format": FORMAT, "format_version": VERSION, "model": text}, arrays)
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(f"the model has a field that is not plain JSON: {error}") from None


def _check_same(model: Model, again: Model) -> None:
    """JSON turns tuples into lists and number keys into strings: do not save such a thing."""
    for field in ("provenance", "metrics"):
        require(
            dict(getattr(model, field)) == getattr(again, field),
            f"{field} would come back changed: use lists, not tuples, and strings as keys",
        )


@contextmanager
def _open(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    # Not left to open(): a FIFO would block it for ever, and /dev/zero never ends.
    require(stat.S_ISREG(os.stat(path).st_mode), "it is not a regular file")
    with open(path, "rb") as file:
        yield file


@contextmanager
def _refusing(path: str | os.PathLike[str], remedy: str) -> Iterator[None]:
    """Turn every refusal into one line of bounded length that names the file."""
    try:
        yield
    except CrnnSnnError as error:
        reason = str(error)
    except OSError as error:
        reason = error.strerror or str(error)
    else:
        return
    if len(reason) > MAX_MESSAGE:
        reason = f"{reason[: MAX_MESSAGE // 2]} ... {reason[-MAX_MESSAGE // 2 :]}"
    line = f"{os.fspath(path)}: {reason}; {remedy}"
    raise ModelFileError("".join(c if c.isprintable() else "?" for c in line)) from None
