"""Image messages with something wrong in each, by the thousand, from a seed."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator

import numpy as np
from ros_peer import HEIGHT, SECOND, WIDTH
from sensor_msgs.msg import CompressedImage, Image

from crnn_snn_ros.core.types import Frame
from crnn_snn_ros.io.images import ENCODINGS
from crnn_snn_ros.ros import messages

ODD = (0, 1, 2, 3, 7, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1)


def good(rng: random.Random, now_ns: int) -> Image:
    """A frame that the network of ``small_model`` can be shown."""
    pixels = np.frombuffer(rng.randbytes(HEIGHT * WIDTH * 3), np.uint8)
    return messages.image(Frame(now_ns, pixels.reshape(HEIGHT, WIDTH, 3)))


def _length(rng: random.Random, message: Image) -> None:
    change = rng.choice((-1, 1)) * rng.randint(1, len(message.data))
    message.data = array("B", rng.randbytes(max(0, len(message.data) + change)))


def _encoding(rng: random.Random, message: Image) -> None:
    text = "".join(chr(rng.choice((9, 32, 56, 98, 103, 114, 0x3B1, 0x1F600))) for _ in range(5))
    message.encoding = rng.choice(("", "RGB8", "rgb8 ", "rgb16", "32FC1", "bgr8\n", text))


def _size(rng: random.Random, message: Image) -> None:
    setattr(message, rng.choice(("height", "width")), rng.choice((0, *ODD[3:])))


def _step(rng: random.Random, message: Image) -> None:
    message.step = rng.choice((0, 1, 3 * WIDTH - 1, 3 * WIDTH + 1, *ODD[5:]))


def _other_size(rng: random.Random, message: Image) -> None:
    height, width = rng.randint(1, 40), rng.randint(33, 80)
    message.height, message.width, message.step = height, width, 3 * width
    message.data = array("B", rng.randbytes(3 * height * width))


def _stamp(rng: random.Random, message: Image) -> None:
    message.header.stamp.sec = rng.choice((-(2**31), -1, 1, 2**31 - 1))
    message.header.stamp.nanosec = rng.choice((1, SECOND, 2**32 - 1))


def _blind(rng: random.Random, message: Image) -> None:
    message.data = array("B", bytes([rng.choice((0, 3, 250, 255))]) * len(message.data))


def _all_sorts(rng: random.Random, message: Image) -> None:
    """Every field at random; sure to be wrong because of its data alone."""
    message.height, message.width, message.step = (rng.choice(ODD) for _ in range(3))
    message.encoding = rng.choice((*ENCODINGS, "jpeg"))
    message.is_bigendian = rng.choice((0, 1, 255))
    # Mostly that of the good ones: of another camera nothing more is looked at.
    message.header.frame_id = rng.choice((*3 * ("camera",), "", "\u00e9" * 300))
    message.data = array("B", rng.randbytes(rng.choice((5, 11, 1009))))


SPOILERS = (_length, _encoding, _size, _step, _other_size, _stamp, _blind, _all_sorts)


def malformed(rng: random.Random, now_ns: int) -> Image:
    """A message that must not move anything."""
    message = good(rng, now_ns)
    rng.choice(SPOILERS)(rng, message)
    return message


def malformed_compressed(rng: random.Random, now_ns: int, whole: list[bytes]) -> CompressedImage:
    """The same for ``image/compressed``: part of a file, or no file at all."""
    message = CompressedImage(format=rng.choice(("jpeg", "png", "", "rgb8; jpeg compressed bgr8")))
    message.header.stamp = messages.stamp(now_ns)
    message.header.frame_id = "camera"  # of another one nothing more would be looked at
    file = rng.choice(whole)
    data = rng.choice((file[: rng.randrange(len(file) // 2)], rng.randbytes(rng.randrange(300))))
    message.data = array("B", data)
    return message


def stream(seed: int, count: int) -> Iterator[random.Random]:
    """One generator for each message, so that any one of them can be made again."""
    for number in range(count):
        yield random.Random(f"{seed} {number}")
