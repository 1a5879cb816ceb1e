"""Memory in steady state: what a frame takes is given back, and the C++ library takes none at all.

A frame's results belong to whoever asked for them, so they are made anew; their size is what a
frame may take. Not covered: what rclpy and DDS allocate (``test_soak`` watches the whole node).
"""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import tracemalloc
from importlib.util import find_spec
from shutil import which

import numpy as np
import pytest
import torch

from crnn_snn_ros.core.engines import ENGINES
from crnn_snn_ros.core.engines.native import LIBRARY, LibraryEngine
from crnn_snn_ros.core.types import Frame
from crnn_snn_ros.io.resources import resource_path
from crnn_snn_ros.pipeline import Pipeline, load_pipeline

WARM_UP, FRAMES = 30, 300
SLACK = 64 * 1024  # bytes: caches of the interpreter and of torch
PERIOD_NS = 50_000_000
SIZE = (120, 160, 3)

needs_library = pytest.mark.skipif("native" not in ENGINES, reason="the library is not built")


class MallInfo(ctypes.Structure):
    """``struct mallinfo2`` of glibc."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def in_use() -> int:
    """Bytes that malloc has handed out, of C++, torch and Python alike."""
    told = ctypes.CDLL(None).mallinfo2
    told.restype = MallInfo
    info = told()
    return int(info.uordblks + info.hblkhd)


needs_glibc = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "mallinfo2"),
    reason="no glibc of 2021 or later",
)


def run(pipeline: Pipeline, frames: int, pictures: list[np.ndarray]) -> None:
    state = pipeline.initial_state()
    for number in range(frames):
        image = pictures[number % len(pictures)]
        _, state = pipeline.step(Frame(number * PERIOD_NS, image), state)


@needs_glibc
@pytest.mark.parametrize(
    ("engine", "encoding"),
    [
        *(("auto", "s-analog"), ("auto", "incremental")),
        *(("folded", "s-analog"), ("folded", "incremental"), ("collapsed", "s-analog")),
    ],
)
def test_memory_in_use_does_not_grow(engine: str, encoding: str) -> None:
    model = resource_path("models", "donkeycar_mit.snn")
    pipeline = load_pipeline(model, engine, "cpu", encoding=encoding)
    frames = FRAMES // 10 if engine == "folded" else FRAMES
    pictures = list(np.random.default_rng(0).integers(0, 256, (4, *SIZE), np.uint8))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run(pipeline, WARM_UP, pictures)
        gc.collect()
        before = in_use()
        run(pipeline, frames, pictures)
        gc.collect()
        assert in_use() - before < SLACK
    finally:
        torch.set_num_threads(threads)


@needs_library
@pytest.mark.parametrize("encoding", ["s-analog", "incremental"])
def test_a_frame_takes_no_more_than_its_results(encoding: str) -> None:
    """What Python and NumPy take while a frame runs: the input, and objects around the results."""
    model = resource_path("models", "donkeycar_mit.snn")
    pipeline = load_pipeline(model, "native", "cpu", encoding=encoding)
    engine = pipeline.engine
    assert isinstance(engine, LibraryEngine)
    picture = np.random.default_rng(0).integers(0, 256, SIZE, np.uint8)
    run(pipeline, WARM_UP, [picture])
    state = pipeline.initial_state()
    answer, state = pipeline.step(Frame(PERIOD_NS, picture), state)
    tracemalloc.start()
    try:
        answer, state = pipeline.step(Frame(2 * PERIOD_NS, picture), state)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    pixels = pipeline.contract.height * pipeline.contract.width * 3
    assert answer.prediction.settled
    assert peak < picture.size + 4 * pixels + SLACK


@needs_library
@pytest.mark.skipif(which("nm") is None, reason="no nm (binutils)")
def test_the_library_allocates_nothing() -> None:
    """It calls no allocator: all its memory is Python's, made when the engine is."""
    spec = find_spec(LIBRARY)
    assert spec is not None
    assert spec.origin is not None
    command = ["nm", "--dynamic", "--undefined-only", spec.origin]
    wanted = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "memcpy@GLIBC_2.14" in wanted or "memcpy" in wanted or "memset" in " ".join(wanted)
    called = [name.split("@")[0] for name in wanted]
    assert not {"malloc", "calloc", "realloc", "_Znwm", "_Znam", "mmap"} & set(called)
