"""``crnn-snn replay``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tyro.conf import Positional

from crnn_snn_ros.cli.output import (
    finite,
    print_columns,
    print_json,
    print_table,
    progress_bar,
    single_thread,
)
from crnn_snn_ros.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from crnn_snn_ros.core.types import Frame
    from crnn_snn_ros.evaluation.recording import Recording
    from crnn_snn_ros.pipeline import Pipeline
    from crnn_snn_ros.training.network import Crnn


class _Part(NamedTuple):
    """Frames of a bag that are replayed."""

    bag: Path
    topic: str
    first: int
    last: int  # exclusive


def replay_verb(
    model: Positional[Path],
    bags: Positional[tuple[Path, ...]],
    begin: float = 0.0,
    end: float = 1.0,
    out: Path | None = None,
    video: Path | None = None,
    threshold: float = 0.5,
    seed: int = 0,
    float_checkpoint: Path | None = None,
    steering_topic: str = "/steering",
    collision_topic: str = "/collision",
    image_topic: str | None = None,
    engine: str = "auto",
    device: str = "auto",
    live: Literal["no", "own", "running"] = "no",
    json: bool = False,
) -> int:
    """Evaluate a model on recorded drives at full speed: float, QANN and SNN side by side.

    Example: crnn-snn replay model.snn drive --begin 0.85 --out replayed

    Args:
        model: The model file.
        bags: The drives, one or many; their labels are optional.
        begin: Where to start, as a fraction of each drive's frames; state is empty there.
        end: Where to stop.
        out: Write metrics.json, report.html and the predictions as bags into this folder.
        video: Write the drives with what was predicted drawn upon them, an .mp4 file.
        threshold: Collision probability from which on it counts as an alarm.
        seed: Of the resampling behind the confidence intervals.
        float_checkpoint: float.safetensors of crnn-snn train, to compare with.
        steering_topic: True steering (Float32, rad), if a bag has it.
        collision_topic: True collision label (Float32, 0 or 1), if a bag has it.
        image_topic: Needed only where a bag has several image topics.
        engine: auto, stepwise, folded, native, compiled or collapsed.
        device: auto, cpu or cuda.
        live: Instead play one drive into a node over DDS, in lockstep, and compare every answer
            with the offline one, number for number (exit code 1 on any difference): "own" starts a
            node for it; "running" takes one that runs with use_sim_time and stamped set.
        json: One JSON object on stdout.
    """
    from crnn_snn_ros.evaluation.metrics import summarise
    from crnn_snn_ros.evaluation.recording import Recording
    from crnn_snn_ros.evaluation.replay_output import refuse_existing
    from crnn_snn_ros.pipeline import load_pipeline
    from crnn_snn_ros.training.checkpoint import load

    if not 0.0 <= begin < end <= 1.0:
        raise ConfigError(f"--begin {begin} and --end {end} must satisfy 0 <= begin < end <= 1")
    if not 0.0 < threshold <= 1.0:
        raise ConfigError(f"--threshold is {threshold}; it must lie above 0 and not above 1")
    if live != "no" and (len(bags) != 1 or out or video):
        raise ConfigError("--live plays one bag, and writes neither --out nor --video")
    if video is not None and video.suffix != ".mp4":
        raise ConfigError(f"--video {video}: only .mp4 is written")
    if not bags:
        raise ConfigError("replay needs a bag to replay: crnn-snn replay MODEL BAG...")
    parts = [_part(bag, image_topic, begin, end) for bag in bags]
    if out is not None:
        import crnn_snn_ros.evaluation.report.page  # noqa: F401  # what is missing is said now

        refuse_existing(out)
    single_thread()
    pipeline = load_pipeline(model, engine, device)
    if live != "no":
        return _live(model if live == "own" else None, pipeline, parts[0], json)
    original = None if float_checkpoint is None else load(float_checkpoint).network
    if original is not None and original.quantized:
        raise ConfigError(f"{float_checkpoint} is quantized; give float.safetensors")
    recording = Recording(pipeline.model.graph, pipeline.model.frame_rate_hz)
    interrupted = False
    try:
        _replay_all(parts, pipeline, original, recording, json)
    except KeyboardInterrupt:
        if not len(recording):
            raise
        interrupted = True
    _label(recording, parts, (steering_topic, collision_topic), pipeline.model.frame_rate_hz)
    result = summarise(recording, pipeline.config, threshold=threshold, seed=seed)
    if json:
        print_json(result | ({"interrupted": True} if interrupted else {}))
    else:
        title = f"{model} on {', '.join(str(bag) for bag in bags[:3])}"
        _print(f"{title}, until it was interrupted" if interrupted else title, result)
    if interrupted:
        raise KeyboardInterrupt
    _write(model, pipeline, recording, parts, result, out, video)
    return 0


def _part(bag: Path, image_topic: str | None, begin: float, end: float) -> _Part:
    import numpy as np

    from crnn_snn_ros.core.errors import DataError
    from crnn_snn_ros.data.bags import find_image_topic, read_info

    topic = find_image_topic(bag, image_topic)
    total = read_info(bag).topics[topic].messages
    first, last = (int(np.floor(total * share + 0.5)) for share in (begin, end))
    if first == last:
        raise DataError(f"bag {bag}: no frame between --begin {begin} and --end {end}")
    return _Part(bag, topic, first, last)


def _replay_all(
    parts: Sequence[_Part],
    pipeline: Pipeline,
    original: Crnn | None,
    recording: Recording,
    quiet: bool,
) -> None:
    from crnn_snn_ros.core.errors import DataError
    from crnn_snn_ros.evaluation.replay import replay

    with progress_bar(sum(part.last - part.first for part in parts), quiet=quiet) as bar:
        for part in parts:
            before = len(recording)
            replay(
                _frames(part),
                pipeline,
                original,
                lambda _: bar.update(bar.task_ids[0], advance=1),
                recording=recording,
                name=part.bag.name,
            )
            if len(recording) == before:
                raise DataError(f"bag {part.bag}: {part.topic} has no frame to replay")


def _label(
    recording: Recording, parts: Sequence[_Part], topics: tuple[str, str], rate_hz: float
) -> None:
    """Give each drive its labels; one that the recording does not hold to the end as well."""
    tolerance_ns = round(0.5e9 / rate_hz)
    for number, part in enumerate(parts[: len(recording.drives)]):
        stamps = recording.of_drive(number)["stamp_ns"]
        truths = [_truth(part.bag, topic, stamps, tolerance_ns) for topic in topics]
        recording.label(number, *truths)


def _write(
    model: Path,
    pipeline: Pipeline,
    recording: Recording,
    parts: Sequence[_Part],
    result: dict[str, Any],
    out: Path | None,
    video: Path | None,
) -> None:
    from functools import partial

    from crnn_snn_ros.evaluation import replay_output
    from crnn_snn_ros.io.model_file import header

    if out is None and video is None:
        return
    readers: list[Callable[[], Iterator[Frame]]] = [partial(_frames, part) for part in parts]
    done = replay_output.Replayed(pipeline, recording, result, readers)
    card = header(model)
    if out is not None:
        about = {"source": "crnn-snn replay", "model": model.name, "sha256": str(card["sha256"])}
        replay_output.write_metrics(out, finite(result))
        replay_output.write_bags(out, recording, about)
    replay_output.write_pictures(done, card, model.name, folder=out, video=video)


def _live(own_model: Path | None, pipeline: Pipeline, part: _Part, json: bool) -> int:
    try:
        from crnn_snn_ros.ros.live_replay import live_replay
    except ImportError as error:
        raise ConfigError(
            f"--live needs ROS 2 ({error}); source one, or pip install 'crnn_snn_ros[ros-jazzy]'"
        ) from None

    with progress_bar(part.last - part.first, quiet=json) as bar:
        result = live_replay(
            _frames(part),
            pipeline,
            own_model,
            lambda done: bar.update(bar.task_ids[0], completed=done),
        )
    if json:
        print_json(result)
    else:
        print_table(f"{part.bag} through the node, in lockstep", result)
    frames = result["frames"]
    return 0 if result["equal_commands"] == result["equal_predictions"] == frames else 1


def _frames(part: _Part) -> Iterator[Frame]:
    from itertools import islice

    from crnn_snn_ros.data.bags import read_frames

    return islice(read_frames(part.bag, part.topic), part.first, part.last)


def _truth(bag: Path, topic: str, stamps: Any, tolerance_ns: int) -> Any:
    import numpy as np

    from crnn_snn_ros.data.bags import read_info, read_signal
    from crnn_snn_ros.data.dataset import synchronise

    if topic not in read_info(bag).topics:
        return np.full(len(stamps), np.nan, np.float32)
    return synchronise(read_signal(bag, topic), stamps, tolerance_ns)


def _print(title: str, result: dict[str, Any]) -> None:
    """Figures of the networks side by side, intervals below them; then what they share."""
    networks = ("float", "qann", "snn", "predict_mean")
    rows = []
    for name, values in result.items():
        if isinstance(values, dict) and name != "ci95":
            ends = result["ci95"].get(name, {})
            rows += _rows(name, [values.get(n) for n in networks], [ends.get(n) for n in networks])
    if rows:
        print_columns(title, ("", *networks), rows)
    common = {name: value for name, value in result.items() if not isinstance(value, dict)}
    print_table("" if rows else title, common)


def _rows(name: str, values: list[Any], ends: list[Any]) -> list[list[str]]:
    """One row for a figure, several for one with parts, none where nothing is known."""
    parts = next((list(value) for value in values if isinstance(value, dict)), None)
    if parts is not None:
        told = [value or {} for value in values]
        by_part = [(part, [value.get(part) for value in told]) for part in parts]
        return [row for part, v in by_part for row in _rows(f"{name} {part}", v, [None] * len(v))]
    if all(value is None for value in values):
        return []
    cells = [
        "" if value is None else f"{value:.4g}" + (f"\n{e[0]:.3g}..{e[1]:.3g}" if e else "")
        for value, e in zip(values, ends, strict=True)
    ]
    return [[name, *cells]]
