"""``crnn-snn replay``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from crnn_snn_ros.cli.output import print_json, print_table, progress_bar, single_thread
from crnn_snn_ros.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crnn_snn_ros.core.types import Frame
    from crnn_snn_ros.pipeline import Pipeline


def replay_verb(
    model: Positional[Path],
    bag: Positional[Path],
    begin: float = 0.0,
    end: float = 1.0,
    float_checkpoint: Path | None = None,
    steering_topic: str = "/steering",
    collision_topic: str = "/collision",
    image_topic: str | None = None,
    engine: str = "auto",
    device: str = "auto",
    live: Literal["no", "own", "running"] = "no",
    json: bool = False,
) -> int:
    """Evaluate a model on a recorded drive at full speed: float, QANN and SNN side by side.

    Example: crnn-snn replay model.snn drive --begin 0.85 --json

    Args:
        model: The model file.
        bag: The drive; its labels are optional.
        begin: Where to start, as a fraction of the drive's frames; state is empty there.
        end: Where to stop.
        float_checkpoint: float.safetensors of crnn-snn train, to compare with.
        steering_topic: True steering (Float32, rad), if the bag has it.
        collision_topic: True collision label (Float32, 0 or 1), if the bag has it.
        image_topic: Needed only where the bag has several image topics.
        engine: auto, stepwise, folded, native, compiled or collapsed.
        device: auto, cpu or cuda.
        live: Instead play the drive into a node over DDS, in lockstep, and compare every answer
            with the offline one, number for number (exit code 1 on any difference): "own" starts a
            node for it; "running" takes one that runs with use_sim_time and stamped set.
        json: One JSON object on stdout.
    """
    import numpy as np

    from crnn_snn_ros.core.errors import DataError
    from crnn_snn_ros.data.bags import find_image_topic, read_info
    from crnn_snn_ros.evaluation.metrics import summarise
    from crnn_snn_ros.evaluation.replay import replay
    from crnn_snn_ros.pipeline import load_pipeline
    from crnn_snn_ros.training.checkpoint import load

    if not 0.0 <= begin < end <= 1.0:
        raise ConfigError(f"--begin {begin} and --end {end} must satisfy 0 <= begin < end <= 1")
    topics = read_info(bag).topics
    image = find_image_topic(bag, image_topic)
    total = topics[image].messages
    first, last = (int(np.floor(total * part + 0.5)) for part in (begin, end))
    single_thread()
    pipeline = load_pipeline(model, engine, device)
    if live != "no":
        return _live(model if live == "own" else None, pipeline, bag, (image, first, last), json)
    original = None if float_checkpoint is None else load(float_checkpoint).network
    if original is not None and original.quantized:
        raise ConfigError(f"{float_checkpoint} is quantized; give float.safetensors")
    with progress_bar(last - first, quiet=json) as bar:
        frames = _frames(bag, image, first, last)
        recording = replay(
            frames, pipeline, original, lambda done: bar.update(bar.task_ids[0], completed=done)
        )
    if not recording.answers:
        raise DataError(f"bag {bag}: no frame between --begin {begin} and --end {end}")
    stamps = np.array(recording.stamps_ns, np.int64)
    tolerance_ns = round(0.5e9 / pipeline.model.frame_rate_hz)
    truth = {
        topic: _truth(bag, topic, topic in topics, stamps, tolerance_ns)
        for topic in (steering_topic, collision_topic)
    }
    result = summarise(recording, truth[steering_topic], truth[collision_topic])
    if json:
        print_json(result)
    else:
        print_table(f"{model} on {bag}", _flat(result))
    return 0


def _live(
    own_model: Path | None, pipeline: Pipeline, bag: Path, part: tuple[str, int, int], json: bool
) -> int:
    try:
        from crnn_snn_ros.ros.live_replay import live_replay
    except ImportError as error:
        raise ConfigError(
            f"--live needs ROS 2 ({error}); source one, or pip install 'crnn_snn_ros[ros-jazzy]'"
        ) from None

    with progress_bar(part[2] - part[1], quiet=json) as bar:
        result = live_replay(
            _frames(bag, *part),
            pipeline,
            own_model,
            lambda done: bar.update(bar.task_ids[0], completed=done),
        )
    if json:
        print_json(result)
    else:
        print_table(f"{bag} through the node, in lockstep", result)
    frames = result["frames"]
    return 0 if result["equal_commands"] == result["equal_predictions"] == frames else 1


def _frames(bag: Path, topic: str, first: int, last: int) -> Iterator[Frame]:
    from itertools import islice

    from crnn_snn_ros.data.bags import read_frames

    return islice(read_frames(bag, topic), first, last)


def _truth(bag: Path, topic: str, present: bool, stamps: Any, tolerance_ns: int) -> Any:
    import numpy as np

    from crnn_snn_ros.data.bags import read_signal
    from crnn_snn_ros.data.dataset import synchronise

    if not present:
        return np.full(len(stamps), np.nan, np.float32)
    return synchronise(read_signal(bag, topic), stamps, tolerance_ns)


def _flat(result: dict[str, Any]) -> dict[str, Any]:
    """Rows of the table: nested names joined, what is unknown left out."""
    rows: dict[str, Any] = {}
    for name, value in result.items():
        if isinstance(value, dict):
            rows.update({f"{name} {key}": item for key, item in value.items()})
        else:
            rows[name] = value
    return {name: value for name, value in rows.items() if value is not None}
