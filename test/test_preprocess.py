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
from crnn_snn_ros.core.types import Moved
from crnn_snn_ros.io.preprocess import InputContract, preprocess, rolled, see, see_all
from crnn_snn_ros.io.steady import AHEAD_M


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
        ({"fov_deg": 5.0}, "fov_deg 5.0 is not within 10..170"),
        ({"fov_deg": float("nan")}, "fov_deg nan"),
        ({"fov_deg": True}, "fov_deg True"),
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


def test_the_view_is_told_beside_that_for_which_a_network_is_made():
    image = np.zeros((8, 12, 3), np.uint8)
    for fov_deg in (90.0, 115.0):
        contract = InputContract(6, 4, "rgb", mount=True, fov_deg=fov_deg)
        tangent = math.tan(math.radians(0.5 * fov_deg))
        for wider, says in ((1.0, 0), (2**0.25, -64), (2**-0.25, 64), (3.0, -127)):
            pixels, _ = see(
                image, contract, (), mount(horizontal_fov_rad=2.0 * math.atan(wider * tangent))
            )
            assert (pixels[-1] == says).all()


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
    *_, seen = see_all(images, steady, mounted, map(Moved, (0.0, *turns)))
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
    for floor in (False, True):
        steady = InputContract(96, 8, "rgb", motion=1, mount=True, steady=True, floor=floor)
        for turned in (1.7, -3.0):
            moves = (Moved(), Moved(turned))
            *_, seen = see_all([panorama(0.0), panorama(1.0)], steady, mount(), moves)
            assert not seen[3].any()


@pytest.mark.parametrize("floor", [False, True])
def test_a_steady_channel_of_motion_must_be_told_how_the_robot_moves(floor):
    for fields in ({"motion": 2}, {"mount": True}, {"motion": 2, "mount": True, "steady": 1}):
        with pytest.raises(ConfigError, match="steady"):
            InputContract(6, 4, "rgb", **{"steady": True, **fields})
    steady = InputContract(6, 4, "rgb", motion=2, mount=True, steady=True, floor=floor)
    image = np.zeros((4, 6, 3), np.uint8)
    with pytest.raises(DataError, match="how the robot moves"):
        see(image, steady, (), mount())
    for wrong in (math.nan, math.inf):
        for number in range(3):
            way = list(Moved())
            way[number] = wrong
            with pytest.raises(DataError, match="is no way"):
                see(image, steady, (), mount(), Moved(*way))


def test_what_is_left_out_of_the_floor_is_true_or_false_and_needs_steady():
    for fields in ({"floor": 1}, {"steady": False}):
        whole = {"motion": 2, "mount": True, "steady": True, "floor": True}
        with pytest.raises(ConfigError, match="floor"):
            InputContract(6, 4, "rgb", **whole | fields)


WHEELS = InputContract(7, 4, "rgb", motion=2, mount=True, steady=True, wheels=True)


def test_each_half_tells_how_far_a_wheel_on_its_side_has_gone():
    assert WHEELS.channels == 8
    image = np.zeros((4, 7, 3), np.uint8)
    pixels, _ = see(image, WHEELS, (), mount(), Moved(turned_rad=0.04, ahead_m=0.05))
    assert pixels[7].tolist() == [[30, 30, 30, 0, 70, 70, 70]] * 4
    pixels, _ = see(image, WHEELS, (), mount(), Moved(turned_rad=-9.0, ahead_m=0.05))
    assert pixels[7, 0].tolist() == [127] * 3 + [0] + [-127] * 3, "cut, to what has a mirror image"


@given(turned=st.floats(-0.3, 0.3), ahead=st.floats(-0.3, 0.3))
def test_the_mirror_image_tells_of_the_mirrored_way(turned, ahead):
    told, mirrored = (rolled(Moved(sign * turned, ahead), WHEELS) for sign in (1.0, -1.0))
    assert np.array_equal(told[..., ::-1], mirrored)


def test_wheels_are_true_or_false_need_steady_and_must_be_told():
    for fields in ({"wheels": 1}, {"steady": False}):
        with pytest.raises(ConfigError, match="wheels"):
            dataclasses.replace(WHEELS, **fields)
    with pytest.raises(DataError, match="how the robot moves"):
        see(np.zeros((4, 7, 3), np.uint8), WHEELS, (), mount())


@st.composite
def ways(draw):
    """Frame by frame, as a base goes."""
    turns = draw(st.lists(st.floats(-0.06, 0.06), min_size=1, max_size=8))
    speed = draw(st.floats(0.0, 0.05))
    return [Moved(turn, speed * math.cos(turn / 2), speed * math.sin(turn / 2)) for turn in turns]


@given(ways(), st.floats(0.15, 0.4), st.floats(-0.05, 0.3))
def test_what_driving_does_to_the_floor_is_left_out(way, height_m, pitch_rad):
    floor = InputContract(96, 64, "rgb", motion=8, mount=True, steady=True, floor=True)
    mounted = mount(height_m=height_m, pitch_rad=pitch_rad, horizontal_fov_rad=1.5)
    poses = [Moved()]
    for one in way:
        poses.append(poses[-1].then(one))
    images = [hall(pose, mounted) for pose in poses]
    *_, seen = see_all(images, floor, mounted, [Moved(), *way])
    *_, moved = see_all(images, dataclasses.replace(floor, floor=False), mounted, [Moved(), *way])
    assert np.array_equal(np.delete(seen, 3, 0), np.delete(moved, 3, 0))
    changed, before = (np.abs(pixels[3].astype(int)) for pixels in (seen, moved))
    assert changed.max() <= 8, "between pixels it is the mean of four, of a pattern that bends"
    if poses[-1].ahead_m > 0.1:
        assert before.mean() > 2.0 * changed.mean()


def test_what_moves_on_the_floor_is_seen_to_move():
    floor = InputContract(96, 64, "rgb", motion=1, mount=True, steady=True, floor=True)
    mounted = mount(height_m=0.2, pitch_rad=0.1, horizontal_fov_rad=1.5)
    way = Moved(0.1, 0.2, 0.02)
    before, now = hall(Moved(), mounted), hall(way, mounted, spot=(1.2, 0.1))
    *_, seen = see_all([before, now], floor, mounted, (Moved(), way))
    changed = np.argwhere(np.abs(seen[3].astype(int)) > 40)
    column = 47.5 - 96 / 2 / math.tan(0.75) * on_floor((1.2, 0.1), way, mounted)
    assert len(changed) > 5
    assert changed[:, 1].mean() == pytest.approx(column, abs=2.0)


@pytest.mark.parametrize("crop", [0.0, 0.25])
@pytest.mark.parametrize("scale", [1, 3])
def test_the_floor_is_where_it_is_in_a_picture_that_is_cut_and_scaled(crop, scale):
    contract = InputContract(96, 64, "rgb", crop, motion=1, mount=True, steady=True, floor=True)
    mounted = mount(height_m=0.25, pitch_rad=0.2, horizontal_fov_rad=1.5)
    way = Moved(0.05, 0.15, 0.0)
    images = [hall(pose, mounted, size=(64 * scale, 96 * scale)) for pose in (Moved(), way)]
    *_, seen = see_all(images, contract, mounted, (Moved(), way))
    assert np.abs(seen[3].astype(int)).max() <= 8


def on_floor(spot, pose, mounted):
    """Column of a place, in focal lengths to the left of the middle, from a pose."""
    dx, dy = spot[0] - pose.ahead_m, spot[1] - pose.left_m
    cos, sin = math.cos(pose.turned_rad), math.sin(pose.turned_rad)
    ahead, left = cos * dx + sin * dy - AHEAD_M, cos * dy - sin * dx
    depth = ahead * math.cos(mounted.pitch_rad) + mounted.height_m * math.sin(mounted.pitch_rad)
    return left / depth


def hall(pose, mounted, size=(64, 96), spot=None):
    """What a camera sees of a patterned floor, and above the horizon of a far, striped wall."""
    height, width = size
    focal = 0.5 * width / math.tan(0.5 * mounted.horizontal_fov_rad)
    row, column = np.mgrid[:height, :width].astype(float)
    down_px, left_px = row - 0.5 * (height - 1), 0.5 * (width - 1) - column
    sin, cos = math.sin(mounted.pitch_rad), math.cos(mounted.pitch_rad)
    ahead, left, down = focal * cos - down_px * sin, left_px, focal * sin + down_px * cos
    turn = math.cos(pose.turned_rad), math.sin(pose.turned_rad)
    far = mounted.height_m / np.where(down > 0.0, down, np.inf)  # a ray's lengths to the floor
    x = pose.ahead_m + turn[0] * (AHEAD_M + far * ahead) - turn[1] * far * left
    y = pose.left_m + turn[1] * (AHEAD_M + far * ahead) + turn[0] * far * left
    faint = np.exp(-np.hypot(x, y))  # far away, where a pixel spans more than the pattern
    floor = 128 + faint * (40 * np.sin(4.0 * x + 1.0) + 40 * np.sin(4.0 * y))
    bearing = pose.turned_rad + np.arctan2(left, ahead)
    wall = 128 + 30 * np.sin(4.0 * bearing) * np.clip(-down / focal / 0.3, 0.0, 1.0)
    grey = np.where(down > 0.0, floor, wall)
    if spot is not None:
        grey = np.where(np.hypot(x - spot[0], y - spot[1]) < 0.1, 0.0, grey)
    return np.repeat(np.floor(grey + 0.5).astype(np.uint8)[..., None], 3, axis=2)


def test_without_motion_nothing_is_remembered():
    contract = InputContract(6, 4, "rgb")
    image = np.random.default_rng(1).integers(0, 256, (8, 12, 3), np.uint8)
    pixels, past = see(image, contract)
    assert past == ()
    assert (pixels == preprocess(image, contract)).all()
