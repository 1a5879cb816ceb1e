"""The C++ engines on ARM: cross-compiled and run in an emulator, where both are installed.

Packed programs and their frames are written down here, run there by every path (``neondot`` and
``portable``), and give the bytes that this machine's fastest path gives. Debian: ``apt-get install
g++-aarch64-linux-gnu qemu-user-static``. Not covered: a real ARM processor, and its speed.
"""

from __future__ import annotations

import ast
import ctypes
import math
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import pytest
import torch
from exercise_model import exercise_graph
from strategies import random_graph
from test_native import wide_graph

from crnn_snn_ros.core.engines import ENGINES
from crnn_snn_ros.core.engines.native import LibraryEngine, NativeEngine
from crnn_snn_ros.core.engines.native_whole import NativeCollapsedEngine
from crnn_snn_ros.core.verify import random_video

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "crnn_snn_ros" / "core" / "engines" / "native_src"
COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64-static"
FRAMES = 4

pytestmark = pytest.mark.skipif(
    "native" not in ENGINES or which(COMPILER) is None or which(EMULATOR) is None,
    reason="no library, cross-compiler or emulator: apt-get install g++-aarch64-linux-gnu "
    "qemu-user-static",
)

Block = tuple[int, bytes]  # address, content


def setting(name: str) -> Any:
    """A constant of setup.py."""
    for statement in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
            return ast.literal_eval(statement.value)
    raise AssertionError(name)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library with all its ARM paths, and a program that runs frames from a file."""
    folder = tmp_path_factory.mktemp("arm")
    flags, paths = setting("NATIVE_FLAGS"), {"portable": [], **setting("ARM_PATHS")}
    objects = []
    for name, more in paths.items():
        objects.append(folder / f"{name}.o")
        macros = [f"-DNATIVE_{name.upper()}", f"-DNATIVE_NAME=run_{name}"]
        compile_to(objects[-1], SOURCES / "kernel.cpp", [*flags, *more, *macros])
    known = [f"-DNATIVE_HAS_{name.upper()}" for name in setting("ARM_PATHS")]
    objects.append(folder / "library.o")
    compile_to(objects[-1], SOURCES / "library.cpp", [*flags, *known])
    main = folder / "main"
    source = ROOT / "test" / "data" / "native_relocated.cpp"
    link = [COMPILER, "-std=c++17", "-O1", "-static", str(source), *map(str, objects)]
    subprocess.run([*link, "-o", str(main)], check=True)
    return main


def compile_to(target: Path, source: Path, flags: list[str]) -> None:
    command = [COMPILER, *flags, "-Wall", "-Werror", "-Wno-psabi", "-c", str(source)]
    subprocess.run([*command, "-o", str(target)], check=True)


def engines() -> Iterator[LibraryEngine]:
    graphs = [exercise_graph(), *(random_graph(np.random.default_rng(s)) for s in range(12))]
    for graph in graphs:
        yield NativeEngine(graph, incremental=True, path="portable", chunk=5)
    for graph in [*graphs, wide_graph()]:
        yield NativeEngine(graph, path="portable")
        yield NativeCollapsedEngine(graph, path="portable")


def test_every_path_gives_the_same_bytes_in_an_emulator(program: Path, tmp_path: Path) -> None:
    written = [call for engine in engines() for call in calls(engine)]
    file = tmp_path / "frames.bin"
    file.write_bytes(integers(len(written)) + b"".join(written))
    said = subprocess.run(
        [EMULATOR, "-cpu", "max", str(program), str(file)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")[:-1]
    assert {line.split()[0] for line in said} == {"neondot", "portable"}
    assert len(said) > 2 * len(written)
    assert {line.split()[1] for line in said} == {"equal"}


def test_a_cpu_without_the_instruction_takes_the_portable_path(
    program: Path, tmp_path: Path
) -> None:
    """The Cortex-A53 has no dot product; a false answer would end in an illegal instruction."""
    file = tmp_path / "frames.bin"
    written = list(calls(NativeEngine(exercise_graph(), path="portable")))
    file.write_bytes(integers(len(written)) + b"".join(written))
    command = [EMULATOR, "-cpu", "cortex-a53", str(program), str(file)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert set(said.split("\n")[:-1]) == {"portable equal"}


def calls(engine: LibraryEngine) -> Iterator[bytes]:
    """Each call of the library in a stream of frames, as a file for the program."""
    run, kept = engine._run, []

    def record(path: int, program: int, call: int) -> None:
        before = blocks(engine, program, call)
        run(path, program, call)
        after = dict(blocks(engine, program, call))
        kept.append(serialised(engine, before, after, program, call))

    engine._run = record  # type: ignore[assignment]
    carry = engine.initial_carry()
    for frame in random_video(engine.graph.input_shape, FRAMES):
        _, carry = engine.step(torch.from_numpy(frame[None]), carry)
    yield from kept


def blocks(engine: LibraryEngine, program: int, call: int) -> list[Block]:
    """All memory that a call reads or writes."""
    packed, told = engine.packed, engine._call
    spans = [(program, ctypes.sizeof(packed.program)), (call, ctypes.sizeof(told))]
    for array in [*packed._arrays, packed.nodes, engine._carries]:
        numpy = isinstance(array, np.ndarray)
        spans.append(
            (array.ctypes.data, array.nbytes)
            if numpy
            else (ctypes.addressof(array), ctypes.sizeof(array))
        )
    size, pixels = 4 * told.batch * packed.result_size, math.prod(engine.graph.input_shape)
    spans += [
        *((told.frame, pixels), (told.last_frame, pixels), (told.quiet, told.batch)),
        *((told.results, size), (told.last_results, size), (told.membranes, size)),
        *((told.last_membranes, size), (told.settle_steps, 8 * told.batch)),
        *((told.busy, told.batch), (told.trace, told.trace_steps * told.trace_size)),
    ]
    for name, carry in zip(engine._recurrent, engine._carries, strict=False):
        strides = (carry.stride_c, carry.stride_h, carry.stride_w)
        reach = zip(engine.shapes[name], strides, strict=False)
        spans.append((carry.values, 4 * (1 + sum((n - 1) * stride for n, stride in reach))))
    return [(at, ctypes.string_at(at, bytes_)) for at, bytes_ in spans if at and bytes_]


def serialised(
    engine: LibraryEngine, before: list[Block], after: dict[int, bytes], program: int, call: int
) -> bytes:
    """Blocks, the pointers in them, and what the call left in those that it answers with."""
    pointers = b"".join(
        integers(number(before, at)[0], number(before, at)[1], *number(before, target))
        for at, target in found_pointers(engine)
        if target
    )
    told = engine._call
    outputs = [told.results, told.settle_steps, told.busy]
    outputs += [at for at in (told.membranes, told.trace) if at]
    answers = b"".join(
        integers(number(before, at)[0], len(after[at])) + after[at] for at in outputs
    )
    return (
        integers(len(before))
        + b"".join(integers(len(content)) + content for _, content in before)
        + integers(len(pointers) // 32)
        + pointers
        + integers(number(before, program)[0], number(before, call)[0], len(outputs))
        + answers
    )


def found_pointers(engine: LibraryEngine) -> Iterator[tuple[int, int | None]]:
    """Where a pointer lies, and what it points at, in all structures of the library."""
    packed = engine.packed
    structures = [packed.program, engine._call, *packed.nodes]
    for array in packed._arrays:
        structures += [] if isinstance(array, np.ndarray) else list(array)
    structures += engine._carries if engine._recurrent else []
    for structure in structures:
        for field in structure._fields_:
            if field[1] is ctypes.c_void_p:
                at = ctypes.addressof(structure) + getattr(type(structure), field[0]).offset
                yield at, getattr(structure, field[0])


def number(before: list[Block], address: int) -> tuple[int, int]:
    """Which block holds an address, and where in it."""
    for index, (start, content) in enumerate(before):
        if start <= address < start + len(content):
            return index, address - start
    return 0, 0  # of an array without elements, which is never read


def integers(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}q", *values)
