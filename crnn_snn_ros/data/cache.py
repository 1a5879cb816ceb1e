"""Arrays computed once from a recording and memory-mapped ever after.

An entry is a folder of ``.npy`` files, named by a hash of all it was computed from, and it appears
only when it is whole; two processes may build the same one. Nothing is ever deleted here: the
user may remove the cache's folder at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import DataError

_HEADER_BYTES = 128


def entry(cache: Path, key: dict[str, Any], build: Callable[[Path], None]) -> Path:
    """The folder of the entry for ``key`` (JSON), which ``build`` fills when it is not there.

    Raises:
        DataError: from ``build``, or the cache cannot be written.
    """
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    folder = cache / digest
    if folder.is_dir():
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{digest[:8]}.", dir=cache))
        try:
            build(building)
            try:
                os.rename(building, folder)
            except OSError:
                if not folder.is_dir():  # else another process was faster: its entry is the same
                    raise
        finally:
            shutil.rmtree(building, ignore_errors=True)
    except OSError as error:
        raise DataError(f"cache {cache} cannot be written: {error}") from error
    return folder


def load(folder: Path, name: str, shape: tuple[int, ...], dtype: Any) -> np.memmap[Any, Any]:
    """Memory-map one array of an entry, read-only; ``shape`` is that of one row.

    Raises:
        DataError: it is damaged.
    """
    path = folder / f"{name}.npy"
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is damaged ({error}): remove the folder {folder}") from None
    if not isinstance(rows, np.memmap) or rows.shape[1:] != shape or rows.dtype != dtype:
        raise DataError(f"{path} is not {np.dtype(dtype)} (n, {shape}): remove the folder {folder}")
    return rows


def write(
    folder: Path, name: str, rows: Iterable[NDArray[Any]], shape: tuple[int, ...], dtype: Any
) -> int:
    """Stream rows of one ``shape`` and ``dtype`` into an ``.npy`` file; return how many there were.

    The header is written last, since only then the number of rows is known; its size is fixed.
    """
    count = 0
    with (folder / f"{name}.npy").open("wb") as file:
        file.write(bytes(_HEADER_BYTES))
        for row in rows:
            if row.shape != shape or row.dtype != dtype:
                raise ValueError(f"row {count} is {row.dtype} {row.shape}, not {dtype} {shape}")
            file.write(np.ascontiguousarray(row).data)
            count += 1
        file.seek(0)
        file.write(_npy_header((count, *shape), dtype))
    return count


def _npy_header(shape: tuple[int, ...], dtype: Any) -> bytes:
    """Version 1.0 header of the NPY format, padded to ``_HEADER_BYTES``."""
    described = np.lib.format.dtype_to_descr(np.dtype(dtype))
    text = repr({"descr": described, "fortran_order": False, "shape": shape})
    prefix = b"\x93NUMPY\x01\x00" + (_HEADER_BYTES - 10).to_bytes(2, "little")
    return prefix + text.ljust(_HEADER_BYTES - 11).encode("ascii") + b"\n"
