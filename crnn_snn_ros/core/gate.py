"""What may become a frame: stamps that make sense, no more of them than the network was made for.

Pure: the state is an argument and a result, and so is the time. ``now_ns`` is that of the clock by
which the stamps are made (ROS time, which may be simulated and may jump); nothing here can disarm
the supervisor, which has a clock of its own.

A frame is refused with a reason, which stops the robot; or dropped without one, because nothing is
wrong; or admitted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.core.supervisor import Drop, Reason

NS_PER_S = 1_000_000_000
FASTER = 1.05  # a camera that is this much faster than the network is not decimated
DARK, BRIGHT = 8, 247  # grey levels
BLIND_SHARE = 0.99  # of the pixels at or beyond one of these: nothing is to be seen
STRIDE = 4  # of the pixels that are looked at


class RefusedError(DataError):
    """A frame that must not be answered, and why."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class GateConfig(NamedTuple):
    """What is asked of a frame."""

    max_age_ns: int = 0  # 0: any age
    max_future_ns: int = 0  # 0: any time
    refuse_zero: bool = False  # else a stamp of zero becomes the time of arrival
    period_ns: int = 0  # of the network's frames; 0: every frame is admitted
    refuse_blind: bool = False


class GateState(NamedTuple):
    """What is known of the frames before."""

    stamp_ns: int | None = None  # of the newest that was no refused one
    due_ns: int | None = None  # when the next frame is wanted, in the time of the stamps
    size: tuple[int, int] | None = None  # height, width
    camera: str | None = None  # frame_id


class Admission(NamedTuple):
    """What becomes of a frame: admitted if there is neither a refusal nor a drop."""

    stamp_ns: int  # its own, or the time of arrival in its place
    refusal: RefusedError | None = None
    drop: Drop | None = None


FIRST = GateState()


def admit(
    stamp_ns: int, now_ns: int, state: GateState, config: GateConfig
) -> tuple[Admission, GateState]:
    """Judge a frame by its stamp.

    After a stamp that goes back the frames are measured against it, so that a clock that was set
    back costs one frame, not all until it has caught up.

    Example:
        >>> config = GateConfig(period_ns=50)
        >>> admit(100, 110, FIRST, config)[0].drop is None
        True
        >>> state = admit(100, 110, FIRST, config)[1]
        >>> [admit(stamp, 200, state, config)[0].drop for stamp in (100, 120, 150)]
        [<Drop.REPEATED: 'repeated'>, <Drop.DECIMATED: 'decimated'>, None]
    """
    if stamp_ns == 0:
        if config.refuse_zero:
            return _refuse(0, Reason.ZERO_STAMP, "its stamp is zero; see zero_stamp"), state
        stamp_ns = now_ns
    age_ns = now_ns - stamp_ns
    if 0 < config.max_age_ns < age_ns:
        text = (
            f"it is {age_ns / NS_PER_S:.3f} s old by our clock; are camera and node on one time, "
            "or is a bag played without --clock? See max_frame_age"
        )
        return _refuse(stamp_ns, Reason.OLD_FRAME, text), state
    if 0 < config.max_future_ns < -age_ns:
        text = (
            f"it is of {-age_ns / NS_PER_S:.3f} s ahead of our clock; are camera and node on one "
            "time, does /clock run? See max_frame_future"
        )
        return _refuse(stamp_ns, Reason.FUTURE_FRAME, text), state
    before = state.stamp_ns
    if before is not None and stamp_ns < before:
        text = (
            f"its stamp is {(before - stamp_ns) / NS_PER_S:.3f} s before the last one; has the "
            "clock been set back, or do two cameras share the topic?"
        )
        return _refuse(stamp_ns, Reason.TIME_BACK, text), state._replace(
            stamp_ns=stamp_ns, due_ns=None
        )
    if stamp_ns == before:
        return Admission(stamp_ns, drop=Drop.REPEATED), state
    return _decimate(stamp_ns, state, round(config.period_ns / FASTER))


def recognise(camera: str, state: GateState) -> tuple[RefusedError | None, GateState]:
    """Judge a frame by the camera that it names: two of them must not share a topic.

    Example:
        >>> state = recognise("front", FIRST)[1]
        >>> [str(recognise(name, state)[0]) for name in ("front", "rear")]  # doctest: +ELLIPSIS
        ['None', "it is of camera 'rear', the others were of 'front'; ..."]
    """
    if state.camera is None:
        return None, state._replace(camera=camera)
    if camera == state.camera:
        return None, state
    text = (
        f"it is of camera '{camera}', the others were of '{state.camera}'; do two share the topic? "
        "Call ~/reset if that is meant"
    )
    return RefusedError(Reason.BAD_FRAME, text), state


def missed(number: int, before: int | None) -> int:
    """Frames that were sent since the last one and never came, by the numbers of their sender.

    A number that goes back is that of a sender that has begun anew.

    Example:
        >>> [missed(number, 7) for number in (8, 11, 1)], missed(11, None)
        ([0, 3, 0], 0)
    """
    return 0 if before is None else max(number - before - 1, 0)


def look(
    image: NDArray[np.uint8], state: GateState, config: GateConfig
) -> tuple[RefusedError | None, GateState]:
    """Judge a frame by its picture.

    Args:
        image: uint8 (H, W, 3).
        state: with the size of the first picture, of which all others must be: another size may be
            another view, to which the network's memory does not belong.
        config: whether a picture that is black or white all over is refused.
    """
    height, width = image.shape[:2]
    if state.size is None:
        state = state._replace(size=(height, width))
    elif state.size != (height, width):
        before = f"{state.size[1]}x{state.size[0]}"
        text = f"its size is {width}x{height}, it was {before}; call ~/reset if that is meant"
        return RefusedError(Reason.BAD_FRAME, text), state
    if config.refuse_blind:
        some = image[::STRIDE, ::STRIDE]
        for what, beyond in (("black", some <= DARK), ("white", some >= BRIGHT)):
            if np.count_nonzero(beyond) >= BLIND_SHARE * some.size:
                return RefusedError(Reason.BLIND, f"it is {what} all over"), state
    return None, state


def _decimate(stamp_ns: int, state: GateState, period_ns: int) -> tuple[Admission, GateState]:
    """Admit the frames next to a grid of the network's period, and all of a slow camera."""
    due_ns = state.due_ns if state.due_ns is not None else stamp_ns
    if stamp_ns < due_ns - period_ns // 4:
        return Admission(stamp_ns, drop=Drop.DECIMATED), state._replace(stamp_ns=stamp_ns)
    # After a gap the grid begins anew, or the frames that follow would be too close together.
    due_ns = max(due_ns + period_ns, stamp_ns + period_ns // 2)
    return Admission(stamp_ns), state._replace(stamp_ns=stamp_ns, due_ns=due_ns)


def _refuse(stamp_ns: int, reason: Reason, text: str) -> Admission:
    return Admission(stamp_ns, refusal=RefusedError(reason, text))
