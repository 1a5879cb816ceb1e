"""Glimpses, and the album that keeps them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from eye_samples import SHAPE, bars
from sim_support import needs_pictures

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.data.scans import BEARINGS
from crnn_snn_ros.io.preprocess import InputContract, rolled
from crnn_snn_ros.sim.glimpses import take_glimpses
from crnn_snn_ros.sim.suites import Setup
from crnn_snn_ros.training.album import TARGETS, Album, Pages, Photographer, altered


@needs_pictures
def test_a_glimpse_tells_the_way_of_its_last_period() -> None:
    contract = InputContract(24, 16, "rgb", motion=4, mount=True, steady=True, wheels=True)
    pixels, _ = Photographer(contract, 20.0, 6)(("movers", 1000))
    plain, _ = Photographer(replace(contract, wheels=False), 20.0, 6)(("movers", 1000))
    assert np.array_equal(pixels[:, :7], plain)
    taken = take_glimpses("movers", 1000, 6, Setup(camera=(24, 16), rate_hz=20.0), 4)
    for seen, lately, moved in zip(pixels, taken.lately, taken.moved, strict=True):
        assert np.array_equal(seen[7:], rolled(lately, contract))
        assert lately.turned_rad == pytest.approx(moved.turned_rad / 4)
    assert pixels[:, 7].any()


@needs_pictures
def test_motion_is_what_has_changed_since_the_frame_before() -> None:
    still, short, long = (
        Photographer(InputContract(24, 16, "rgb", motion=motion), 5.0, 9)(("rush", 1004))[0]
        for motion in (0, 1, 4)
    )
    assert still.shape == (9, 3, 16, 24)
    for pixels in (short, long):
        assert pixels[:, 3].any()
    assert not np.array_equal(short[:, 3], long[:, 3])


@needs_pictures
def test_an_album_is_kept_for_who_asks_for_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = InputContract(24, 16, "rgb")
    first = Photographer(contract, 5.0, 2, tmp_path)
    taken = first(("rush", 1004))
    monkeypatch.setattr("crnn_snn_ros.training.album.take_glimpses", None)
    for one, other in zip(taken, first(("rush", 1004)), strict=True):
        assert np.array_equal(one, other)
    for asked in (replace(first, glimpses=3), replace(first, contract=InputContract(24, 8, "rgb"))):
        with pytest.raises(TypeError):  # it is to be taken
            asked(("rush", 1004))
    [page] = tmp_path.iterdir()
    page.write_bytes(page.read_bytes()[:-40])
    with pytest.raises(DataError, match=page.name):
        first(("rush", 1004))


def test_a_mirrored_glimpse_has_mirrored_ranges() -> None:
    page = bars(64)
    seen = altered(page, np.random.default_rng(0), 0.0)
    flipped = ~(seen.pixels == page.pixels).flatten(1).all(1)
    assert 10 < flipped.sum() < 54
    assert torch.equal(seen.pixels[flipped], page.pixels[flipped].flip(-1))
    expected = page.nearness.view(64, 2, BEARINGS).flip(-1).flatten(1)
    assert torch.equal(seen.nearness[flipped], expected[flipped])
    assert torch.equal(seen.nearness[~flipped], page.nearness[~flipped])


def test_an_album_waits_for_what_is_due_and_passes_on_what_went_wrong() -> None:
    def pages() -> Pages:
        for number in range(2):
            yield (
                np.full((3, *SHAPE), number, np.int8),
                np.zeros((3, TARGETS), np.float32),
            )
        raise ConfigError("no picture")

    album = Album(3, 3, SHAPE, torch.device("cpu"))
    album.fill(pages())
    seen = album.draw(np.random.default_rng(0), 2, 40)
    assert set(seen.pixels[:, 0, 0, 0].tolist()) == {0, 1}
    album.close()
    with pytest.raises(ConfigError, match="no picture"):
        album.draw(np.random.default_rng(0), 3, 4)
