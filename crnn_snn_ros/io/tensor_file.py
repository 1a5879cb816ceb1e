"""The container of a model file: safetensors, read strictly, with a hash over every byte.

Written and judged here and not by the ``safetensors`` package, because its bytes must not change
with that package's version and its reader accepts repeated JSON keys. Layout, hash and limits:
``docs/model_file.md``. Nothing here knows what the tensors mean.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import ModelFileError

MAX_HEADER_BYTES = 2**20
MAX_DATA_BYTES = 2**28
MAX_JSON_DEPTH = 32
MAX_RANK = 4
MAX_DIGITS = 15  # integers that are exact in every JSON reader's doubles
METADATA = "__metadata__"
DIGEST = "sha256"
_LENGTH_BYTES = 8
_NO_DIGEST = "0" * 64
_DTYPES: dict[str, np.dtype[Any]] = {"I32": np.dtype("<i4"), "I8": np.dtype("<i1")}

Arrays = Mapping[str, NDArray[Any]]


class Tensor(NamedTuple):
    """A line of the tensor table; ``start`` and ``end`` count from the first byte of the data."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    end: int


class Layout(NamedTuple):
    """A header whose table is consistent in itself and with the size of the file."""

    raw: bytes  # the length field and the header as they are in the file
    metadata: dict[str, str]
    tensors: dict[str, Tensor]
    data_bytes: int

    def placeholders(self) -> Arrays:
        """Arrays of the right shape and dtype that take no memory and hold no values."""
        return {
            name: np.broadcast_to(np.zeros((), tensor.dtype), tensor.shape)
            for name, tensor in self.tensors.items()
        }

    def arrays(self, data: bytes) -> Arrays:
        """The tensors as read-only views of the file's data."""
        return {
            name: np.ndarray(tensor.shape, tensor.dtype, data, tensor.start)
            for name, tensor in self.tensors.items()
        }


def pack(metadata: Mapping[str, str], arrays: Arrays) -> bytes:
    """The bytes of a file; the same metadata and arrays always give the same bytes.

    Raises:
        UnicodeEncodeError: a string is not Unicode text.
    """
    # Wide tensors first keeps each of them aligned; sorted() is stable, so the order is the given.
    ordered = sorted(arrays.items(), key=lambda item: -item[1].dtype.itemsize)
    codes = {dtype: code for code, dtype in _DTYPES.items()}
    header: dict[str, Any] = {METADATA: {DIGEST: _NO_DIGEST, **metadata}}
    chunks, end = [], 0
    for name, array in ordered:
        dtype = array.dtype.newbyteorder("<")
        chunk = np.ascontiguousarray(array, dtype).tobytes()
        start, end = end, end + len(chunk)
        chunks.append(chunk)
        shape = list(array.shape)
        header[name] = {"dtype": codes[dtype], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    blank = len(text).to_bytes(_LENGTH_BYTES, "little") + text
    data = b"".join(chunks)
    # The first run of 64 zeros is the digest's place: it is the first value in the header.
    return blank.replace(_NO_DIGEST.encode(), _digest(blank, data).encode(), 1) + data


def read_layout(file: BinaryIO, size: int) -> Layout:
    """Read and judge the header of a file of ``size`` bytes; no tensor is read.

    Raises:
        ModelFileError: what is wrong, without the path.
    """
    prefix = file.read(_LENGTH_BYTES)
    require(len(prefix) == _LENGTH_BYTES, f"it ends after {len(prefix)} bytes, inside the length")
    length = int.from_bytes(prefix, "little")
    room = min(MAX_HEADER_BYTES, size - _LENGTH_BYTES)
    require(2 <= length <= room, f"header length is {length}, expected 2..{room}")
    raw = file.read(length)
    require(len(raw) == length, f"it ends inside the header, after {len(raw)} of {length} bytes")
    require(raw[:1] == b"{", "the header does not begin with '{'")
    try:
        header = strict_json(raw.decode())
    except UnicodeDecodeError as error:
        raise ModelFileError(f"the header is not UTF-8 text at byte {error.start}") from None
    metadata = header.pop(METADATA, None)
    require(type(metadata) is dict, f"the header has no '{METADATA}'")
    require(all(type(v) is str for v in metadata.values()), f"'{METADATA}' holds more than strings")
    tensors = {name: _tensor(name, entry) for name, entry in header.items()}
    data_bytes = size - _LENGTH_BYTES - length
    _check_offsets(tensors, data_bytes)
    return Layout(prefix + raw, metadata, tensors, data_bytes)


def read_arrays(file: BinaryIO, layout: Layout) -> Arrays:
    """Read the tensors that follow the header and check the hash of everything.

    Raises:
        ModelFileError: what is wrong, without the path.
    """
    data = file.read(layout.data_bytes)
    require(len(data) == layout.data_bytes, "it was cut short while it was read")
    stated = layout.metadata.get(DIGEST, "").encode()
    require(
        len(stated) == len(_NO_DIGEST) and layout.raw.count(stated) == 1,
        f"'{DIGEST}' is not 64 hexadecimal digits that occur once in the header",
    )
    found = _digest(layout.raw.replace(stated, _NO_DIGEST.encode()), data).encode()
    require(
        found == stated, f"sha256 is {found.decode()}, its header says {layout.metadata[DIGEST]}"
    )
    return layout.arrays(data)


def strict_json(text: str) -> Any:
    """Parse JSON without repeated keys, NaN, Infinity, huge integers, deep nesting or surrogates.

    Raises:
        ModelFileError: what is wrong, without the path.
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_int=_integer,
            parse_float=_finite,
        )
        _check_plain(value, 0)
    except RecursionError:
        raise ModelFileError("its JSON is nested too deeply") from None
    except UnicodeEncodeError:
        raise ModelFileError("its JSON holds half a surrogate pair, which is no text") from None
    except ValueError as error:
        raise ModelFileError(f"its JSON is damaged: {error}") from None
    return value


def fields(value: object, where: str, types: Mapping[str, type]) -> dict[str, Any]:
    """A JSON object that has exactly the given keys with values of exactly the given types.

    A float may be written as an integer; nothing else is converted, and a bool is no integer.

    Raises:
        ModelFileError: what is wrong, without the path.
    """
    if type(value) is not dict:
        raise ModelFileError(f"{where} is {show(value)}, expected a JSON object")
    for key in value:
        require(key in types, f"{where} has an unknown field {show(key)}, known are {list(types)}")
    result = {}
    for key, kind in types.items():
        require(key in value, f"{where} lacks the field '{key}'")
        item = value[key]
        if kind is float and type(item) is int:
            item = float(item)
        require(type(item) is kind, f"{where}: '{key}' is {show(item)}, expected {kind.__name__}")
        result[key] = item
    return result


def show(value: object) -> str:
    """A value from the file for a message: never long, never deep."""
    if isinstance(value, dict | list):
        return f"a {type(value).__name__} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def require(condition: bool, message: str) -> None:
    """Raise ``ModelFileError(message)`` unless the condition holds."""
    if not condition:
        raise ModelFileError(message)


def _digest(blank: bytes, data: bytes) -> str:
    digest = hashlib.sha256(blank)
    digest.update(data)
    return digest.hexdigest()


def _tensor(name: str, entry: object) -> Tensor:
    where = f"tensor {show(name)}"
    found = fields(entry, where, {"dtype": str, "shape": list, "data_offsets": list})
    dtype = _DTYPES.get(found["dtype"])
    if dtype is None:
        raise ModelFileError(f"{where} has dtype {show(found['dtype'])}, expected {list(_DTYPES)}")
    shape, offsets = found["shape"], found["data_offsets"]
    require(1 <= len(shape) <= MAX_RANK, f"{where} has {len(shape)} axes, expected 1..{MAX_RANK}")
    require(all(type(n) is int and n > 0 for n in shape), f"{where}: its shape is not positive")
    require(
        len(offsets) == 2 and all(type(n) is int and n >= 0 for n in offsets),
        f"{where}: 'data_offsets' is not two positions",
    )
    start, end = offsets
    size = math.prod(shape) * dtype.itemsize
    require(end - start == size, f"{where} needs {size} bytes, its offsets span {end - start}")
    require(start % dtype.itemsize == 0, f"{where} starts at byte {start}, which is not aligned")
    return Tensor(dtype, tuple(shape), start, end)


def _check_offsets(tensors: Mapping[str, Tensor], data_bytes: int) -> None:
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].start):
        require(tensor.start == end, f"tensor {show(name)} starts at {tensor.start}, not at {end}")
        end = tensor.end
    require(end == data_bytes, f"its tensors take {end} bytes, the file has {data_bytes} for them")
    require(end <= MAX_DATA_BYTES, f"its tensors take {end} bytes, at most {MAX_DATA_BYTES} may be")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        require(key not in result, f"its JSON repeats the key {show(key)}")
        result[key] = value
    return result


def _refuse_constant(text: str) -> float:
    raise ModelFileError(f"its JSON holds {text}, expected a finite number")


def _integer(text: str) -> int:
    require(len(text.lstrip("-")) <= MAX_DIGITS, f"its JSON holds an integer of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    require(math.isfinite(value), "its JSON holds a number too large for a double")
    return value


def _check_plain(value: object, depth: int) -> None:
    """Refuse what would fail later, in a print or in a nested dump."""
    require(depth <= MAX_JSON_DEPTH, f"its JSON is nested more than {MAX_JSON_DEPTH} deep")
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, dict):
        for key, item in value.items():
            key.encode()
            _check_plain(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_plain(item, depth + 1)
