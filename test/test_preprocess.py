from __future__ import annotations

import dataclasses
import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.core.mount import CameraMount
from crnn_snn_ros.io.preprocess import InputContract, preprocess, see, see_all


def pattern(height: int, width: int) -> np.ndarray:
    """The same bytes on every machine and every numpy: a linear congruential sequence."""
    state, values = 12345, []
    for _ in range(height * width * 3):
        state = (1103515245 * state + 12345) % 2**31
        values.append(state >> 16 & 255)
    return np.array(values, np.uint8).reshape(height, width, 3)


@pytest.mark.parametrize(
    ("contract", "sha256"),
    [
        (
            InputContract(32, 24, "rgb", 0.3, 0.1),
            "23201843e64ac72d39edf5ef509da9d1c4ea2f96a8d2550b23aa4d9bbf04fd8e",
        ),
        (
            InputContract(32, 24, "grey"),
            "cb0f79692ddf118988458a3ea770d98b0474da17bc2515c1def4e88d840eda3e",
        ),
        (
            InputContract(150, 110, "rgb"),
            "3ffd2b54c345ab9fbf462889c8cb34c60ac5413e93375a5d1e91d4a5e974d726",
        ),
    ],
)
def test_same_input_on_every_machine(contract, sha256):
    output = preprocess(pattern(77, 101), contract)
    assert hashlib.sha256(output.tobytes()).hexdigest() == sha256


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_without_resizing_each_pixel_is_centred(height, width, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    output = preprocess(image, InputContract(width, height, "rgb"))
    assert output.dtype == np.int8
    assert output.flags.c_contiguous
    assert (output == image.transpose(2, 0, 1).astype(int) - 128).all()
    grey = preprocess(image, InputContract(width, height, "grey"))
    red, green, blue = image.astype(int).transpose(2, 0, 1)
    assert (grey == [(77 * red + 150 * green + 29 * blue + 128) // 256 - 128]).all()


def bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear resize in float64 with pixel centres at half-integers, clamped at the edges."""
    for axis, size in ((0, height), (1, width)):
        old = image.shape[axis]
        at = ((np.arange(size) + 0.5) * old / size - 0.5).clip(0, old - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, old - 1)
        share = (at - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        image = image.take(low, axis) * (1 - share) + image.take(high, axis) * share
    return image


@given(
    *[st.integers(1, 40)] * 4,
    st.sampled_from(["rgb", "grey"]),
    st.integers(0, 2**32 - 1),
)
def test_resize_is_bilinear(old_height, old_width, height, width, colour, seed):
    image = np.random.default_rng(seed).integers(0, 256, (old_height, old_width, 3), np.uint8)
    output = preprocess(image, InputContract(width, height, colour))
    assert output.shape == (3 if colour == "rgb" else 1, height, width)
    expected = bilinear(image.astype(float), height, width)
    if colour == "grey":
        expected = expected @ np.array([[77], [150], [29]]) / 256
    assert np.abs(output.astype(float) + 128 - expected.transpose(2, 0, 1)).max() <= 1.51


def test_crop_cuts_rows_rounded_half_up():
    image = np.zeros((10, 4, 3), np.uint8)
    image[:] = np.arange(10, dtype=np.uint8)[:, None, None]
    output = preprocess(image, InputContract(4, 5, "rgb", crop_top=0.25, crop_bottom=0.15))
    assert (output[0, :, 0].astype(int) + 128).tolist() == [3, 4, 5, 6, 7]


def test_strides_do_not_matter():
    wide = pattern(20, 40)
    view = wide[::2, ::-1]
    contract = InputContract(16, 8, "rgb", crop_top=0.1)
    assert (preprocess(view, contract) == preprocess(view.copy(), contract)).all()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"width": 0}, "width 0"),
        ({"width": 96.0}, "width 96.0"),
        ({"height": True}, "height True"),
        ({"height": 5000}, "height 5000"),
        ({"colour": "bgr"}, "'bgr' is not one of rgb, grey"),
        ({"crop_top": -0.1}, "crop_top"),
        ({"crop_bottom": 1.0}, "crop_bottom"),
        ({"crop_top": float("nan")}, "crop_top"),
        ({"crop_top": "0.1"}, "crop_top"),
        ({"crop_top": 0.5, "crop_bottom": 0.5}, "leave no image"),
    ],
)
def test_wrong_contracts_are_refused(fields, says):
    with pytest.raises(ConfigError, match=says):
        InputContract(**{"width": 96, "height": 64, "colour": "rgb", **fields})


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(image):
    with pytest.raises(DataError, match="expected uint8"):
        preprocess(image, InputContract(4, 4, "rgb"))


def test_crop_of_everything_is_refused():
    with pytest.raises(DataError, match="image of 1 rows is too low"):
        preprocess(np.zeros((1, 4, 3), np.uint8), InputContract(4, 4, "rgb", crop_top=0.6))


@pytest.mark.parametrize("colour", ["rgb", "grey"])
def test_the_channel_of_motion_is_the_change_of_grey(colour):
    contract = InputContract(6, 4, colour, motion=2)
    plain = InputContract(6, 4, "grey")
    rng = np.random.default_rng(3)
    images = [rng.integers(0, 256, (8, 12, 3), np.uint8) for _ in range(6)]
    images[1][:], images[3][:] = 0, 255
    greys = [preprocess(image, plain)[0].astype(int) for image in images]
    past, seen = (), []
    for image in images:
        pixels, past = see(image, contract, past)
        seen.append(pixels)
        assert pixels.shape == (contract.channels, 4, 6)
        assert pixels.dtype == np.int8
        assert pixels.flags.c_contiguous
        assert (pixels[:-1] == preprocess(image, contract)).all()
        assert len(past) <= 3
    for number, pixels in enumerate(seen):
        change = greys[number] - greys[max(number - 2, 0)]
        assert (pixels[-1] == change.clip(-128, 127)).all()
    assert (seen[3][-1] == 127).all(), "all that int8 holds"
    assert (np.stack(list(see_all(images, contract))) == np.stack(seen)).all()


def mount(height_m=0.25, pitch_rad=0.0, horizontal_fov_rad=math.pi / 2):
    return CameraMount(height_m, pitch_rad, horizontal_fov_rad)


@pytest.mark.parametrize("motion", [0, 2])
def test_the_last_channels_tell_how_the_camera_is_mounted(motion):
    contract = InputContract(6, 4, "rgb", motion=motion, mount=True)
    plain = InputContract(6, 4, "rgb", motion=motion)
    image = np.random.default_rng(3).integers(0, 256, (8, 12, 3), np.uint8)
    for mounted, said in (
        (mount(), [0, 0, 0]),
        (mount(height_m=0.5), [64, 0, 0]),
        (mount(height_m=0.2), [-21, 0, 0]),
        (mount(height_m=0.01), [-127, 0, 0]),
        (mount(height_m=30.0), [127, 0, 0]),
        (mount(pitch_rad=0.125), [0, 64, 0]),
        (mount(pitch_rad=-1.0), [0, -127, 0]),
        (mount(horizontal_fov_rad=2 * math.atan(0.5)), [0, 0, 127]),
        (mount(horizontal_fov_rad=2 * math.atan(2**0.25)), [0, 0, -64]),
    ):
        pixels, past = see(image, contract, (), mounted)
        assert pixels.shape == (contract.channels, 4, 6) == (plain.channels + 3, 4, 6)
        assert pixels.dtype == np.int8
        assert pixels.flags.c_contiguous
        assert (pixels[-3:] == np.array(said)[:, None, None]).all()
        without, same_past = see(image, plain, (), mounted)
        assert (pixels[:-3] == without).all()
        assert all((a.grey == b.grey).all() for a, b in zip(past, same_past, strict=True))


def test_a_mount_that_is_none_is_refused():
    contract = InputContract(6, 4, "rgb", mount=True)
    image = np.zeros((8, 12, 3), np.uint8)
    with pytest.raises(DataError, match="how the camera is mounted"):
        see(image, contract)
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(DataError, match="height"):
            see(image, contract, (), mount(height_m=wrong))
    for wrong in (2.0, math.nan, -math.inf):
        with pytest.raises(DataError, match="pitch"):
            see(image, contract, (), mount(pitch_rad=wrong))
    for wrong in (0.0, math.pi, 4.0, math.nan):
        with pytest.raises(DataError, match="field of view"):
            see(image, contract, (), mount(horizontal_fov_rad=wrong))
    for changes in ({"colour": "grey"}, {"mount": 1}):
        fields = {"colour": "rgb", "mount": True} | changes
        with pytest.raises(ConfigError, match="mount"):
            InputContract(6, 4, **fields)


def panorama(heading_rad, fov_rad=1.5, width=96, height=8):
    """What a camera that is turned so sees of a world without depth."""
    across = (np.arange(width) - 0.5 * (width - 1)) * 2 / width * math.tan(0.5 * fov_rad)
    bearing = heading_rad - np.arctan(across)
    grey = 120 + 60 * np.sin(5 * bearing) + 40 * np.sin(11 * bearing + 1)
    return np.tile(grey.astype(np.uint8)[None, :, None], (height, 1, 3))


@given(st.lists(st.floats(-0.3, 0.3), min_size=2, max_size=6))
def test_a_steady_channel_of_motion_leaves_out_what_turning_moves(turns):
    steady = InputContract(96, 8, "rgb", motion=4, mount=True, steady=True)
    headings = np.cumsum([0.0, *turns])
    mounted = mount(horizontal_fov_rad=1.5)
    images = [panorama(heading) for heading in headings]
    *_, seen = see_all(images, steady, mounted, (0.0, *turns))
    plain = dataclasses.replace(steady, steady=False)
    *_, moved = see_all(images, plain, mounted)
    assert np.array_equal(np.delete(seen, 3, 0), np.delete(moved, 3, 0))
    # A column is a pixel wide at most, and what a pixel differs from the next is little.
    assert np.abs(seen[3].astype(int)).max() <= 16
    turned = headings[-1] - headings[max(len(headings) - 5, 0)]
    left = np.arange(96) < 48
    unseen = seen[3][0][left if turned > 0 else ~left]
    if abs(turned) > 0.4:
        assert (unseen[:8] if turned > 0 else unseen[-8:]).tolist() == [0] * 8
    if 0.1 < abs(turned) < 1.0:
        assert np.abs(moved[3].astype(int)).mean() > np.abs(seen[3].astype(int)).mean()


def test_what_was_seen_behind_is_not_compared_with():
    steady = InputContract(96, 8, "rgb", motion=1, mount=True, steady=True)
    for turned in (1.7, -3.0, math.nan):
        *_, seen = see_all([panorama(0.0), panorama(1.0)], steady, mount(), (0.0, turned))
        assert not seen[3].any()


def test_a_steady_channel_of_motion_must_be_told_the_turns():
    for fields in ({"motion": 2}, {"mount": True}, {"motion": 2, "mount": True, "steady": 1}):
        with pytest.raises(ConfigError, match="steady"):
            InputContract(6, 4, "rgb", **{"steady": True, **fields})
    steady = InputContract(6, 4, "rgb", motion=2, mount=True, steady=True)
    with pytest.raises(DataError, match="how the robot turns"):
        see(np.zeros((4, 6, 3), np.uint8), steady, (), mount())


def test_without_motion_nothing_is_remembered():
    contract = InputContract(6, 4, "rgb")
    image = np.random.default_rng(1).integers(0, 256, (8, 12, 3), np.uint8)
    pixels, past = see(image, contract)
    assert past == ()
    assert (pixels == preprocess(image, contract)).all()
