"""Writing an MP4 by OpenCV's own encoder, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.io.atomic import replacing

# MPEG-4 Part 2: what every build of OpenCV has. VLC, mpv and ffmpeg play it; browsers do not, and
# the encoders that they would want (H.264) are in no wheel, or ten times slower (VP9).
CODEC = "mp4v"


class Video:
    """An MP4 that grows; made by ``writing``."""

    def __init__(self, path: Path, rate_hz: float) -> None:
        self._path, self._rate_hz = path, rate_hz
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def add(self, image: NDArray[np.uint8]) -> None:
        """Add a frame, uint8 (H, W, 3) RGB, both even; the first one sets the size.

        Raises:
            DataError: the frame has another size, or this OpenCV cannot encode.
        """
        height, width = image.shape[:2]
        if self._writer is None:
            self._size = (width, height)
            code = cv2.VideoWriter.fourcc(*CODEC)
            self._writer = cv2.VideoWriter(str(self._path), code, self._rate_hz, self._size)
            if not self._writer.isOpened():
                raise DataError(f"this OpenCV cannot write {CODEC} videos to {self._path.parent}")
        if (width, height) != self._size:
            raise DataError(f"video frame is {width}x{height}, those before were {self._size}")
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()


@contextmanager
def writing(path: Path, rate_hz: float) -> Iterator[Video]:
    """A new video, which appears under its name when it is whole.

    Args:
        path: Must end in ``.mp4``.
        rate_hz: Frames a second.

    Raises:
        ConfigError: another ending.
        DataError: it cannot be written, or got no frame.
    """
    if path.suffix != ".mp4":
        raise ConfigError(f"video {path}: only .mp4 is written")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        video = Video(temporary, rate_hz)
        try:
            yield video
        finally:
            video.close()
        if not temporary.exists() or temporary.stat().st_size == 0:
            raise DataError(f"video {path}: nothing was written")
