"""What a data set offers: labels, and frames to calibrate on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.data.dataset import Sequence as Drive

CALIBRATION_DRIVES = 16
CALIBRATION_FRAMES = 1024


def labelled_heads(drives: Sequence[Drive], split: str, *, ways: bool) -> tuple[str, ...]:
    """Heads for which some frame has a label; with ``ways``, of what every way would cost.

    Raises:
        DataError: there is none.
    """
    heads = []
    steering = [drive.way_costs if ways else drive.steering_rad for drive in drives]
    if any(labels is not None and np.isfinite(labels).any() for labels in steering):
        heads.append("steering")
    if any(np.isfinite(drive.collision).any() for drive in drives):
        heads.append("collision")
    if not heads:
        raise DataError(
            f"no frame of the {split} split has a {'way_costs' if ways else 'steering'} or "
            "collision label; name the label topics in the data file"
        )
    return tuple(heads)


def require_judge(metric: str, validation: Sequence[Drive], *, ways: bool) -> None:
    """Refuse a metric that the labels of the validation split cannot give.

    Raises:
        DataError: for that reason.
    """
    labelled_heads(validation, "validation", ways=ways)
    steered = any(np.isfinite(drive.steering_rad).any() for drive in validation)
    if metric == "steering_rmse_rad" and not steered:
        raise DataError(f"metric '{metric}': no frame of the validation split has such a label")
    if metric == "collision_auroc":
        labels = np.concatenate([drive.collision for drive in validation])
        if not ((labels > 0.5).any() and (labels <= 0.5).any()):
            raise DataError(
                f"metric '{metric}': the validation split needs frames with a collision and frames "
                "without one"
            )


def calibration_frames(drives: Sequence[Drive]) -> NDArray[np.int8]:
    """The beginnings of some drives, (N, T, C, H, W), as long as the shortest of them at most.

    Drives that are over before they have their share of frames are left out, where others are not.
    """
    share = CALIBRATION_FRAMES // min(CALIBRATION_DRIVES, len(drives))
    least = min(share, max(len(drive) for drive in drives))
    drives = [drive for drive in drives if len(drive) >= least]
    count = min(CALIBRATION_DRIVES, len(drives))
    chosen = [drives[len(drives) * number // count] for number in range(count)]
    frames = min([CALIBRATION_FRAMES // count, *(len(drive) for drive in chosen)])
    return np.stack([drive.frames[:frames] for drive in chosen])
