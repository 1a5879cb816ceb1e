"""A recorded drive through a running node over DDS, compared with the offline pipeline.

bag --> frame --+--> pipeline.step ------------------------> Answer --+
+--> lockstep.Player --DDS--> node --DDS--> Reply ----+--> equal?
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.core.mount import CameraMount
from crnn_snn_ros.core.types import Frame
from crnn_snn_ros.pipeline import Answer, Pipeline
from crnn_snn_ros.ros.lockstep import Player, Reply, check, mounted, node_process


def live_replay(
    frames: Iterable[Frame],
    pipeline: Pipeline,
    model: Path | None,
    mount: CameraMount | None = None,
    progress: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Play a drive through a node in lockstep; every answer is compared number for number.

    Args:
        frames: The drive, in order.
        pipeline: Of the same model and settings as the node's.
        model: Start a node of our own with this model; None takes the one that runs already, which
            must have been started with ``lockstep.SETTINGS``.
        mount: Of the camera, for a node of our own.
        progress: Called after each frame with the number done.

    Returns:
        Counts of frames and of equal answers, and percentiles of the round trip.

    Raises:
        CrnnSnnError: there is no node, or it leaves a frame without an answer.
        DataError: there is no frame.
    """
    answers, replies = [], []
    state = pipeline.initial_state()
    with _player(model, mount) as player:
        for frame in frames:
            answer, state = pipeline.step(frame, state)
            answers.append(answer)
            replies.append(player.ask(frame))
            if progress is not None:
                progress(len(replies))
    if not replies:
        raise DataError("the drive has no frame to play")
    pairs = list(zip(answers, replies, strict=True))
    trips_ms = np.array([reply.round_trip_s for reply in replies]) * 1e3
    return {
        "frames": len(replies),
        "equal_commands": sum(reply.command == answer.command for answer, reply in pairs),
        "equal_predictions": sum(_same_prediction(answer, reply) for answer, reply in pairs),
        "settled": sum(reply.settled for reply in replies),
        "round_trip_ms_p50": float(np.percentile(trips_ms, 50)),
        "round_trip_ms_p99": float(np.percentile(trips_ms, 99)),
    }


def _same_prediction(answer: Answer, reply: Reply) -> bool:
    said = answer.prediction
    return (reply.steering_rad, reply.collision_probability, reply.settled) == said[:3]


@contextmanager
def _player(model: Path | None, mount: CameraMount | None) -> Iterator[Player]:
    """A player that has found its node."""
    with ExitStack() as stack:
        checks = []
        if model is not None:
            log = Path(stack.enter_context(TemporaryDirectory()), "node.log")
            process = stack.enter_context(
                node_process(log, {"model": str(model), **mounted(mount)})
            )
            checks.append(partial(check, process, log))
        player = stack.enter_context(closing(Player()))
        player.find_node(lambda: [still_runs() for still_runs in checks])
        yield player
