from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training_samples import bar_drive

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.core.ways import WAYS
from crnn_snn_ros.data.dataset import Sequence
from crnn_snn_ros.data.scans import BEARINGS
from crnn_snn_ros.training.config import AugmentConfig
from crnn_snn_ros.training.drives import calibration_frames
from crnn_snn_ros.training.gallery import Gallery
from crnn_snn_ros.training.streams import Streams

LOOKS = AugmentConfig(noise=5.0, occlusion=0.5, shift=0.1, blur_px=1.0)


def numbered(frames: int, drive: int = 0) -> Sequence:
    """A drive whose steering labels (rad) and collision labels number drives and frames."""
    ones = np.ones(frames, np.float32)
    labels = {"steering_rad": drive * ones, "collision": np.arange(frames, dtype=np.float32)}
    return dataclasses.replace(bar_drive(frames), **labels)


@pytest.mark.parametrize("frames", [2, 3, 17, 64, 100, 3000])
def test_an_epoch_shows_every_frame_about_once(frames):
    streams = Streams([numbered(frames)], 8, 4, np.random.default_rng(frames))
    windows = [next(streams) for _ in range(streams.steps)]
    seen = torch.cat([window.collision.flatten() for window in windows])
    seen = seen[seen.isfinite()]
    assert len(set(seen.tolist())) >= 0.6 * frames
    assert len(seen) <= frames + 4 * 8
    longest = min(frames, 8)
    assert all(window.pixels.shape[:2] == window.collision.shape for window in windows)
    assert all(window.pixels.shape[1] == longest for window in windows)


def test_streams_mix_drives_and_say_where_one_begins():
    lengths = [40, 25, 9, 100, 33, 71]
    drives = [numbered(length, drive) for drive, length in enumerate(lengths)]
    streams = Streams(drives, 8, 3, np.random.default_rng(0))
    before: list[tuple[float, float]] = []
    mixed = mixed_starts = 0
    for _ in range(4 * streams.steps):
        window = next(streams)
        assert len(window.pixels) == 3
        steering = window.steering_rad.abs().nan_to_num(-1.0)  # mirrored ones are negative
        first = [
            (float(s[0]), float(c[0])) for s, c in zip(steering, window.collision, strict=True)
        ]
        for number, fresh in enumerate(window.fresh.tolist()):
            frames = window.collision[number]
            known = frames[frames.isfinite()]
            assert len(known) >= 1
            assert (known.diff() == 1).all()
            assert frames[len(known) :].isnan().all()  # past the end nothing is labelled
            if before and not fresh:
                assert first[number] == (before[number][0], before[number][1] + 8)
        mixed_starts += int(window.fresh.sum())
        mixed += len({drive for drive, _ in first}) > 1
        before = first
    assert mixed > 2 * streams.steps
    assert mixed_starts / (4 * streams.steps * 3) > 0.5 / 4


def three_drives() -> list[Sequence]:
    return [numbered(length, drive) for drive, length in enumerate((40, 25, 70))]


@given(count=st.integers(1, 6), processes=st.integers(1, 3), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_processes_see_together_what_one_would(count, processes, seed):
    def streams(share: tuple[int, int]) -> Streams:
        return Streams(three_drives(), 8, count, np.random.default_rng(seed), LOOKS, share)

    alone = streams((0, 1))
    count = alone.count
    if count < processes:
        with pytest.raises(
            DataError, match=f"{count} streams are too few for {processes} processes"
        ):
            streams((0, processes))
        return
    parts = [streams((number, processes)) for number in range(processes)]
    assert [number for part in parts for number in part.seen] == list(range(count))
    for _ in range(2 * alone.steps):
        whole, pieces = next(alone), [next(part) for part in parts]
        for number in range(len(whole)):
            together = torch.cat([piece[number] for piece in pieces])
            assert torch.equal(together.nan_to_num(-9.0), whole[number].nan_to_num(-9.0))


@pytest.mark.parametrize("steps", [0, 1, 2, 7, 30])
def test_a_restored_place_goes_on_to_the_same_windows(steps):
    streams = Streams(three_drives(), 8, 3, np.random.default_rng(1), LOOKS)
    for _ in range(steps):
        next(streams)
    told = json.loads(json.dumps(streams.state()))
    other = Streams(three_drives(), 8, 3, np.random.default_rng(1), LOOKS)
    other.restore(told)
    for _ in range(20):
        for expected, found in zip(next(streams), next(other), strict=True):
            assert torch.equal(expected.nan_to_num(-9.0), found.nan_to_num(-9.0))


@pytest.mark.parametrize("looks", [None, AugmentConfig()], ids=["as_it_is", "lit"])
def test_a_gallery_gives_the_very_windows(monkeypatch, looks):
    rng = np.random.default_rng(7)
    ranges = rng.uniform(0, 8, (40, BEARINGS)).astype(np.float32)
    ways = rng.uniform(0, 1, (40, WAYS)).astype(np.float32)
    drives = [
        dataclasses.replace(numbered(40 - drive, drive), ranges_m=scan, way_costs=told)
        for drive, (scan, told) in enumerate(
            ((ranges, None), (None, ways[:39]), (ranges[:38], ways[:38]))
        )
    ]
    one_by_one = Streams(drives, 8, 4, np.random.default_rng(3), looks, piece=2)
    on_this_device = classmethod(lambda cls, drives, _, device: cls(drives, device))
    monkeypatch.setattr(Gallery, "where_it_pays", on_this_device)
    at_once = Streams(drives, 8, 4, np.random.default_rng(3), looks, piece=2)
    for _ in range(3 * one_by_one.steps):
        for ours, theirs in zip(next(one_by_one), next(at_once), strict=True):
            assert torch.equal(ours.float().nan_to_num(-9.0), theirs.float().nan_to_num(-9.0))


def test_what_lies_from_right_to_left_is_mirrored_with_the_picture():
    ways = np.arange(6 * WAYS, dtype=np.float32).reshape(6, WAYS)
    drive = dataclasses.replace(numbered(6), way_costs=ways)
    seen = set()
    streams = Streams([drive], 2, 1, np.random.default_rng(0), AugmentConfig(light=0.0), piece=1)
    for _ in range(40):
        chunk = next(streams)
        rows = chunk.way_costs[0].numpy()
        mirrored = bool(rows[0, 0] > rows[0, -1])
        wanted = rows[:, ::-1] if mirrored else rows
        assert {tuple(row) for row in wanted} <= {tuple(row) for row in ways}
        assert (chunk.steering_rad[0] <= 0.0).all() == mirrored or not chunk.steering_rad[0].any()
        seen.add(mirrored)
    assert seen == {False, True}


def test_a_gallery_is_for_a_gpu_and_for_light_alone():
    drives, cpu, gpu = [numbered(9)], torch.device("cpu"), torch.device("cuda")
    assert Gallery.where_it_pays(drives, AugmentConfig(), cpu) is None
    assert Gallery.where_it_pays(drives, LOOKS, gpu) is None


def test_what_is_hidden_is_so_for_a_whole_window_and_goes_on_when_restored():
    drives = [dataclasses.replace(numbered(60, k), frames=np.ones((60, 3, 4, 5))) for k in range(3)]
    streams = Streams(drives, 8, 3, np.random.default_rng(1), None, hidden=0.25)
    windows = torch.stack([next(streams).pixels for _ in range(12)])  # (12, N, T, C, H, W)
    assert windows.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert torch.equal(windows, windows[:, :, :1].expand_as(windows))
    assert (windows == 0.0).float().mean() == pytest.approx(0.25, abs=0.05)
    assert not torch.equal(windows[0], windows[1])
    told = json.loads(json.dumps(streams.state()))
    other = Streams(drives, 8, 3, np.random.default_rng(1), None, hidden=0.25)
    other.restore(told)
    assert torch.equal(next(streams).pixels, next(other).pixels)


def test_processes_hide_the_same_together_as_one_alone():
    drives = three_drives()
    whole = Streams(drives, 8, 3, np.random.default_rng(1), None, hidden=0.5)
    parts = [
        Streams(drives, 8, 3, np.random.default_rng(1), None, (k, 3), hidden=0.5) for k in range(3)
    ]
    for _ in range(5):
        together = torch.cat([next(part).pixels for part in parts])
        assert torch.equal(together, next(whole).pixels)


@pytest.mark.parametrize(
    ("lengths", "shape"), [((500, 2, 500), (2, 500)), ((4, 2), (1, 4)), ((90,) * 40, (16, 64))]
)
def test_a_drive_that_is_over_at_once_does_not_starve_calibration(lengths, shape):
    drives = [bar_drive(length) for length in lengths]
    assert calibration_frames(drives).shape[:2] == shape
