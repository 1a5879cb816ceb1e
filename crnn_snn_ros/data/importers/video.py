"""A video, with a CSV of labels or without: every frame becomes a JPEG.

The stamps are ``start_s`` plus the video's own time of each frame. A line of the CSV says by
``frame`` to which one it belongs, or by a time from the video's beginning: then the frame has the
label of the nearest line, if that is at most half a frame period away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.data.importers.drive import Drive, ImportOptions, Record
from crnn_snn_ros.data.importers.table import Line, read_table

VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v")
JPEG_QUALITY = 95


class Video:
    """Whatever OpenCV decodes."""

    name = "video"
    looks_like = f"a video ({', '.join(VIDEOS)}), with a CSV of its name or --table"

    def detects(self, source: Path) -> bool:
        """A file that ends like one."""
        return source.is_file() and source.suffix.lower() in VIDEOS

    def drives(self, source: Path, options: ImportOptions) -> list[Drive]:
        """The one drive."""
        beside = source.with_suffix(".csv")
        table = options.table or (beside if beside.is_file() else None)
        lines = [] if table is None else list(read_table(table, options, ()))
        with _opened(source) as capture:
            count = round(capture.get(cv2.CAP_PROP_FRAME_COUNT))
            rate_hz = float(capture.get(cv2.CAP_PROP_FPS))
        labels = _Labels(lines, rate_hz)
        about = {"importer": "video", "jpeg_quality": str(JPEG_QUALITY)}
        records = partial(_records, source, labels, options)
        return [Drive(source.stem, records, count if count > 0 else None, about=about)]


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            raise DataError(f"{path} is not a video that OpenCV can decode, or is damaged")
        yield capture
    finally:
        capture.release()


class _Labels:
    """Lines of the CSV by frame, or by time."""

    def __init__(self, lines: list[Line], rate_hz: float) -> None:
        self._by_frame: dict[int, Line] = {}
        timed = []
        for line in lines:
            if line.frame is None and line.stamp_ns is None:
                raise ConfigError(
                    f"{line.where}: neither a frame nor a time; "
                    "name its column (--columns frame=COLUMN or time_s=COLUMN)"
                )
            if line.frame is None:
                timed.append(line)
            elif line.frame in self._by_frame:
                raise DataError(f"{line.where}: frame {line.frame} is there twice")
            else:
                self._by_frame[line.frame] = line
        self._timed = sorted(timed, key=lambda line: line.stamp_ns or 0)
        self._times = np.array([line.stamp_ns for line in self._timed], np.int64)
        self._tolerance_ns = 0.5e9 / rate_hz if rate_hz > 0 else 0.0

    def of(self, frame: int, elapsed_ns: int) -> dict[str, float]:
        if frame in self._by_frame:
            return self._by_frame[frame].labels
        if len(self._times):
            nearest = int(np.abs(self._times - elapsed_ns).argmin())
            if abs(int(self._times[nearest]) - elapsed_ns) <= self._tolerance_ns:
                return self._timed[nearest].labels
        return {}

    def require_within(self, source: Path, frames: int) -> None:
        """No line is about a frame that is not there."""
        for number, line in self._by_frame.items():
            if number >= frames:
                raise DataError(f"{line.where}: frame {number}, {source} has {frames}")


def _records(source: Path, labels: _Labels, options: ImportOptions) -> Iterator[Record]:
    begin_ns, last_ns, number = round(options.start_s * 1e9), -1, -1
    with _opened(source) as capture:
        while True:
            done, picture = capture.read()
            if not done:
                break
            number += 1
            elapsed_ns = round(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
            if elapsed_ns <= last_ns:
                elapsed_ns = last_ns + 1  # containers without times say 0; the rate check tells
            last_ns = elapsed_ns
            coded, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            if not coded:
                raise DataError(f"{source}, frame {number} cannot be encoded")
            values = dict(labels.of(number, elapsed_ns))
            where = f"{source}, frame {number}"
            yield Record(where, number, begin_ns + elapsed_ns, data.tobytes(), values)
    labels.require_within(source, number + 1)
