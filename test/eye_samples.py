"""A small eye, and what it learns from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from crnn_snn_ros.cli import main
from crnn_snn_ros.data.scans import BEARINGS
from crnn_snn_ros.training.album import Page

SHAPE = (4, 16, 24)


def bars(number: int, seed: int = 0) -> Page:
    """Bright columns, and nearness 1 at their bearing."""
    rng = np.random.default_rng(seed)
    bearings = rng.integers(0, BEARINGS, number)
    pixels = np.full((number, *SHAPE), -100, np.int8)
    near = np.zeros((number, 2, BEARINGS), np.float32)
    for k, bearing in enumerate(bearings):
        column = int((BEARINGS - 1 - bearing) * SHAPE[2] / BEARINGS)  # bearings go from the right
        pixels[k, :3, :, column] = 100
        near[k, :, bearing] = 1.0
    return Page(torch.from_numpy(pixels), torch.from_numpy(near).flatten(1))


def taught_eye(folder: Path) -> Path:
    """One that the command has taught a little."""
    out = folder / "eye.safetensors"
    with pytest.MonkeyPatch.context() as context:
        context.setattr("crnn_snn_ros.training.eye.HELD_OUT", 1)
        assert main(arguments(out)) == 0
    return out


def arguments(out: Path) -> list[str]:
    options = {
        "--out": out, "--courses": 3, "--glimpses": 4, "--steps": 6, "--batch": 4,
        "--stem-channels": 6, "--block-channels": 8, "--hidden": 8, "--device": "cpu",
    }  # fmt: skip
    return ["eye", *(str(part) for pair in options.items() for part in pair)]
