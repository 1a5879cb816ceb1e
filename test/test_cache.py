from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.data import cache

KEY = {"bag": "a", "size": 1}


def fill(folder: Path) -> None:
    cache.write(folder, "rows", (np.full((2, 3), n, np.int8) for n in range(4)), (2, 3), np.int8)


@given(
    count=st.integers(0, 5),
    shape=st.lists(st.integers(1, 4), max_size=3).map(tuple),
    dtype=st.sampled_from([np.int8, np.float32, np.int64]),
)
def test_streamed_file_is_what_numpy_would_write(tmp_path_factory, count, shape, dtype):
    folder = tmp_path_factory.mktemp("npy")
    rows = np.random.default_rng(count).integers(-99, 99, (count, *shape)).astype(dtype)
    assert cache.write(folder, "rows", iter(rows), shape, dtype) == count
    read = np.load(folder / "rows.npy", allow_pickle=False)
    assert read.dtype == rows.dtype
    assert read.shape == rows.shape
    assert (read == rows).all()


def test_entry_is_built_once_and_mapped(tmp_path):
    folder = cache.entry(tmp_path / "c", KEY, fill)

    def fail(folder: Path) -> None:
        raise AssertionError(f"built again in {folder}")

    assert cache.entry(tmp_path / "c", dict(reversed(KEY.items())), fail) == folder
    rows = cache.load(folder, "rows", (2, 3), np.int8)
    assert isinstance(rows, np.memmap)
    assert rows[:, 0, 0].tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="read-only"):
        rows[0] = 1
    with pytest.raises(AssertionError, match="built again"):
        cache.entry(tmp_path / "c", {**KEY, "size": 2}, fail)
    assert [p.name for p in (tmp_path / "c").iterdir()] == [folder.name]


def test_of_two_builders_one_wins(tmp_path):
    inner: list[Path] = []

    def build(folder: Path) -> None:
        inner.append(cache.entry(tmp_path, KEY, fill))  # another process is faster
        fill(folder)

    assert cache.entry(tmp_path, KEY, build) == inner[0]
    assert len(list(tmp_path.iterdir())) == 1


def test_damaged_entries_say_what_to_do(tmp_path):
    folder = cache.entry(tmp_path, KEY, fill)
    whole = (folder / "rows.npy").read_bytes()
    for content in (b"", whole[:60], whole[:-1], b"x" * 200):
        (folder / "rows.npy").write_bytes(content)
        with pytest.raises(DataError, match="remove the folder"):
            cache.load(folder, "rows", (2, 3), np.int8)
    (folder / "rows.npy").write_bytes(whole)
    with pytest.raises(DataError, match="remove the folder"):
        cache.load(folder, "rows", (3, 2), np.int8)
    with pytest.raises(DataError, match="remove the folder"):
        cache.load(folder, "others", (3, 2), np.int8)


def test_wrong_rows_are_a_fault_of_the_caller(tmp_path):
    with pytest.raises(ValueError, match="row 0 is float64"):
        cache.write(tmp_path, "rows", iter([np.zeros(2)]), (2,), np.int8)


def test_impossible_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        cache.entry(tmp_path / "file", KEY, fill)
