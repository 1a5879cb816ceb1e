"""Looks: from a seed, apart from the course, and held-out ones outside of what training sees."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from crnn_snn_ros.core.mount import CameraMount
from crnn_snn_ros.sim.course import Stream, stream
from crnn_snn_ros.sim.looks import Lens, Look
from crnn_snn_ros.sim.textures import FAMILIAR, HELD_OUT, PATTERNS, SIDE, texture


def test_a_seed_is_a_look() -> None:
    first, again, other = Look.from_seed(3), Look.from_seed(3), Look.from_seed(4)
    assert first.camera == again.camera != other.camera
    pairs = list(zip(first.textures, again.textures, strict=True))
    assert all(np.array_equal(a, b) for a, b in pairs)
    assert not np.array_equal(first.textures[0], other.textures[0])


def test_held_out_looks_lie_beyond_the_familiar_ones() -> None:
    assert set(FAMILIAR) | set(HELD_OUT) == set(PATTERNS)
    assert not set(FAMILIAR) & set(HELD_OUT)
    known = [Look.from_seed(seed) for seed in range(60)]
    new = [Look.from_seed(seed, held_out=True) for seed in range(60)]
    assert not any(look.shadows for look in known)
    assert all(look.shadows and look.ceiling_m is None for look in new)
    for name in ("exposure", "gamma", "noise", "blur_px", "pitch_rad", "height_m"):
        old_range = [getattr(look.camera, name) for look in known]
        new_range = [getattr(look.camera, name) for look in new]
        assert max(old_range) <= min(new_range) or max(new_range) <= min(old_range), name


def test_textures_repeat_without_a_seam() -> None:
    for name in PATTERNS:
        pixels = texture(stream(1, Stream.APPEARANCE), (name,))
        assert pixels.shape == (SIDE, SIDE, 3)
        # The jump over the border is no larger than the largest one within.
        rows = np.abs(np.diff(pixels.astype(int), axis=0, append=pixels[:1])).mean(axis=(1, 2))
        assert rows[-1] <= rows[:-1].max() + 1.0, name


def test_the_lens_does_what_its_numbers_say() -> None:
    plain = dataclasses.replace(
        Look.from_seed(0).camera,
        exposure=1.0, gamma=1.0, white_balance=(1.0, 1.0, 1.0), noise=0.0, blur_px=0.0,
    )  # fmt: skip
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    untouched = Lens(plain, 1)(image, 0)
    assert np.array_equal(untouched, image)
    assert untouched is not image
    half = Lens(dataclasses.replace(plain, exposure=0.5), 1)(image, 0)
    assert np.abs(half - image / 2.0).max() <= 0.5
    grey = np.full((64, 96, 3), 128, np.uint8)
    noisy = Lens(dataclasses.replace(plain, noise=5.0), 1)
    assert abs(noisy(grey, 3).std() - 5.0) < 0.2
    assert np.array_equal(noisy(grey, 3), noisy(grey, 3))
    assert not np.array_equal(noisy(grey, 3), noisy(grey, 4))
    soft = Lens(dataclasses.replace(plain, blur_px=1.0), 1)(image, 0)
    assert soft.std() < 0.5 * image.std()


def test_camera_angles() -> None:
    camera = dataclasses.replace(Look.from_seed(0).camera, horizontal_fov_rad=math.pi / 2)
    assert math.isclose(camera.focal_px(96), 48.0)
    assert math.isclose(camera.vertical_fov_rad(96, 96), math.pi / 2)


def test_another_lens_changes_the_view_only_and_by_the_same_for_all() -> None:
    narrow, wide = (
        dataclasses.replace(Look.from_seed(3).camera, horizontal_fov_rad=math.radians(fov_deg))
        for fov_deg in (90.0, 100.0)
    )
    look = dataclasses.replace(Look.from_seed(3), camera=narrow)
    other = look.with_lens(115.0)
    assert math.isclose(other.camera.horizontal_fov_rad, math.radians(115.0))
    assert dataclasses.replace(other.camera, horizontal_fov_rad=math.pi / 2) == narrow
    assert vars(dataclasses.replace(other, camera=narrow)) == vars(look)
    wider = dataclasses.replace(look, camera=wide).with_lens(115.0).camera
    ratio = wider.focal_px(96) / other.camera.focal_px(96)
    assert math.isclose(ratio, wide.focal_px(96) / narrow.focal_px(96))
    assert look.with_lens(90.0) is look


def test_another_mount_changes_nothing_else() -> None:
    look, mount = Look.from_seed(3), CameraMount(0.22, 0.05, 1.58)
    moved = look.through(mount)
    assert moved.camera.mount == mount != look.camera.mount
    back = dataclasses.replace(moved, camera=look.camera)
    assert vars(back) == vars(look)
    assert dataclasses.replace(moved.camera, **look.camera.mount._asdict()) == look.camera
    assert look.through(None) is look
