"""Pixels -> network input. The same functions for training, replay and node.

A network may be given a channel of motion besides the colours: what has changed since some frames
ago; steadied, what has changed but for the robot's own turning, or for all that its moving does to
the floor (``steady``). And three more that say how the
camera is mounted: a picture alone does not tell how near something is, as the world twice as large
seen from twice as high looks the same. And one that says how the robot moves, without which nobody
can remember where that is which is out of view.

Integer arithmetic throughout (``INTER_LINEAR_EXACT`` is OpenCV's fixed-point resize), so the same
image gives the same input on every machine: what was trained on is what the robot computes with.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import repeat
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.core.mount import STANDARD_FOV_DEG, CameraMount
from crnn_snn_ros.core.types import Moved
from crnn_snn_ros.io.steady import Pinhole, change_by_turn, change_on_floor

COLOURS = ("rgb", "grey")
MAX_INPUT_SIDE = 4096
MAX_MOTION = 32  # frames
MOUNTED = 3  # channels that tell of the mount
TRACK_M = 1.0  # between the wheels of the channel that tells of them, whatever the robot's own
WAY = 1000  # counts of it to a metre


class Before(NamedTuple):
    """What is remembered of a frame."""

    grey: NDArray[np.int16]  # (height, width)
    moved: Moved  # the robot, since the frame before it


Past = tuple[Before, ...]  # the last frames, the oldest first


@dataclass(frozen=True)
class InputContract:
    """What a network takes as its input; stored in the model file.

    Raises:
        ConfigError: naming the field, what it is and what it may be.

    Example:
        >>> InputContract(width=96, height=64, colour="grey").channels
        1
    """

    width: int  # pixels
    height: int  # pixels
    colour: str  # "rgb" or "grey"
    crop_top: float = 0.0  # fraction of the image's height cut away above
    crop_bottom: float = 0.0  # and below
    motion: int = 0  # frames, over which a channel tells the change; 0: there is none
    mount: bool = False  # whether three channels tell how the camera is mounted
    steady: bool = False  # whether what the robot's turning moves is left out of the motion
    floor: bool = False  # and what its driving does to the floor
    wheels: bool = False  # whether the last channel tells how far each side of the robot went
    fov_deg: float = STANDARD_FOV_DEG  # horizontal field of view of the cameras it is made for

    def __post_init__(self) -> None:
        """Validate."""
        for name in ("width", "height"):
            side = getattr(self, name)
            if type(side) is not int or not 1 <= side <= MAX_INPUT_SIDE:
                raise ConfigError(f"input {name} {side!r:.60} is not a whole 1..{MAX_INPUT_SIDE}")
        if self.colour not in COLOURS:
            raise ConfigError(
                f"input colour {self.colour!r:.60} is not one of {', '.join(COLOURS)}"
            )
        for name in ("crop_top", "crop_bottom"):
            crop = getattr(self, name)
            if type(crop) not in (int, float) or not 0.0 <= crop < 1.0:
                raise ConfigError(
                    f"input {name} {crop!r:.60} is not a fraction of the height, 0..<1"
                )
        if type(self.motion) is not int or not 0 <= self.motion <= MAX_MOTION:
            raise ConfigError(f"input motion {self.motion!r:.60} is not a whole 0..{MAX_MOTION}")
        if type(self.mount) is not bool:
            raise ConfigError(f"input mount {self.mount!r:.60} is not true or false")
        if type(self.steady) is not bool:
            raise ConfigError(f"input steady {self.steady!r:.60} is not true or false")
        if self.steady and not (self.motion and self.mount):
            raise ConfigError("input steady needs motion of at least 1, and mount")
        if type(self.floor) is not bool:
            raise ConfigError(f"input floor {self.floor!r:.60} is not true or false")
        if self.floor and not self.steady:
            raise ConfigError("input floor needs steady")
        if type(self.wheels) is not bool:
            raise ConfigError(f"input wheels {self.wheels!r:.60} is not true or false")
        if self.wheels and not self.steady:
            raise ConfigError("input wheels needs steady")
        if self.mount and self.colour != "rgb":
            raise ConfigError("input mount needs colour rgb")
        if type(self.fov_deg) not in (int, float) or not 10.0 <= self.fov_deg <= 170.0:
            raise ConfigError(f"input fov_deg {self.fov_deg!r:.60} is not within 10..170 degrees")
        if self.crop_top + self.crop_bottom >= 1.0:
            raise ConfigError(
                f"input crop_top {self.crop_top} + crop_bottom {self.crop_bottom} leave no image"
            )

    @property
    def colours(self) -> int:
        """3 for RGB, 1 for grey."""
        return 3 if self.colour == "rgb" else 1

    @property
    def channels(self) -> int:
        """Those of the colours, one of motion, three of the mount, one of wheels if there are."""
        return self.colours + (self.motion > 0) + MOUNTED * self.mount + self.wheels


def see(
    image: NDArray[np.uint8],
    contract: InputContract,
    past: Past = (),
    mount: CameraMount | None = None,
    moved: Moved | None = None,
) -> tuple[NDArray[np.int8], Past]:
    """Network input of the next frame of a stream, and what the frame after it is seen with.

    The channel of motion is the grey of this frame less that of ``contract.motion`` frames before,
    or of the first frame of the stream while it is not so long, cut to what int8 holds. Where it is
    steadied, the frame before is one that a camera turned as now would have seen, or with ``floor``
    one that is where it is now would have seen of the floor, and 0 is what was not in view: see
    ``io.steady``. The channels of the mount are the same everywhere: see ``told``; that of the
    wheels has two halves: see ``rolled``.

    Args:
        image: as for ``preprocess``.
        contract: the network's input.
        past: of the frame before; nothing for the first one of a stream.
        mount: of the camera, where the contract asks for it.
        moved: the robot, since the frame before, where the contract asks for a steady channel of
            motion.

    Returns:
        int8 (channels, height, width), C-contiguous, and the new past.

    Raises:
        DataError: as ``preprocess``, or the mount is asked for and not known, or is none, or so is
            the way.
    """
    pixels = preprocess(image, contract)
    channels = [pixels]
    if contract.motion:
        now = _grey((pixels.view(np.uint8) ^ np.uint8(128)).transpose(1, 2, 0)).astype(np.int16)
        past = (*past, Before(now, _moved(moved, contract)))[-contract.motion - 1 :]
        change = _change(now, past, contract, mount, image.shape)
        channels.append(np.clip(change, -128, 127).astype(np.int8)[None])
    if contract.mount:
        size = (1, contract.height, contract.width)
        channels += [np.full(size, number, np.int8) for number in told(mount, contract.fov_deg)]
    if contract.wheels:
        channels.append(rolled(_moved(moved, contract), contract))
    return np.concatenate(channels) if len(channels) > 1 else pixels, past


def _moved(moved: Moved | None, contract: InputContract) -> Moved:
    if not contract.steady:
        return Moved()
    if moved is None:
        raise DataError("this network must be told how the robot moves, and nobody said it")
    if not all(map(math.isfinite, moved)):
        raise DataError(f"that the robot has moved by {tuple(moved)} is no way")
    return moved


def _change(
    now: NDArray[np.int16],
    past: Past,
    contract: InputContract,
    mount: CameraMount | None,
    size: tuple[int, ...],
) -> NDArray[np.int16]:
    """What has changed since the oldest frame."""
    before = past[0].grey
    if not contract.steady:
        return now - before
    moved = reduce(Moved.then, (frame.moved for frame in past[1:]), Moved())
    mount = _known(mount)
    camera = _pinhole(contract, mount, size)
    if contract.floor:
        return change_on_floor(now, before, moved, mount, camera)
    return change_by_turn(now, before, moved.turned_rad, camera)


def _pinhole(contract: InputContract, mount: CameraMount, size: tuple[int, ...]) -> Pinhole:
    """Of the network's input; of a camera with square pixels whose image was (height, width)."""
    top, bottom = _rows(size[0], contract)
    tangent = math.tan(0.5 * mount.horizontal_fov_rad)
    down = contract.height / (bottom - top)
    focal_px = down * 0.5 * size[1] / tangent, 0.5 * contract.width / tangent
    middle_px = (0.5 * size[0] - top) * down - 0.5, 0.5 * (contract.width - 1)
    return Pinhole((contract.height, contract.width), focal_px, middle_px)


def told(mount: CameraMount | None, fov_deg: float = STANDARD_FOV_DEG) -> tuple[int, int, int]:
    """What a network is told of a camera's mount, each cut to -127..127.

    64 log2(height / 0.25 m); 512 pitch; 256 log2(focal length by that of a camera of ``fov_deg``);
    all of float32, as recordings have them.

    Raises:
        DataError: nobody said how it is mounted, or what was said is no mount.

    Example:
        >>> told(CameraMount(height_m=0.5, pitch_rad=0.1, horizontal_fov_rad=math.pi / 2))
        (64, 51, 0)
    """
    height_m, pitch_rad, fov_rad = _known(mount)
    numbers = (
        64 * math.log2(height_m / 0.25),
        512 * pitch_rad,
        -256 * math.log2(math.tan(0.5 * fov_rad) / math.tan(0.5 * math.radians(fov_deg))),
    )
    height, pitch, focal = (min(max(math.floor(number + 0.5), -127), 127) for number in numbers)
    return height, pitch, focal


def rolled(moved: Moved, contract: InputContract) -> NDArray[np.int8]:
    """What a network is told of the robot's own way since the frame before: (1, height, width).

    The left half of the picture says how far a wheel on its left would have gone, the right half
    one on its right, ``TRACK_M`` apart, in 1/``WAY`` m, cut to -127..127: so the mirror image tells
    of the mirrored way.
    """
    turn_m = 0.5 * TRACK_M * moved.turned_rad
    left, right = (
        min(max(math.floor(WAY * way_m + 0.5), -127), 127)
        for way_m in (moved.ahead_m - turn_m, moved.ahead_m + turn_m)
    )
    channel = np.zeros((1, contract.height, contract.width), np.int8)
    half = contract.width // 2
    channel[..., :half], channel[..., contract.width - half :] = left, right
    return channel


def _known(mount: CameraMount | None) -> CameraMount:
    """The mount in float32, as recordings have it; what is none is refused."""
    if mount is None:
        raise DataError(
            "this network must be told how the camera is mounted, and the recording does not say "
            "it: give --camera-height (m), --camera-pitch and --camera-fov (rad)"
        )
    known = CameraMount(*np.array(mount, np.float32).tolist())
    if not 0.0 < known.height_m < math.inf:
        raise DataError(f"camera height {known.height_m} m is not above 0")
    if not abs(known.pitch_rad) < math.pi / 2:
        raise DataError(f"camera pitch {known.pitch_rad} rad is not within -pi/2..pi/2")
    if not 0.0 < known.horizontal_fov_rad < math.pi:
        raise DataError(f"camera field of view {known.horizontal_fov_rad} rad is not within 0..pi")
    return known


def see_all(
    images: Iterable[NDArray[np.uint8]],
    contract: InputContract,
    mount: CameraMount | None = None,
    moves: Iterable[Moved | None] | None = None,
) -> Iterator[NDArray[np.int8]]:
    """Network inputs of a whole stream of one camera, as ``see`` makes them."""
    past: Past = ()
    for image, moved in zip(images, repeat(None) if moves is None else moves, strict=False):
        pixels, past = see(image, contract, past, mount, moved)
        yield pixels


def preprocess(image: NDArray[np.uint8], contract: InputContract) -> NDArray[np.int8]:
    """Crop, resize, reduce to grey where asked, and centre: ``pixel - 128``. No motion.

    Rows cut are rounded half up, ``floor(height * crop + 0.5)``. Grey is
    ``(77 R + 150 G + 29 B + 128) >> 8``, the weights of ITU-R BT.601 in 1/256.

    Args:
        image: uint8 (H, W, 3), RGB, any strides.
        contract: the network's input.

    Returns:
        int8 (colours, height, width), C-contiguous.

    Raises:
        DataError: the image has another form, or the crop leaves no row of it.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise DataError(f"image is {image.dtype} {image.shape}, expected uint8 (height, width, 3)")
    top, bottom = _rows(image.shape[0], contract)
    pixels = np.asarray(
        cv2.resize(
            np.ascontiguousarray(image[top:bottom]),
            (contract.width, contract.height),
            interpolation=cv2.INTER_LINEAR_EXACT,
        ),
        np.uint8,
    )
    if contract.colour == "grey":
        pixels = _grey(pixels)[..., None]
    # Flipping the top bit of uint8 is subtracting 128 in int8.
    centred = (pixels ^ np.uint8(128)).view(np.int8)
    return np.ascontiguousarray(centred.transpose(2, 0, 1))


def _rows(rows: int, contract: InputContract) -> tuple[int, int]:
    """The first of those that are kept of an image, and the first one after them."""
    top = math.floor(rows * contract.crop_top + 0.5)
    bottom = rows - math.floor(rows * contract.crop_bottom + 0.5)
    if top >= bottom:
        raise DataError(
            f"image of {rows} rows is too low for crop {contract.crop_top} above, "
            f"{contract.crop_bottom} below: no row is left"
        )
    return top, bottom


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) or (H, W, 1) -> (H, W)."""
    if pixels.shape[2] == 1:
        return pixels[..., 0]
    # Not cv2.cvtColor: its grey may come from a vendor's kernel that rounds otherwise.
    weighted = pixels.astype(np.uint16) * np.array([77, 150, 29], np.uint16)
    total = weighted.sum(axis=2, dtype=np.uint16)  # at most 255 * 256
    return np.asarray((total + 128) >> 8, np.uint8)
