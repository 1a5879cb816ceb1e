"""Thousands of damaged and hostile model files: a refusal in one line, or a model that is proven.

Two kinds. Damaged files keep their old hash, so every one of them must be refused. Hostile files
are signed anew after the change, so some of them are simply other good models.
"""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_samples import GOLDEN, RAW, model_of, parts, sign
from strategies import random_graph

from crnn_snn_ros.core import bounds
from crnn_snn_ros.core.errors import ModelFileError
from crnn_snn_ros.io.model_file import load, save

DAMAGED, HOSTILE, POKED = 1500, 1600, 500
ALLOCATION = 8 * 2**20  # beyond the file's own size
MIB = 2**20

HOSTILE_VALUES: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 7, 255, 256, 2048, 4096, 2**31, -(2**31), 10**15 - 1, 2**63, 10**40),
    *(0.0, 0.5, -1.5, 1e300, RAW + "NaN", RAW + "Infinity", RAW + "-Infinity", RAW + "1e999"),
    *(None, True, False, "", "input", "conv1", "steering", "head", "conv", "x" * 5000, "\0", "\n"),
    *([], {}, [1], [2, 2], [2, 1, 3, 3], [10**9] * 4, [-1, 4], [[[]]], {"a": 1}),
    *(RAW + "[" * 50 + "]" * 50, RAW + "[" * 30_000, RAW + '{"a":1,"a":1}', RAW + "9" * 6000),
    *(RAW + '"\\ud800"', RAW + "1E1", RAW + "-0", RAW + "01", RAW + "1.", RAW + "'a'", RAW + ""),
)


class Attempts:
    """Loads files, checks what must hold of every one of them, and counts the outcomes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outcomes: Counter[str] = Counter()
        self.peak = 0

    def load(self, data: bytes, allowed: int = ALLOCATION) -> None:
        self.path.write_bytes(data)
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        try:
            model = load(self.path)
        except ModelFileError as error:
            message = str(error)
            assert message.startswith(f"{self.path}: ")
            assert message.isprintable()
            assert len(message) < 700
            self.outcomes["refused"] += 1
        else:
            proven = bounds.prove(model.graph)
            assert proven.accumulator < bounds.ACCUMULATOR_LIMIT
            self.outcomes["loaded"] += 1
        _, peak = tracemalloc.get_traced_memory()
        self.peak = max(self.peak, peak - before)
        assert peak - before < allowed + len(data)


@pytest.fixture
def attempts(tmp_path: Path) -> Iterator[Attempts]:
    tracemalloc.start()
    yield Attempts(tmp_path / "fuzz.snn")
    tracemalloc.stop()


def seeds(tmp_path: Path) -> list[bytes]:
    """Good files to start from."""
    files = [GOLDEN.read_bytes()]
    for seed in range(4):
        path = tmp_path / f"{seed}.snn"
        save(path, model_of(random_graph(np.random.default_rng(seed))))
        files.append(path.read_bytes())
    return files


def damaged(good: bytes, rng: np.random.Generator) -> bytes:
    data = bytearray(good)
    where = int(rng.integers(len(data)))
    span = int(rng.integers(1, 40))
    match int(rng.integers(7)):
        case 0:
            for position in rng.integers(0, len(data), rng.integers(1, 9)):
                data[position] ^= 1 << int(rng.integers(8))
        case 1:
            del data[where:]
        case 2:
            data[where:where] = rng.bytes(span)
        case 3:
            del data[where : where + span]
        case 4:
            data[where : where + span] = rng.bytes(span)
        case 5:
            length = rng.choice([0, 1, 2, 8, len(data), len(data) - 8, 2**20, 2**31, 2**63, where])
            data[:8] = int(length).to_bytes(8, "little")
        case 6:
            data[where:where] = data[where : where + span]
    return bytes(data)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    found: list[tuple[Any, Any]] = []
    for key, item in pairs:
        found.append((value, key))
        if isinstance(item, dict | list):
            found += places(item)
    return found


def hostile(good: bytes, rng: np.random.Generator) -> bytes:
    header, model, data = parts(good)
    for _ in range(rng.integers(1, 4)):
        tree = model if rng.integers(3) else header
        everywhere = places(tree)
        if not everywhere:
            continue
        container, key = everywhere[rng.integers(len(everywhere))]
        other, other_key = everywhere[rng.integers(len(everywhere))]
        value = HOSTILE_VALUES[rng.integers(len(HOSTILE_VALUES))]
        match int(rng.integers(7)):
            case 0 | 1 | 2:
                container[key] = value
            case 3:
                container[key] = json.loads(json.dumps(other[other_key]))
            case 4:
                del container[key]
            case 5 if isinstance(container, dict):
                container[RAW + f'"{key}":0,"{key}"'] = value
            case _:
                container[key] = (container[key] or 1) * 2 if key != "__metadata__" else {}
    return sign(header, model, data)


def poked(good: bytes, rng: np.random.Generator) -> bytes:
    """A signed file with other numbers in its tensors."""
    header, model, data = parts(good)
    changed = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        where = int(rng.integers(len(changed) // 4)) * 4
        value = int(rng.choice([0, 1, 2, 2047, 2048, -1, 2**31 - 1, -(2**31), 2**23, 2**24]))
        changed[where : where + 4] = value.to_bytes(4, "little", signed=True)
    return sign(header, model, bytes(changed))


@pytest.mark.timeout(120)
def test_every_damaged_file_is_refused(tmp_path: Path, attempts: Attempts) -> None:
    rng = np.random.default_rng(1)
    for good in seeds(tmp_path):
        for _ in range(DAMAGED // 5):
            bad = damaged(good, rng)
            if bad != good:
                attempts.load(bad)
    assert attempts.outcomes["loaded"] == 0
    assert attempts.outcomes["refused"] > 0.95 * DAMAGED


@pytest.mark.timeout(120)
def test_hostile_headers_are_refused_or_mean_something_else(
    tmp_path: Path, attempts: Attempts
) -> None:
    rng = np.random.default_rng(2)
    for good in seeds(tmp_path):
        for _ in range(HOSTILE // 5):
            try:
                bad = hostile(good, rng)
            except (TypeError, OverflowError):  # doubled something that has no double
                continue
            attempts.load(bad)
    assert attempts.outcomes["refused"] > 0.7 * HOSTILE


@pytest.mark.timeout(120)
def test_hostile_weights_are_refused_or_proven(tmp_path: Path, attempts: Attempts) -> None:
    rng = np.random.default_rng(3)
    for good in seeds(tmp_path):
        for _ in range(POKED // 5):
            attempts.load(poked(good, rng))
    assert attempts.outcomes["refused"] > POKED // 4
    assert attempts.outcomes["loaded"] > POKED // 20  # else the signing was wrong


@pytest.mark.timeout(60)
@pytest.mark.parametrize("unit", ["[],", "{},", '"ab",', "1e1,", "1000,", '{"":0},', "[[[]]],"])
def test_a_header_full_of_small_objects_stays_within_bounds(attempts: Attempts, unit: str) -> None:
    """The cap on the header bounds what its JSON can grow to in memory."""
    header, model, data = parts(GOLDEN.read_bytes())
    model["metrics"] = {"x": RAW + "[" + unit * (900_000 // len(unit.encode())) + "0]"}
    attempts.load(sign(header, model, data), allowed=64 * MIB)


@pytest.mark.timeout(60)
def test_a_huge_sparse_file_is_refused_without_being_read(
    tmp_path: Path,
) -> None:
    """Its table and its size agree: 2^40 weights, all zero, on a disk that stores none of them."""
    header, model, data = parts(GOLDEN.read_bytes())
    header["ghost"] = {
        "dtype": "I8",
        "shape": [2**20, 2**20],
        "data_offsets": [len(data), len(data) + 2**40],
    }
    file = sign(header, model, data)
    path = tmp_path / "sparse.snn"
    path.write_bytes(file)
    with path.open("r+b") as handle:
        handle.truncate(len(file) + 2**40)
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match="at most"):
            load(path)
        assert tracemalloc.get_traced_memory()[1] < ALLOCATION
    finally:
        tracemalloc.stop()


@pytest.mark.timeout(60)
def test_a_table_of_12000_tensors_does_not_take_long(attempts: Attempts) -> None:
    header, model, data = parts(GOLDEN.read_bytes())
    size = len(data)
    for i in range(12_000):
        header[f"t{i}"] = {"dtype": "I8", "shape": [1], "data_offsets": [size + i, size + i + 1]}
    attempts.load(sign(header, model, data + bytes(12_000)), allowed=64 * MIB)
    assert attempts.outcomes["refused"] == 1
