"""Augmentation of a piece of a drive: one look for all frames, so that it stays plausible video.

frames --mirror--> --another mount--> --blur--> --dirt on the lens--> --light--> --noise--> pixels

A channel of motion goes the same way, but knows of light only the contrast: it is a difference.
Those of the camera's mount are left alone.

Another mount shifts and zooms the view by as much in every frame, as a camera does that was screwed
on a little otherwise. The robot drove what it drove, so the steering label stays as it is.
(Correcting it would be right for a robot that stands aside of its path; then the view would have to
come back from frame to frame as the steering brings the robot back, which a still picture cannot.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crnn_snn_ros.training.config import AugmentConfig

Pixels = NDArray[np.float32]

CONTRAST, TINT = 0.25, 0.2  # most that a gain is off by, in light of 1
BRIGHTNESS = 25.0  # grey levels, likewise


class Dirt(NamedTuple):
    """What hides a part of every frame, in shares of the frame: an upright rectangle."""

    left: float
    top: float
    width: float
    height: float
    grey: float  # pixel - 128


class Look(NamedTuple):
    """How one piece is seen."""

    mirrored: bool
    contrast: float
    brightness: float  # in grey levels
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)  # gain of R, G, B; of a grey image the first
    blur_px: float = 0.0
    noise: float = 0.0  # standard deviation, in grey levels
    seed: int = 0  # of the noise
    dirt: Dirt | None = None
    right: float = 0.0  # shift of the picture, in widths
    down: float = 0.0  # in heights
    zoom: float = 0.0  # 0.1: everything looks a tenth larger

    def __call__(
        self,
        frames: NDArray[np.int8],
        steering_rad: NDArray[np.float32],
        collision: NDArray[np.float32],
        at: int = 0,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Frames (T, C, H, W), int8 as they were, and labels (T,) that fit them.

        Of 2, 4 or 7 channels one is of motion, of 6 or 7 the last three of the camera's mount.

        ``at`` is the number of the first frame: noise depends on nothing else, so a frame looks
        the same whoever draws it and when.
        """
        steering = np.array(-steering_rad if self.mirrored else steering_rad)
        told = torch.from_numpy(steering), torch.from_numpy(np.array(collision))
        if self._only_light:
            return torch.from_numpy(self._lit(frames)), *told
        pixels: Pixels = np.array(frames[..., ::-1] if self.mirrored else frames, np.float32)
        if self.right or self.down or self.zoom or self.blur_px:
            pixels = self._through_another_lens(pixels)
        if self.dirt is not None:
            pixels = _soiled(pixels, self.dirt)
        gain, brightness = self._light(pixels.shape[1])
        pixels = pixels * gain[:, None] + brightness[:, None]
        if self.noise:
            rng = np.random.default_rng((self.seed, at))
            seen = pixels[:, : sum(_seen(pixels.shape[1]))]
            seen += np.float32(self.noise) * rng.standard_normal(seen.shape, np.float32)
        return torch.from_numpy(_rounded(pixels)), *told

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Look:
        """A look out of its ``_asdict`` that has been JSON."""
        dirt = fields["dirt"]
        return cls(**fields | {"tint": tuple(fields["tint"]), "dirt": dirt and Dirt(*dirt)})

    @property
    def _only_light(self) -> bool:
        """Whether a pixel becomes what it becomes whatever is around it."""
        moved = self.right or self.down or self.zoom
        return not (moved or self.blur_px or self.noise or self.dirt)

    def _lit(self, frames: NDArray[np.int8]) -> NDArray[np.int8]:
        planes = np.ascontiguousarray(frames).view(np.uint8).reshape(*frames.shape[:2], -1)
        seen = np.empty_like(planes, np.int8)
        for channel, table in enumerate(self.tables(frames.shape[1])):
            seen[:, channel] = cv2.LUT(planes[:, channel], table)
        seen = seen.reshape(frames.shape)
        return np.ascontiguousarray(seen[..., ::-1]) if self.mirrored else seen

    def tables(self, channels: int) -> NDArray[np.int8]:
        """What light makes of every level of every channel, (C, 256), by the level as uint8."""
        gain, brightness = self._light(channels)
        levels = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float32)
        return _rounded(levels * gain + brightness)

    def _light(self, channels: int) -> tuple[Pixels, Pixels]:
        """Gain and offset of every channel, (C, 1)."""
        colours, moving = _seen(channels)
        gain = np.ones((channels, 1), np.float32)
        gain[: colours + moving] = self.contrast
        gain[:colours, 0] *= np.array(self.tint[:colours], np.float32)
        brightness = np.zeros((channels, 1), np.float32)
        brightness[:colours] = self.brightness
        return gain, brightness

    def _through_another_lens(self, pixels: Pixels) -> Pixels:
        height, width = pixels.shape[2:]
        size = 1.0 + self.zoom
        across = (1.0 - size) * (width - 1) / 2.0 + self.right * width
        along = (1.0 - size) * (height - 1) / 2.0 + self.down * height
        view = np.array([[size, 0.0, across], [0.0, size, along]])
        seen = np.empty_like(pixels)
        for frame, out in zip(pixels, seen, strict=True):
            picture = np.ascontiguousarray(frame.transpose(1, 2, 0))
            if self.right or self.down or self.zoom:
                picture = cv2.warpAffine(
                    picture, view, (width, height), flags=cv2.INTER_LINEAR,
                    borderMode=cv2.BORDER_REPLICATE,
                )  # fmt: skip
            if self.blur_px:
                picture = cv2.GaussianBlur(picture, (0, 0), self.blur_px)
            out[:] = picture.reshape(height, width, -1).transpose(2, 0, 1)
        return seen


def augment(rng: np.random.Generator, config: AugmentConfig) -> Look:
    """Draw a look: half of them mirrored (steering changes its sign), all in other light."""
    light, dirt = config.light, config.occlusion
    mirrored = config.mirror and bool(rng.integers(2))
    contrast = float(rng.uniform(1.0 - CONTRAST * light, 1.0 + CONTRAST * light))
    brightness = float(rng.uniform(-BRIGHTNESS * light, BRIGHTNESS * light))
    red, green, blue = (rng.uniform(1.0 - TINT * light, 1.0 + TINT * light) for _ in range(3))
    return Look(
        mirrored,
        contrast,
        brightness,
        (red, green, blue),
        blur_px=float(rng.uniform(0.0, config.blur_px)),
        noise=float(rng.uniform(0.0, config.noise)),
        seed=int(rng.integers(2**32)),
        dirt=_dirt(rng, dirt) if dirt and rng.integers(2) else None,
        right=float(rng.uniform(-config.shift, config.shift)),
        down=float(rng.uniform(-config.shift, config.shift)),
        zoom=float(rng.uniform(-config.zoom, config.zoom)),
    )


def look_at(pixels: Tensor, looks: Sequence[Look]) -> tuple[Tensor, Tensor]:
    """Many pieces at once, on whatever device they are, each in its look.

    Args:
        pixels: (N, T, C, H, W), int8.
        looks: N of them, that change nothing but light (``AugmentConfig.only_light``).

    Returns:
        What each look makes of its frames, int8, and whether it is mirrored, (N,).
    """
    device = pixels.device
    mirrored = torch.tensor([look.mirrored for look in looks], device=device)
    tables = np.stack([look.tables(pixels.shape[2]) for look in looks])  # (N, C, 256)
    first = torch.arange(0, tables.size, 256, device=device).view(*tables.shape[:2], 1, 1)
    lit = torch.from_numpy(tables.ravel()).to(device)
    seen = lit[first[:, None] + pixels.view(torch.uint8).long()]
    return torch.where(mirrored[:, None, None, None, None], seen.flip(-1), seen), mirrored


def lighten(pixels: Tensor, random: np.random.Generator, light: float) -> tuple[Tensor, Tensor]:
    """Many pieces at once, on whatever device they are, half of them mirrored, all in other light.

    Like ``augment`` with nothing but light and ``look_at``, drawn for all of them together.

    Args:
        pixels: (N, T, C, H, W), int8.
        random: What decides.
        light: How much, as of ``AugmentConfig``.

    Returns:
        The pieces as they are seen then, int8, and whether each is mirrored, (N,).
    """
    count, channels = pixels.shape[0], pixels.shape[2]
    colours, moving = _seen(channels)
    gain, brightness = np.ones((count, channels)), np.zeros((count, channels))
    gain[:, : colours + moving] = _around(random, CONTRAST * light, (count, 1))
    gain[:, :colours] *= _around(random, TINT * light, (count, colours))
    brightness[:, :colours] = random.uniform(-BRIGHTNESS * light, BRIGHTNESS * light, (count, 1))
    gains, offsets = (
        torch.from_numpy(values.astype(np.float32)).to(pixels.device)[:, None, :, None, None]
        for values in (gain, brightness)
    )
    seen = (pixels * gains + offsets + 0.5).floor().clamp(-128, 127).to(torch.int8)
    mirrored = torch.from_numpy(random.integers(0, 2, count) > 0).to(pixels.device)
    return torch.where(mirrored[:, None, None, None, None], seen.flip(-1), seen), mirrored


def _around(random: np.random.Generator, spread: float, size: tuple[int, int]) -> Any:
    return random.uniform(1.0 - spread, 1.0 + spread, size)


def _dirt(rng: np.random.Generator, largest: float) -> Dirt:
    width, height = (float(rng.uniform(0.0, largest)) for _ in range(2))
    left, top = float(rng.uniform(0.0, 1.0 - width)), float(rng.uniform(0.0, 1.0 - height))
    return Dirt(left, top, width, height, float(rng.uniform(-128.0, 127.0)))


def _soiled(pixels: Pixels, dirt: Dirt) -> Pixels:
    height, width = pixels.shape[2:]
    rows = slice(round(dirt.top * height), round((dirt.top + dirt.height) * height))
    columns = slice(round(dirt.left * width), round((dirt.left + dirt.width) * width))
    colours, moving = _seen(pixels.shape[1])
    soiled = np.array(pixels)
    soiled[:, :colours, rows, columns] = dirt.grey
    soiled[:, colours : colours + moving, rows, columns] = 0.0  # dirt stays where it is
    return soiled


def _rounded(pixels: Pixels) -> NDArray[np.int8]:
    return np.asarray(np.floor(pixels + np.float32(0.5)).clip(-128, 127), np.int8)


def _seen(channels: int) -> tuple[int, int]:
    """How many of the channels are colours, and how many of motion; mount, wheels are after."""
    return 1 if channels < 3 else 3, channels in (2, 4, 7, 8)
