"""What a course looks like: surfaces, light, the camera and its faults, all from a seed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.mount import STANDARD_FOV_DEG, CameraMount
from crnn_snn_ros.sim.course import Stream, stream
from crnn_snn_ros.sim.textures import FAMILIAR, HELD_OUT, texture

TEXTURES = 8  # floor, ceiling, two for walls, three for obstacles, one for movers
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Camera:
    """A camera on the robot, and what it does to an image."""

    height_m: float
    forward_m: float  # ahead of the middle of the robot's footprint
    pitch_rad: float  # positive looks down (REP-103)
    horizontal_fov_rad: float
    exposure: float  # gain on all channels
    gamma: float
    white_balance: Colour  # gain of R, G, B
    noise: float  # standard deviation, grey levels
    blur_px: float  # standard deviation of the lens' blur in an image 96 pixels wide

    @property
    def mount(self) -> CameraMount:
        """What the robot may know of it."""
        return CameraMount(self.height_m, self.pitch_rad, self.horizontal_fov_rad)

    def focal_px(self, width: int) -> float:
        """Focal length in pixels of an image ``width`` pixels wide."""
        return 0.5 * width / math.tan(0.5 * self.horizontal_fov_rad)

    def vertical_fov_rad(self, width: int, height: int) -> float:
        """Vertical field of view of an image with square pixels."""
        return 2.0 * math.atan(0.5 * height / self.focal_px(width))


@dataclass(frozen=True, eq=False)
class Look:
    """All that may differ between two pictures of the same course."""

    seed: int
    textures: tuple[NDArray[np.uint8], ...]  # TEXTURES of them, (SIDE, SIDE, 3) RGB
    texture_sizes_m: tuple[float, ...]  # what one repetition spans
    tints: NDArray[np.float64]  # (64, 3): shape i is multiplied by tint i modulo 64
    light_direction: tuple[float, float, float]
    diffuse: Colour
    ambient: Colour
    fill: Colour  # of a second light from the other side, which casts no shadow
    sky: tuple[Colour, Colour]  # zenith and horizon, where there is no ceiling
    ceiling_m: float | None  # height above the walls' foot; None under the sky
    shadows: bool  # about five times the cost of a picture
    camera: Camera

    def through(self, mount: CameraMount | None) -> Look:
        """The same world, seen by a camera that is mounted so; None: as it is."""
        if mount is None:
            return self
        return replace(self, camera=replace(self.camera, **mount._asdict()))

    def with_lens(self, fov_deg: float) -> Look:
        """The same world, seen through another lens.

        Args:
            fov_deg: horizontal field of view that one of 90 degrees would have then; those of other
                looks are as much longer or shorter in focal length as they are by themselves.
        """
        if fov_deg == STANDARD_FOV_DEG:
            return self
        wider = math.tan(0.5 * math.radians(fov_deg)) / math.tan(0.25 * math.pi)
        fov_rad = 2.0 * math.atan(wider * math.tan(0.5 * self.camera.horizontal_fov_rad))
        return replace(self, camera=replace(self.camera, horizontal_fov_rad=fov_rad))

    @classmethod
    def from_seed(cls, seed: int, held_out: bool = False) -> Look:
        """The look of a seed.

        Args:
            seed: of the course, or any other.
            held_out: patterns, light and camera from beyond what training sees, and shadows.
        """
        # A look that is held out has nothing in common with the familiar one of the same seed.
        random = stream(seed + (1 << 40 if held_out else 0), Stream.APPEARANCE)
        patterns = HELD_OUT if held_out else FAMILIAR
        saturation = 1.0 if held_out else float(random.uniform(0.2, 1.0))
        surfaces = tuple(texture(random, patterns, saturation) for _ in range(TEXTURES))
        sizes = tuple(float(s) for s in random.uniform(0.3, 1.5, TEXTURES))
        tints = random.uniform(0.6, 1.0, (64, 1)) * random.uniform(0.75, 1.0, (64, 3))
        indoors = bool(random.random() < 0.6) and not held_out  # a ceiling would shade it all
        steep = random.uniform(0.6, 0.9) if held_out else random.uniform(0.9, 1.5)
        turn = random.uniform(-math.pi, math.pi)
        direction = (
            math.cos(turn) * math.cos(steep), math.sin(turn) * math.cos(steep), -math.sin(steep)
        )  # fmt: skip
        bright = random.uniform(0.5, 0.8) if held_out else random.uniform(0.4, 0.8)
        ambient = random.uniform(0.5, 0.7) if held_out else random.uniform(0.35, 0.6)
        fill = random.uniform(0.15, 0.3) if held_out else random.uniform(0.2, 0.45)
        return cls(
            seed=seed,
            textures=surfaces,
            texture_sizes_m=sizes,
            tints=tints,
            light_direction=direction,
            diffuse=_tinted(random, bright),
            ambient=_tinted(random, ambient),
            fill=_tinted(random, fill),
            sky=(_tinted(random, random.uniform(0.3, 0.8)), _tinted(random, 0.85)),
            ceiling_m=float(random.uniform(2.2, 3.2)) if indoors else None,
            shadows=held_out,
            camera=_camera(random, held_out),
        )


def _tinted(random: np.random.Generator, level: float) -> Colour:
    r, g, b = np.clip(level * random.uniform(0.88, 1.12, 3), 0.0, 1.0)
    return float(r), float(g), float(b)


def _camera(random: np.random.Generator, held_out: bool) -> Camera:
    """Held out: a dimmer, noisier, softer camera, just past the familiar ranges."""
    uniform = random.uniform
    balance = uniform(0.85, 1.15, 3) if held_out else uniform(0.92, 1.08, 3)
    return Camera(
        height_m=float(uniform(0.30, 0.36) if held_out else uniform(0.15, 0.30)),
        forward_m=float(uniform(0.05, 0.15)),
        pitch_rad=math.radians(uniform(8.0, 12.0) if held_out else uniform(-2.0, 8.0)),
        horizontal_fov_rad=math.radians(uniform(80.0, 102.0) if held_out else uniform(84.0, 98.0)),
        exposure=float(uniform(0.65, 0.8) if held_out else uniform(0.8, 1.25)),
        gamma=float(uniform(1.15, 1.3) if held_out else uniform(0.85, 1.15)),
        white_balance=(float(balance[0]), float(balance[1]), float(balance[2])),
        noise=float(uniform(6.0, 10.0) if held_out else uniform(0.0, 6.0)),
        blur_px=float(uniform(0.7, 1.1) if held_out else uniform(0.0, 0.7)),
    )


class Lens:
    """The faults of one camera, the same for the same frame number.

    Args:
        camera: whose faults.
        seed: of the noise.
    """

    def __init__(self, camera: Camera, seed: int) -> None:
        self._blur_px = camera.blur_px
        self._noise = camera.noise
        levels = np.arange(256) / 255.0
        gains = camera.exposure * np.array(camera.white_balance)
        curve = np.clip(levels[:, None] * gains, 0.0, 1.0) ** camera.gamma
        self._curve = np.asarray(np.floor(255.0 * curve + 0.5), np.uint8).reshape(256, 1, 3)
        self._seed = seed

    def __call__(self, image: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
        """The picture as this camera would give it: (H, W, 3) RGB uint8, a new array."""
        seen = image
        sigma = self._blur_px * image.shape[1] / 96.0
        if sigma > 0.2:
            seen = np.asarray(cv2.GaussianBlur(seen, (0, 0), sigma), np.uint8)
        seen = np.asarray(cv2.LUT(seen, self._curve), np.uint8)
        if self._noise > 0.0:
            random = np.random.default_rng([self._seed, int(Stream.NOISE), number])
            grain = random.standard_normal(seen.shape, np.float32)
            grain *= self._noise
            grain += seen
            grain += 0.5
            seen = np.clip(grain, 0.0, 255.0, out=grain).astype(np.uint8)
        return seen.copy() if seen is image else seen
