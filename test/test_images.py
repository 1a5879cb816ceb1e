from __future__ import annotations

import struct
import zlib
from array import array

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.io.images import ENCODINGS, MAX_SIDE, decode_compressed, decode_raw

PIXEL_BYTES = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "mono16": 2}
ORDER = {"rgb8": (0, 1, 2), "bgr8": (2, 1, 0), "rgba8": (0, 1, 2), "bgra8": (2, 1, 0)}


def scene(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """A smooth colour picture: no encoder loses much of it, and no two channels are alike."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = 255 * x / width, 255 * y / height
    blue = 127 + 120 * np.sin((x + y + seed) / 9)
    return np.stack([red, green, blue], axis=2).astype(np.uint8)


def jpeg(image: np.ndarray, *flags: int) -> bytes:
    ok, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95, *flags])
    assert ok
    return data.tobytes()


def png(image: np.ndarray) -> bytes:
    ok, data = cv2.imencode(".png", image)
    assert ok
    return data.tobytes()


def slow_pixel(encoding: str, big_endian: bool, raw: bytes) -> list[int]:
    """An independent reading of one pixel's bytes."""
    if encoding == "mono8":
        return [raw[0]] * 3
    if encoding == "mono16":
        return [struct.unpack(">H" if big_endian else "<H", raw)[0] // 256] * 3
    return [raw[i] for i in ORDER[encoding]]


@given(
    encoding=st.sampled_from(sorted(PIXEL_BYTES)),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    padding=st.integers(0, 7),
    big_endian=st.booleans(),
    data=st.data(),
)
def test_every_pixel_is_the_one_sent(encoding, height, width, padding, big_endian, data):
    size = PIXEL_BYTES[encoding]
    step = width * size + padding
    raw = data.draw(st.binary(min_size=height * step, max_size=height * step))
    expected = [
        [slow_pixel(encoding, big_endian, raw[y * step + x * size :][:size]) for x in range(width)]
        for y in range(height)
    ]
    image = decode_raw(encoding, height, width, step, big_endian, raw)
    assert image.dtype == np.uint8
    assert image.tolist() == expected


@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv"])
def test_yuv422_follows_bt601(encoding):
    rng = np.random.default_rng(1)
    y = rng.integers(40, 210, (6, 8))
    u, v = rng.integers(100, 156, (2, 6, 4))
    raw = np.zeros((6, 8, 2), np.uint8)
    luma, chroma = (1, 0) if encoding in ("yuv422", "uyvy") else (0, 1)
    raw[:, :, luma] = y
    raw[:, 0::2, chroma], raw[:, 1::2, chroma] = u, v
    full_u, full_v = np.repeat(u, 2, 1) - 128.0, np.repeat(v, 2, 1) - 128.0
    expected = np.stack(
        [
            1.164 * (y - 16) + 1.596 * full_v,
            1.164 * (y - 16) - 0.813 * full_v - 0.391 * full_u,
            1.164 * (y - 16) + 2.018 * full_u,
        ],
        axis=2,
    ).clip(0, 255)
    image = decode_raw(encoding, 6, 8, 16, False, raw.tobytes())
    assert np.abs(image - expected).max() <= 1.5


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("colour", [(250, 10, 20), (10, 240, 30), (20, 30, 230), (200, 100, 50)])
def test_bayer_pattern_keeps_the_colour(pattern, colour):
    # The pattern's letters are the pixels (0, 0), (0, 1), (1, 0), (1, 1).
    tile = np.array([colour["rgb".index(letter)] for letter in pattern], np.uint8).reshape(2, 2)
    mosaic = np.tile(tile, (5, 6))
    image = decode_raw(f"bayer_{pattern}8", 10, 12, 12, False, mosaic.tobytes())
    assert (image == np.array(colour)).all()


def test_bayer_of_a_picture_is_near_the_picture():
    picture = scene(40, 60)
    mosaic = np.empty((40, 60), np.uint8)
    for index, letter in enumerate("gbrg"):
        y, x = divmod(index, 2)
        mosaic[y::2, x::2] = picture[y::2, x::2, "rgb".index(letter)]
    image = decode_raw("bayer_gbrg8", 40, 60, 60, False, mosaic.tobytes())
    assert np.abs(image[2:-2, 2:-2].astype(int) - picture[2:-2, 2:-2]).max() <= 12


@pytest.mark.parametrize(
    "wrap",
    [bytes, bytearray, memoryview, lambda b: array("B", b), lambda b: np.frombuffer(b, np.uint8)],
)
def test_any_buffer_will_do(wrap):
    raw = bytes(range(12))
    assert decode_raw("rgb8", 2, 2, 6, False, wrap(raw)).reshape(-1).tolist() == list(raw)


def test_rgb_is_not_copied():
    raw = np.arange(60, dtype=np.uint8)
    assert np.shares_memory(decode_raw("rgb8", 3, 5, 20, False, raw), raw)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("rgb9", 2, 2, 6, False, bytes(12)), "'rgb9' is not one of rgb8"),
        (("rgb8", 2, 2, 5, False, bytes(10)), "step 5 is below the 6"),
        (("rgb8", 2, 2, 6, False, bytes(11)), "got 11 bytes, step 6 needs 12"),
        (("rgb8", 2, 2, 6, False, bytes(13)), "got 13 bytes, step 6 needs 12"),
        (("rgb8", 0, 2, 6, False, b""), "2x0 is not within"),
        (("rgb8", -1, 2, 6, False, b""), "2x-1 is not within"),
        (("mono8", 1, MAX_SIDE + 1, MAX_SIDE + 1, False, bytes(MAX_SIDE + 1)), "not within"),
        (("yuv422", 2, 3, 6, False, bytes(12)), "width must be even"),
        (("bayer_rggb8", 3, 4, 4, False, bytes(12)), "height must be even"),
        (("bayer_rggb8", 2, 4, 4, False, bytes(8)), "height must be even and at least 4"),
        (("rgb8", 2, 2, 6, False, [0] * 12), "list, not bytes"),
        (("rgb8", 2**31, 2**31, 2**33, False, b""), "not within"),
    ],
)
def test_wrong_raw_images_are_named(arguments, says):
    with pytest.raises(DataError, match=says) as caught:
        decode_raw(*arguments)
    assert "\n" not in str(caught.value)


@given(
    encoding=st.sampled_from([*ENCODINGS, "8UC3", ""]),
    height=st.integers(-1, 12),
    width=st.integers(-1, 12),
    step=st.integers(-1, 60),
    big_endian=st.booleans(),
    data=st.data(),
)
@settings(max_examples=300)
def test_random_fields_give_an_image_or_a_data_error(
    encoding, height, width, step, big_endian, data
):
    size = max(0, height * step) + data.draw(st.sampled_from([0, 0, 0, 1, -1]))
    try:
        image = decode_raw(encoding, height, width, step, big_endian, bytes(max(0, size)))
    except DataError:
        return
    assert image.shape == (height, width, 3)


def test_jpeg_and_png_are_decoded_as_rgb():
    picture = scene()
    assert (
        decode_compressed("rgb8; png compressed bgr8", png(picture[:, :, ::-1])) == picture
    ).all()
    assert np.abs(decode_compressed("jpeg", jpeg(picture)).astype(int) - picture).mean() < 3
    grey = picture[:, :, 0]
    assert (decode_compressed("mono8; png compressed ", png(grey)) == grey[:, :, None]).all()


def test_progressive_and_restart_jpeg():
    picture = scene()
    for flag in (cv2.IMWRITE_JPEG_PROGRESSIVE, cv2.IMWRITE_JPEG_RST_INTERVAL):
        image = decode_compressed("jpeg", jpeg(picture, flag, 1))
        assert np.abs(image.astype(int) - picture).mean() < 3


def test_png_of_16_bits_keeps_the_high_bytes():
    deep = np.random.default_rng(2).integers(0, 65536, (7, 9, 3), np.uint16)
    image = decode_compressed("png", png(deep))
    assert (image == (deep >> 8).astype(np.uint8)[:, :, ::-1]).all()


def exif(orientation: int, thumbnail: bytes = b"") -> bytes:
    tiff = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x112, 3, 1, orientation) + bytes(4)
    body = b"Exif\0\0" + tiff + thumbnail
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def test_orientation_is_not_applied():
    data = jpeg(scene())
    turned = data[:2] + exif(6) + data[2:]
    assert (decode_compressed("jpeg", turned) == decode_compressed("jpeg", data)).all()


def test_end_of_a_thumbnail_does_not_hide_a_cut():
    data = jpeg(scene())
    whole = data[:2] + exif(1, jpeg(scene(8, 8))) + data[2:]
    assert decode_compressed("jpeg", whole).shape == (48, 64, 3)
    with pytest.raises(DataError, match="JPEG image is cut"):
        decode_compressed("jpeg", whole[:-200])


def test_padding_after_the_picture_is_ignored():
    for data in (jpeg(scene()), png(scene())):
        assert (decode_compressed("", data + bytes(100)) == decode_compressed("", data)).all()


@pytest.mark.parametrize("encode", [jpeg, png])
def test_every_cut_is_found_and_nothing_is_printed(encode, capfd):
    data = encode(scene(16, 16))
    for length in range(len(data)):
        with pytest.raises(DataError) as caught:
            decode_compressed("", data[:length])
        assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_every_flipped_bit_of_a_png_is_found():
    data = png(scene(8, 8))
    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] ^= 1 << position % 8
        with pytest.raises(DataError):
            decode_compressed("png", broken)


def png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [header, b"IDAT" + zlib.compress(bytes(100)), b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks
    )


def test_huge_dimensions_are_refused_before_decoding():
    with pytest.raises(DataError, match="60000x50000 is not within"):
        decode_compressed("png", png_header(60000, 50000))
    data = bytearray(jpeg(scene()))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\x1f\xff\x1f\xff"
    with pytest.raises(DataError, match="bytes cannot hold 8191x8191"):
        decode_compressed("jpeg", data)
    data[frame + 5 : frame + 9] = b"\x00\x01\x20\x01"
    with pytest.raises(DataError, match="8193x1 is not within"):
        decode_compressed("jpeg", data)


def test_the_emptiest_jpeg_is_not_taken_for_a_cut_one():
    for flag in (cv2.IMWRITE_JPEG_PROGRESSIVE, cv2.IMWRITE_JPEG_OPTIMIZE):
        data = jpeg(np.full((2000, 2000, 3), 128, np.uint8), flag, 1)
        assert (decode_compressed("jpeg", data) == 128).all()


def test_jpeg_of_another_kind_is_refused():
    data = bytearray(jpeg(scene()))
    data[data.index(b"\xff\xc0") + 1] = 0xC9  # arithmetic coding
    with pytest.raises(DataError, match="no frame header"):
        decode_compressed("jpeg", data)


def test_depth_and_strangers_are_refused():
    with pytest.raises(DataError, match="depth"):
        decode_compressed("16UC1; compressedDepth png", png(scene()))
    for stranger in (b"", b"GIF89a...", b"RIFF....WEBPVP8 ", b"\xff\xd8", b"BM" + bytes(60)):
        with pytest.raises(DataError):
            decode_compressed("jpeg", stranger)


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n"]))
def test_random_bytes_raise_nothing_but_data_error(data, start):
    with pytest.raises(DataError):
        decode_compressed("jpeg", start + data)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_files_raise_nothing_but_data_error(data):
    broken = bytearray(data.draw(st.sampled_from([jpeg(scene(24, 24)), png(scene(24, 24))])))
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = decode_compressed("jpeg", broken)
    except DataError:
        return
    assert image.dtype == np.uint8
    assert image.ndim == 3
