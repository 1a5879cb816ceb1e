from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from training_samples import bar_drive, blinded

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.training.augment import Dirt, Look, augment, lighten
from crnn_snn_ros.training.config import AugmentConfig

PLAIN = Look(mirrored=False, contrast=1.0, brightness=0.0)
ALL = AugmentConfig(blur_px=2.0, noise=9.0, occlusion=0.5, shift=0.2, zoom=0.2)


def look_at(look: Look, drive, at: int = 0) -> np.ndarray:
    return look(drive.frames, drive.steering_rad, drive.collision, at)[0].numpy()


def test_mirroring_negates_steering_and_nothing_else():
    drive = bar_drive(6)
    labels = drive.frames, drive.steering_rad, drive.collision
    plain = Look(mirrored=False, contrast=1.0, brightness=0.0)(*labels)
    mirrored = Look(mirrored=True, contrast=1.0, brightness=0.0)(*labels)
    assert plain[0].numpy().astype(np.int8).tolist() == drive.frames.tolist()
    assert mirrored[0].numpy().tolist() == drive.frames[..., ::-1].tolist()
    assert mirrored[1].tolist() == (-drive.steering_rad).tolist()
    assert mirrored[2].tolist() == drive.collision.tolist()


def test_a_tint_belongs_to_its_channel():
    drive = bar_drive(3)
    labels = drive.frames, drive.steering_rad, drive.collision
    tint = tuple(0.5 if channel == 0 else 1.0 for channel in range(3))
    tinted = Look(mirrored=False, contrast=1.0, brightness=0.0, tint=tint)(*labels)[0]
    expected = np.floor(drive.frames[:, :1] * 0.5 + 0.5)
    assert tinted[:, :1].numpy().tolist() == expected.tolist()
    assert tinted[:, 1:].numpy().tolist() == drive.frames[:, 1:].tolist()


@pytest.mark.parametrize("colours", [1, 3])
def test_motion_knows_of_light_only_the_contrast(colours):
    drive = bar_drive(3)
    frames = np.repeat(drive.frames[:, :1], colours + 1, axis=1)
    look = Look(mirrored=True, contrast=0.5, brightness=20.0, tint=(0.8, 0.8, 0.8))
    seen = look(frames, drive.steering_rad, drive.collision)[0].numpy()
    there = frames[..., ::-1].astype(np.float32)
    assert np.array_equal(seen[:, -1], np.floor(there[:, -1] * 0.5 + 0.5))
    lit = np.floor(there[:, :-1] * np.float32(0.4) + 20.5).clip(-128, 127)
    assert np.abs(seen[:, :-1] - lit).max() <= 1.0, "but for rounding"
    dirty = Look(False, 1.0, 0.0, dirt=Dirt(0.0, 0.0, 1.0, 1.0, 50.0))
    hidden = dirty(frames, drive.steering_rad, drive.collision)[0].numpy()
    assert (hidden[:, :-1] == 50.0).all()
    assert (hidden[:, -1] == 0.0).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 7])
def test_light_by_a_table_is_the_arithmetic_on_every_pixel(channels):
    rng = np.random.default_rng(channels)
    frames = rng.integers(-128, 128, (3, channels, 16, 24), np.int8)
    labels = np.zeros(3, np.float32)
    for _ in range(32):
        look = augment(rng, AugmentConfig())
        hidden_nowhere = look._replace(dirt=Dirt(0.0, 0.0, 0.0, 0.0, 0.0))
        by_table, by_arithmetic = (way(frames, labels, labels) for way in (look, hidden_nowhere))
        assert all(map(torch.equal, by_table, by_arithmetic))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 7])
def test_many_pieces_are_lit_at_once_as_one_is(channels):
    rng = np.random.default_rng(channels)
    pieces = torch.from_numpy(rng.integers(-128, 128, (40, 2, channels, 8, 12), np.int8))
    dark, mirrored = lighten(pieces, np.random.default_rng(1), light=0.0)
    assert set(mirrored.tolist()) == {True, False}
    assert torch.equal(dark[~mirrored], pieces[~mirrored])
    assert torch.equal(dark[mirrored], pieces[mirrored].flip(-1))
    seen, mirrored = lighten(pieces, np.random.default_rng(2), light=1.0)
    seen = torch.where(mirrored[:, None, None, None, None], seen.flip(-1), seen).float()
    colours, moving = (1 if channels < 3 else 3), channels in (2, 4, 7)
    assert torch.equal(seen[:, :, colours + moving :], pieces[:, :, colours + moving :].float())
    inside = (seen > -128) & (seen < 127)
    for piece, there, within in zip(seen, pieces.float(), inside, strict=True):
        for channel in range(colours + moving):
            x, y = there[:, channel][within[:, channel]], piece[:, channel][within[:, channel]]
            gain, offset = np.polyfit(x.numpy(), y.numpy(), 1)
            assert (y - gain * x - offset).abs().max() < 1.1, "one straight line for a channel"
            assert 0.55 < gain < 1.55
            assert abs(offset) < (25.6 if channel < colours else 0.6)


def test_a_look_keeps_pixels_in_range_and_labels_that_are_missing():
    drive = blinded(bar_drive(6), "steering_rad")
    for contrast, brightness in ((1.25, 25.0), (0.75, -25.0)):
        look = Look(mirrored=True, contrast=contrast, brightness=brightness)
        pixels, steering, _ = look(drive.frames, drive.steering_rad, drive.collision)
        assert pixels.dtype == torch.int8
        assert steering.isnan().all()
    drawn = [augment(np.random.default_rng(seed), AugmentConfig()) for seed in range(64)]
    assert min(min(look.tint) for look in drawn) < 0.85
    assert max(max(look.tint) for look in drawn) > 1.15
    assert 16 < sum(look.mirrored for look in drawn) < 48


def test_nothing_is_altered_where_nothing_is_asked_for():
    drive = bar_drive(6)
    nothing = AugmentConfig(mirror=False, light=0.0)
    for seed in range(8):
        look = augment(np.random.default_rng(seed), nothing)
        pixels, *labels = look(drive.frames, drive.steering_rad, drive.collision)
        assert (pixels.numpy() == drive.frames).all()
        assert (labels[0].numpy() == drive.steering_rad).all()
        assert (labels[1].numpy() == drive.collision).all()


@pytest.mark.parametrize(
    ("right", "down", "moved"),
    [
        (0.25, 0.0, (slice(None), slice(3, None))),
        (-0.25, 0.0, (slice(None), slice(None, -3))),
        (0.0, 0.5, (slice(4, None), slice(None))),
    ],
)
def test_a_shift_moves_every_frame_as_far_and_leaves_steering(right, down, moved):
    drive = bar_drive(6)
    look = PLAIN._replace(right=right, down=down)
    pixels, steering, _ = look(drive.frames, drive.steering_rad, drive.collision)
    source = tuple(slice(*(None if e is None else -e for e in (s.stop, s.start))) for s in moved)
    assert (pixels.numpy()[(..., *moved)] == drive.frames[(..., *source)]).all()
    assert (steering.numpy() == drive.steering_rad).all()


def test_a_zoom_keeps_the_middle_and_makes_the_bar_wider():
    drive = bar_drive(1)
    frames = np.full((1, 3, 9, 9), -100, np.int8)
    frames[..., 3:6] = 100
    drive = dataclasses.replace(drive, frames=frames)
    wide = (look_at(PLAIN._replace(zoom=0.4), drive)[0, 0] > 0).sum(axis=1)
    narrow = (look_at(PLAIN._replace(zoom=-0.4), drive)[0, 0] > 0).sum(axis=1)
    assert wide.tolist() == [5] * 9
    assert narrow.tolist() == [1] * 9


def test_blur_keeps_the_mean_and_takes_away_detail():
    drive = bar_drive(6)
    blurred = look_at(PLAIN._replace(blur_px=1.5), drive)
    assert blurred.mean() == pytest.approx(drive.frames.mean(), abs=6.0)
    assert np.abs(np.diff(blurred)).sum() < 0.8 * np.abs(np.diff(drive.frames.astype(float))).sum()


def test_dirt_hides_the_same_place_of_every_frame_and_nothing_else():
    drive = bar_drive(6)
    pixels = look_at(PLAIN._replace(dirt=Dirt(0.25, 0.5, 0.5, 0.25, 7.0)), drive)
    hidden = np.zeros(drive.frames.shape[2:], bool)
    hidden[4:6, 3:9] = True
    assert (pixels[..., hidden] == 7.0).all()
    assert (pixels[..., ~hidden] == drive.frames[..., ~hidden]).all()


def test_noise_is_another_one_in_each_frame_and_the_same_whenever_it_is_drawn():
    drive = dataclasses.replace(bar_drive(2), frames=np.zeros((2, 1, 64, 64), np.int8))
    look = PLAIN._replace(noise=8.0, seed=3)
    pixels = look_at(look, drive)
    assert pixels.std() == pytest.approx(8.0, rel=0.1)
    assert abs(np.corrcoef(pixels[0].ravel(), pixels[1].ravel())[0, 1]) < 0.1
    assert (look_at(look, drive) == pixels).all()
    assert (look_at(look, drive, at=2) != pixels).any()
    assert (look_at(look._replace(seed=4), drive) != pixels).any()


@pytest.mark.parametrize("channels", [1, 3])
def test_all_together_stay_pixels(channels):
    drive = bar_drive(4)
    drive = dataclasses.replace(drive, frames=np.repeat(drive.frames[:, :1], channels, axis=1))
    for seed in range(16):
        pixels = look_at(augment(np.random.default_rng(seed), ALL), drive)
        assert pixels.shape == drive.frames.shape
        assert pixels.dtype == np.int8


@pytest.mark.parametrize("channels", [6, 7])
def test_what_tells_the_mount_of_the_camera_is_left_alone(channels):
    drive = bar_drive(4)
    frames = np.repeat(drive.frames[:, :1], channels, axis=1)
    frames[:, -3:] = np.array([-21, 7, 80])[:, None, None]
    drive = dataclasses.replace(drive, frames=frames)
    for seed in range(16):
        pixels = look_at(augment(np.random.default_rng(seed), ALL), drive)
        assert (pixels[:, -3:] == frames[:, -3:]).all()
        assert (pixels[:, :-3] != frames[:, :-3]).any()


def test_draws_keep_to_their_limits_and_use_them():
    looks = [augment(np.random.default_rng(seed), ALL) for seed in range(200)]
    for name, most in (
        ("blur_px", 2.0),
        ("noise", 9.0),
        ("right", 0.2),
        ("down", 0.2),
        ("zoom", 0.2),
    ):
        values = [abs(getattr(look, name)) for look in looks]
        assert 0.9 * most < max(values) <= most
    soiled = [look.dirt for look in looks if look.dirt is not None]
    assert 60 < len(soiled) < 140
    assert all(dirt.left + dirt.width <= 1.0 and dirt.top + dirt.height <= 1.0 for dirt in soiled)


@pytest.mark.parametrize(
    "changes",
    [{"light": -1}, {"blur_px": 9}, {"noise": float("nan")}, {"occlusion": 0.9}, {"shift": 0.5}],
    ids=str,
)
def test_wrong_limits_are_named(changes):
    with pytest.raises(ConfigError, match=rf"augment\.{next(iter(changes))} is .* allowed is 0 to"):
        AugmentConfig(**changes)
