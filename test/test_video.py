from __future__ import annotations

import cv2
import numpy as np
import pytest
from report_samples import COUNTS, replayed

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.evaluation.replay_output import VIDEO_PX, write_pictures
from crnn_snn_ros.evaluation.video import writing


def read(path):
    """Frames, RGB, and their rate."""
    capture = cv2.VideoCapture(str(path))
    found = []
    while (frame := capture.read())[0]:
        found.append(cv2.cvtColor(frame[1], cv2.COLOR_BGR2RGB))
    return found, capture.get(cv2.CAP_PROP_FPS)


def test_frames_come_back(tmp_path):
    path = tmp_path / "new" / "v.mp4"
    with writing(path, 12.5) as video:
        for number in range(9):
            video.add(np.full((48, 64, 3), (20 * number, 100, 0), np.uint8))
    found, rate = read(path)
    assert rate == pytest.approx(12.5)
    assert len(found) == 9
    reds = [frame[24, 32, 0] for frame in found]
    assert reds == pytest.approx([20 * number for number in range(9)], abs=12)
    assert [p.name for p in path.parent.iterdir()] == ["v.mp4"]


def test_a_replay_as_a_video_has_every_frame_of_every_drive(tmp_path):
    write_pictures([replayed()], folder=None, video=tmp_path / "v.mp4")
    found, rate = read(tmp_path / "v.mp4")
    assert (len(found), rate) == (sum(COUNTS), 20.0)
    assert found[0].shape[1] == VIDEO_PX
    assert np.abs(found[0].astype(int) - found[-1]).mean() > 5


@pytest.mark.parametrize("fault", ["size", "none", "raise"])
def test_what_goes_wrong_leaves_nothing(tmp_path, fault):
    def write() -> None:
        with writing(tmp_path / "v.mp4", 20.0) as video:
            if fault == "none":
                return
            video.add(np.zeros((48, 64, 3), np.uint8))
            if fault == "raise":
                raise DataError("the drive ended badly")
            video.add(np.zeros((50, 64, 3), np.uint8))

    with pytest.raises(DataError):
        write()
    assert list(tmp_path.iterdir()) == []


def test_only_mp4(tmp_path):
    with pytest.raises(ConfigError, match=r"only \.mp4"), writing(tmp_path / "v.avi", 20.0):
        pass
