"""Image message -> frame, or the reason why not: ``core.gate`` with the messages around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from nav_msgs.msg import Odometry
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from crnn_snn_ros.core import gate
from crnn_snn_ros.core.gate import RefusedError
from crnn_snn_ros.core.mount import CameraMount
from crnn_snn_ros.core.odometry import Places, heard, moved
from crnn_snn_ros.core.supervisor import Drop, Reason
from crnn_snn_ros.core.types import Frame, Moved
from crnn_snn_ros.ros import messages

ImageMessage: TypeAlias = "Image | CompressedImage"


class Intake:
    """Judges the messages of one camera, one after the other.

    Args:
        now_ns: the time by which stamps are made.

    Attributes:
        config: what is asked of a frame.
        mount: of the camera; None: nobody said.
        by_odometry: frames must be told how the robot has moved, by what ``hear`` got.
    """

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self.config = gate.GateConfig()
        self.mount: CameraMount | None = None
        self.by_odometry = False
        self._places: Places = ()
        self._now_ns = now_ns
        self.reset()

    def reset(self) -> None:
        """Forget the frames before."""
        self._state = gate.FIRST

    def admit(self, header: Header) -> Header | Drop:
        """The header of a frame that is to be answered, its stamp made good; or why it is dropped.

        Raises:
            RefusedError: it is of another camera, or its stamp is not of now.
            DataError: it is no time at all.
        """
        refusal, self._state = gate.recognise(header.frame_id, self._state)
        if refusal is not None:
            raise refusal
        stamp_ns = messages.stamp_ns(header)
        admission, self._state = gate.admit(stamp_ns, self._now_ns(), self._state, self.config)
        if admission.refusal is not None:
            raise admission.refusal
        if admission.drop is not None:
            return admission.drop
        if admission.stamp_ns == stamp_ns:
            return header
        return Header(stamp=messages.stamp(admission.stamp_ns), frame_id=header.frame_id)

    def hear(self, message: Odometry) -> None:
        """Where the robot is, if that is of use; may be called beside all else.

        Raises:
            DataError: its stamp is no time.
        """
        if self.by_odometry:
            self._places = heard(self._places, messages.place(message))

    def frame(self, message: ImageMessage, header: Header, before_ns: int | None) -> Frame:
        """The picture, with the time of the header that ``admit`` returned.

        Args:
            message: with the picture.
            header: of the frame.
            before_ns: stamp of the frame that it follows; None: it begins a stream.

        Raises:
            RefusedError: nothing is to be seen, its size is another than before, or no odometry
                reaches up to it.
            DataError: it cannot be decoded.
        """
        picture = messages.frame(message)
        frame = picture._replace(stamp_ns=messages.stamp_ns(header), mount=self.mount)
        refusal, self._state = gate.look(frame.image, self._state, self.config)
        if refusal is not None:
            raise refusal
        return frame._replace(moved=self._moved(frame.stamp_ns, before_ns))

    def _moved(self, stamp_ns: int, before_ns: int | None) -> Moved | None:
        if not self.by_odometry:
            return None
        from_ns = stamp_ns if before_ns is None else before_ns
        way = moved(self._places, from_ns, stamp_ns)
        if way is None:
            text = "nobody says on `odom` how the robot has moved since the frame before"
            raise RefusedError(Reason.NO_ODOMETRY, text)
        return way
