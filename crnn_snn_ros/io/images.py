"""Message encodings -> pixels: one RGB uint8 image out of every form a camera driver publishes.

Nothing here knows ROS: the arguments are the fields of ``sensor_msgs/Image`` and of
``sensor_msgs/CompressedImage``. Everything is checked before memory is allocated or a decoder
sees the bytes, because a frame that is wrong must stop the robot, not crash the node.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Callable
from typing import NamedTuple, TypeAlias, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import DataError

MAX_SIDE = 8192  # pixels; no camera of a robot is larger, and 8192 x 8192 x 3 is 200 MB

Image = NDArray[np.uint8]
BytesLike: TypeAlias = "bytes | bytearray | memoryview | array[int] | Image"


class _Encoding(NamedTuple):
    pixel_bytes: int
    to_rgb: Callable[[Image], Image]  # (H, W, pixel_bytes) -> (H, W, 3)
    even: bool = False  # needs pairs of pixels


def _by_opencv(code: int) -> Callable[[Image], Image]:
    return lambda pixels: np.asarray(cv2.cvtColor(pixels, code), np.uint8)


def _bayer(code: int) -> _Encoding:
    convert = _by_opencv(code)
    return _Encoding(1, lambda pixels: convert(pixels[:, :, 0]), even=True)


# ROS names a Bayer pattern by its first two pixels in the first two rows, OpenCV by the pixels
# (1, 1) and (1, 2): rggb8 is OpenCV's BayerBG. OpenCV's YUV "UYVY" is the ROS yuv422 (and uyvy).
_ENCODINGS: dict[str, _Encoding] = {
    "rgb8": _Encoding(3, lambda pixels: pixels),
    "bgr8": _Encoding(3, _by_opencv(cv2.COLOR_BGR2RGB)),
    "rgba8": _Encoding(4, _by_opencv(cv2.COLOR_RGBA2RGB)),
    "bgra8": _Encoding(4, _by_opencv(cv2.COLOR_BGRA2RGB)),
    "mono8": _Encoding(1, _by_opencv(cv2.COLOR_GRAY2RGB)),
    "mono16": _Encoding(2, _by_opencv(cv2.COLOR_GRAY2RGB)),
    "yuv422": _Encoding(2, _by_opencv(cv2.COLOR_YUV2RGB_UYVY), even=True),
    "uyvy": _Encoding(2, _by_opencv(cv2.COLOR_YUV2RGB_UYVY), even=True),
    "yuv422_yuy2": _Encoding(2, _by_opencv(cv2.COLOR_YUV2RGB_YUY2), even=True),
    "yuyv": _Encoding(2, _by_opencv(cv2.COLOR_YUV2RGB_YUY2), even=True),
    "bayer_rggb8": _bayer(cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": _bayer(cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": _bayer(cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": _bayer(cv2.COLOR_BayerGB2RGB),
}
ENCODINGS = tuple(_ENCODINGS)


def decode_raw(
    encoding: str, height: int, width: int, step: int, big_endian: bool, data: BytesLike
) -> Image:
    """Turn the fields of a ``sensor_msgs/Image`` into RGB.

    Args:
        encoding: one of ``ENCODINGS``. ``mono16`` keeps its high byte (value >> 8).
        height: rows, 1..``MAX_SIDE``.
        width: pixels in a row, 1..``MAX_SIDE``; even for YUV 4:2:2, even and >= 4 for Bayer.
        step: bytes from one row to the next, at least those of the pixels.
        big_endian: byte order of ``mono16``; says nothing about the other encodings.
        data: exactly ``height * step`` bytes.

    Returns:
        uint8 (height, width, 3). For ``rgb8`` it is a view of ``data``, else a new array.

    Raises:
        DataError: on anything else.

    Example:
        >>> decode_raw("bgr8", 1, 1, 3, False, bytes([1, 2, 3])).tolist()
        [[[3, 2, 1]]]
    """
    known = _ENCODINGS.get(encoding)
    if known is None:
        raise DataError(f"image encoding {encoding!r} is not one of {', '.join(ENCODINGS)}")
    what = f"{encoding} image {width}x{height}"
    _check_size(what, height, width)
    smallest = 4 if encoding.startswith("bayer_") else 2
    if known.even and (width % 2 or width < smallest or height < smallest // 2):
        raise DataError(f"{what}: its width must be even and at least {smallest}")
    if encoding.startswith("bayer_") and (height % 2 or height < smallest):
        raise DataError(f"{what}: its height must be even and at least {smallest}")
    if step < width * known.pixel_bytes:
        raise DataError(f"{what}: step {step} is below the {width * known.pixel_bytes} of a row")
    buffer = _bytes(what, data)
    if len(buffer) != height * step:
        raise DataError(f"{what}: got {len(buffer)} bytes, step {step} needs {height * step}")
    pixels: Image = np.ndarray(
        (height, width, known.pixel_bytes), np.uint8, buffer, strides=(step, known.pixel_bytes, 1)
    )
    if encoding == "mono16":  # value >> 8 is the high byte, wherever the byte order puts it
        pixels = np.ascontiguousarray(pixels[:, :, 0 if big_endian else 1])
    return known.to_rgb(pixels)


def decode_compressed(fmt: str, data: BytesLike) -> Image:
    """Decode the JPEG or PNG of a ``sensor_msgs/CompressedImage``.

    The bytes say which of the two it is; ``fmt`` has too many spellings among drivers to be
    trusted, and only a depth image is recognised by it. A recorded orientation (EXIF) is not
    applied, since the raw topic of the same camera does not apply it. 16-bit PNG keeps the high
    bytes, transparency is dropped.

    A PNG is verified whole (every chunk has a checksum). A JPEG has none: one that lost its end
    is refused, as is one too short for its size; damage in the middle of its data cannot be told
    from a picture (libjpeg then prints a line of its own to stderr).

    Args:
        fmt: the message's ``format``.
        data: the file's bytes; what follows the end of the picture is ignored.

    Returns:
        uint8 (height, width, 3), RGB.

    Raises:
        DataError: not such a file, truncated, damaged, or a side over ``MAX_SIDE``.
    """
    if "compressedDepth" in fmt:
        raise DataError(f"compressed image format {fmt!r} is depth, expected a colour image")
    buffer = _bytes("compressed image", data)
    head = bytes(buffer[:8])
    if head[:2] == b"\xff\xd8":
        what, (height, width) = "JPEG image", _check_jpeg(bytes(buffer))
    elif head == b"\x89PNG\r\n\x1a\n":
        what, (height, width) = "PNG image", _check_png(buffer)
    else:
        raise DataError(
            f"compressed image (format {fmt!r}, {len(buffer)} bytes) is neither JPEG nor PNG: "
            f"it begins with {head.hex() or 'nothing'}"
        )
    _check_size(what, height, width)
    try:
        bgr = cv2.imdecode(
            np.frombuffer(buffer, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        )
    except cv2.error as error:
        raise DataError(f"{what} {width}x{height} cannot be decoded: {error.err}") from None
    if bgr is None or bgr.shape != (height, width, 3):
        raise DataError(f"{what} {width}x{height} of {len(buffer)} bytes is damaged")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr), np.uint8)


def _check_size(what: str, height: int, width: int) -> None:
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise DataError(f"{what}: {width}x{height} is not within 1x1..{MAX_SIDE}x{MAX_SIDE}")


def _bytes(what: str, data: BytesLike) -> memoryview:
    try:
        return memoryview(cast(bytes, data)).cast("B")
    except TypeError as error:
        raise DataError(f"{what}: its data is {type(data).__name__}, not bytes ({error})") from None


def _check_jpeg(data: bytes) -> tuple[int, int]:
    """Walk the segments of a JPEG up to its scan; return (height, width) of its frame header."""
    size: tuple[int, int] | None = None
    at = 2
    while True:
        while data[at : at + 2] == b"\xff\xff":  # fill bytes
            at += 1
        marker, length = data[at + 1 : at + 2], int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at : at + 1] != b"\xff" or length < 2 or at + 2 + length > len(data):
            raise DataError(f"JPEG image is cut or damaged at byte {at} of {len(data)}")
        if marker in _JPEG_FRAME_HEADERS and length >= 8:
            size = (
                int.from_bytes(data[at + 5 : at + 7], "big"),
                int.from_bytes(data[at + 7 : at + 9], "big"),
            )
        at += 2 + length
        if marker == b"\xda":  # start of scan
            break
    if size is None:
        raise DataError("JPEG image has no frame header (baseline, progressive) before its data")
    # 0xff is followed by 0x00 or a restart marker within a scan, so this is the true end, not
    # that of a thumbnail (those lie in the segments above). Decoders fill what is cut with grey.
    if data.find(b"\xff\xd9", at) < 0:
        raise DataError(f"JPEG image is cut: its {len(data)} bytes hold no end marker")
    if size[0] * size[1] > 64 * 8 * len(data):  # a block of 8x8 pixels takes one bit at the least
        raise DataError(f"JPEG image is cut: {len(data)} bytes cannot hold {size[1]}x{size[0]}")
    return size


_JPEG_FRAME_HEADERS = (b"\xc0", b"\xc1", b"\xc2")  # Huffman: baseline, extended, progressive


def _check_png(data: memoryview) -> tuple[int, int]:
    """Verify every chunk of a PNG against its checksum; return (height, width)."""
    size: tuple[int, int] | None = None
    at = 8
    while True:
        length = int.from_bytes(data[at : at + 4], "big")
        kind, end = bytes(data[at + 4 : at + 8]), at + 8 + length
        if end + 4 > len(data):
            raise DataError(f"PNG image is cut at byte {at} of {len(data)}")
        if zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise DataError(f"PNG image is damaged at byte {at} of {len(data)} (wrong checksum)")
        if (kind == b"IHDR") != (at == 8):
            raise DataError("PNG image does not begin with its one header")
        if size is None:
            size = (
                int.from_bytes(data[at + 12 : at + 16], "big"),
                int.from_bytes(data[at + 8 : at + 12], "big"),
            )
        if kind == b"IEND":
            return size
        at = end + 4
