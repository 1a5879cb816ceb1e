"""Surface patterns, drawn from numbers: nothing to download, nothing to license."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 64  # pixels of a square texture, which repeats without a seam
Pattern = Callable[[np.random.Generator], NDArray[np.float32]]


def texture(
    random: np.random.Generator, names: tuple[str, ...], saturation: float = 1.0
) -> NDArray[np.uint8]:
    """A texture of two random colours, mixed by one of the named patterns.

    Args:
        random: where its numbers come from.
        names: keys of ``PATTERNS`` to choose from.
        saturation: 0 grey to 1 as colourful as the random colours are.

    Returns:
        (SIDE, SIDE, 3) uint8 RGB.
    """
    pattern = PATTERNS[str(random.choice(names))](random)[..., None]
    first, second = _colour(random, saturation), _colour(random, saturation)
    contrast = random.uniform(0.1, 0.9)
    mixed = first + contrast * pattern * (second - first)
    grain = random.uniform(0.0, 0.06) * random.standard_normal((SIDE, SIDE, 1), np.float32)
    return np.asarray(np.clip(255.0 * (mixed + grain), 0, 255), np.uint8)


def _colour(random: np.random.Generator, saturation: float) -> NDArray[np.float32]:
    grey = random.uniform(0.12, 0.92)
    hue = random.uniform(-1.0, 1.0, 3) * random.beta(1.2, 3.0) * saturation
    return np.asarray(np.clip(grey + 0.6 * hue, 0.02, 0.98), np.float32)


def _plain(_: np.random.Generator) -> NDArray[np.float32]:
    return np.zeros((SIDE, SIDE), np.float32)


def _clouds(random: np.random.Generator) -> NDArray[np.float32]:
    total = np.zeros((SIDE, SIDE), np.float32)
    for cells in (4, 8, 16):
        coarse = random.random((cells, cells), np.float32)
        # Wrapped before it is enlarged, so that the pattern meets itself at its borders.
        padded = np.pad(coarse, 2, mode="wrap")
        scale = SIDE // cells
        fine = cv2.resize(padded, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        total += fine[2 * scale : -2 * scale, 2 * scale : -2 * scale] * (2.0 / cells)
    return np.asarray((total - total.min()) / np.ptp(total), np.float32)


def _speckles(random: np.random.Generator) -> NDArray[np.float32]:
    return (random.random((SIDE, SIDE)) < random.uniform(0.03, 0.2)).astype(np.float32)


def _checker(random: np.random.Generator) -> NDArray[np.float32]:
    cell = int(random.choice((8, 16, 32)))
    rows, columns = np.indices((SIDE, SIDE)) // cell
    return ((rows + columns) % 2).astype(np.float32)


def _tiles(random: np.random.Generator) -> NDArray[np.float32]:
    cell = int(random.choice((16, 32, 64)))
    rows, columns = np.indices((SIDE, SIDE)) % cell
    return np.asarray((rows < 2) | (columns < 2), np.float32)


def _planks(random: np.random.Generator) -> NDArray[np.float32]:
    cell = int(random.choice((8, 16)))
    shades = random.random(SIDE // cell).repeat(cell)
    board = np.broadcast_to(shades[:, None], (SIDE, SIDE)).astype(np.float32)
    grain = 0.15 * random.standard_normal((SIDE, 1), np.float32)
    return np.asarray(np.clip(board + grain, 0.0, 1.0), np.float32)


def _bricks(random: np.random.Generator) -> NDArray[np.float32]:
    high = int(random.choice((8, 16)))
    rows, columns = np.indices((SIDE, SIDE))
    shifted = columns + (rows // high % 2) * high
    return np.asarray((rows % high < 1) | (shifted % (2 * high) < 1), np.float32)


def _stripes(random: np.random.Generator) -> NDArray[np.float32]:
    cell = int(random.choice((4, 8, 16, 32)))
    lines = np.arange(SIDE) // cell % 2
    pattern = np.broadcast_to(lines, (SIDE, SIDE))
    return (pattern if random.random() < 0.5 else pattern.T).astype(np.float32)


def _waves(random: np.random.Generator) -> NDArray[np.float32]:
    rows, columns = np.indices((SIDE, SIDE)) * (2 * np.pi / SIDE)
    a, b, c, d = random.integers(1, 5, 4)
    pattern = np.sin(a * rows + 2.0 * np.sin(b * columns)) * np.cos(c * columns + np.sin(d * rows))
    return np.asarray(0.5 + 0.5 * pattern, np.float32)


def _dots(random: np.random.Generator) -> NDArray[np.float32]:
    cell = int(random.choice((16, 32)))
    rows, columns = np.indices((SIDE, SIDE)) % cell - cell / 2
    return np.asarray(np.hypot(rows, columns) < 0.3 * cell, np.float32)


def _diagonals(random: np.random.Generator) -> NDArray[np.float32]:
    cell = int(random.choice((8, 16, 32)))
    rows, columns = np.indices((SIDE, SIDE))
    way = random.choice((-1, 1))
    return np.asarray(((rows + way * columns) // cell) % 2, np.float32)


PATTERNS: dict[str, Pattern] = {
    "plain": _plain,
    "clouds": _clouds,
    "speckles": _speckles,
    "checker": _checker,
    "tiles": _tiles,
    "planks": _planks,
    "bricks": _bricks,
    "stripes": _stripes,
    "waves": _waves,
    "dots": _dots,
    "diagonals": _diagonals,
}
HELD_OUT = ("waves", "dots", "diagonals")  # in no picture that a network is trained on
FAMILIAR = ("plain", "clouds", "speckles", "checker", "tiles", "planks", "bricks", "stripes")
