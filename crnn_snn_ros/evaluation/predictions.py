"""The predictions of a replay as a bag that ROS 2 plays beside the drive: the node's own topics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from crnn_snn_ros.core.types import Command
from crnn_snn_ros.data.bag_writer import BagWriter
from crnn_snn_ros.evaluation.recording import (
    COLLISION_COLUMN,
    STEERING_COLUMN,
    Recording,
)

PREDICTION, STEERING = "/prediction", "/steering"
COLLISION, CMD_VEL = "/collision_probability", "/cmd_vel"


def write_predictions(
    path: Path, recording: Recording, drive: int, about: Mapping[str, str] | None = None
) -> None:
    """Write what the spiking network said of one drive, at the stamps of its frames.

    Args:
        path: Of the bag; must not exist.
        recording: Of the replay.
        drive: Number of the drive.
        about: Notes kept in the bag.

    Raises:
        DataError: the bag exists or cannot be written.
    """
    with BagWriter(path, about) as bag:
        for row in recording.of_drive(drive):
            stamp_ns = int(row["stamp_ns"])
            steering = float(row["snn"][STEERING_COLUMN])
            collision = float(row["snn"][COLLISION_COLUMN])
            settled = float(row["settled"])
            bag.vector3_stamped(PREDICTION, stamp_ns, (steering, collision, settled))
            bag.float32(STEERING, stamp_ns, steering)
            bag.float32(COLLISION, stamp_ns, collision)
            bag.twist(CMD_VEL, stamp_ns, Command(*(float(v) for v in row["command"])))
