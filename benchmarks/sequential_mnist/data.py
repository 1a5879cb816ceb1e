"""MNIST, pixel by pixel: from its four idx files to sequences of network inputs."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crnn_snn_ros.core.errors import ConfigError, DataError

PARTS = {"train": "train", "test": "t10k"}
ORDER_SEED = 1  # of the one permutation of PS-MNIST
_BYTES = 0x08  # type code of unsigned bytes in an idx file


class Sequences(NamedTuple):
    """Pictures as sequences."""

    pixels: Tensor  # int8 (N, T): pixel - 128, in the order in which they are shown
    digits: Tensor  # int64 (N,)


def load(folder: Path, part: str, *, permuted: bool) -> Sequences:
    """Read one part, ``train`` or ``test``.

    Args:
        folder: Holds ``train-images-idx3-ubyte`` and so on, as they are or with ``.gz``.
        part: Which.
        permuted: In the order of PS-MNIST, the same for all pictures, else row by row.

    Raises:
        DataError: a file is missing or is not what its name says.
    """
    name = PARTS[part]
    pictures = _read(folder, f"{name}-images-idx3-ubyte", 3)
    digits = _read(folder, f"{name}-labels-idx1-ubyte", 1)
    if len(pictures) != len(digits) or len(digits) == 0:
        raise DataError(f"{folder}: {len(pictures)} pictures of {name}, but {len(digits)} labels")
    rows = pictures.reshape(len(pictures), -1)
    rows = rows[:, _order(rows.shape[1], permuted)]
    pixels = torch.from_numpy(np.ascontiguousarray(rows.astype(np.int16) - 128).astype(np.int8))
    return Sequences(pixels, torch.from_numpy(digits.astype(np.int64)))


def moves(steps: int, most: int, *, permuted: bool) -> Tensor:
    """Where each step finds its pixel when the picture is moved, black coming in from the side.

    Args:
        steps: T, pixels of a square picture.
        most: Pixels by which it moves, at most, each way.
        permuted: As for ``load``.

    Returns:
        int64 ((2 most + 1)^2, T): for each move the step at which this pixel comes unmoved; T where
        it is black.

    Raises:
        ConfigError: T is no square.
    """
    side = math.isqrt(steps)
    if side * side != steps:
        raise ConfigError(f"{steps} pixels are not a square picture, so it cannot be moved")
    order = _order(steps, permuted)
    comes = np.full((side + 2 * most, side + 2 * most), steps)
    inner = np.empty(steps, np.int64)
    inner[order] = np.arange(steps)
    comes[most : most + side, most : most + side] = inner.reshape(side, side)
    windows = np.lib.stride_tricks.sliding_window_view(comes, (side, side))
    return torch.from_numpy(windows.reshape(-1, steps)[:, order])


def moved(pixels: Tensor, table: Tensor, which: Tensor) -> Tensor:
    """Pictures, each by a move of its own.

    Args:
        pixels: int8 (N, T).
        table: Of ``moves``, on the same device.
        which: int64 (N,), rows of the table.
    """
    black = torch.full((len(pixels), 1), -128, dtype=torch.int8, device=pixels.device)
    return torch.cat([pixels, black], dim=1).gather(1, table[which])


def _order(steps: int, permuted: bool) -> NDArray[np.int64]:
    """Which pixel, row by row, comes at each step."""
    return np.random.default_rng(ORDER_SEED).permutation(steps) if permuted else np.arange(steps)


def frames(pixels: Tensor, window: int) -> Tensor:
    """What the network sees step by step: the last ``window`` pixels, black before the first.

    Args:
        pixels: int8 (N, T).
        window: How many.

    Returns:
        int8 (N, T, 1, 1, window), the newest last.
    """
    black = torch.full((len(pixels), window - 1), -128, dtype=torch.int8, device=pixels.device)
    seen = torch.cat([black, pixels], dim=1).unfold(1, window, 1)
    return seen[:, :, None, None]


def _read(folder: Path, name: str, axes: int) -> NDArray[np.uint8]:
    for path, opener in ((folder / name, open), (folder / f"{name}.gz", gzip.open)):
        if path.exists():
            try:
                with opener(path, "rb") as file:
                    return _parse(file.read(), axes)
            except (OSError, EOFError, ValueError) as error:
                raise DataError(f"{path}: not an idx file of bytes ({error})") from error
    raise DataError(f"{folder} holds neither {name} nor {name}.gz; get the four files of MNIST")


def _parse(content: bytes, axes: int) -> NDArray[np.uint8]:
    head = 4 + 4 * axes
    if content[:4] != bytes((0, 0, _BYTES, axes)) or len(content) < head:
        raise ValueError(f"begins with {content[:4].hex()}, expected 0000{_BYTES:02x}{axes:02x}")
    shape = np.frombuffer(content, ">u4", axes, 4)
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)
