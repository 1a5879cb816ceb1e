"""``crnn-snn replay``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from crnn_snn_ros.cli.output import finite, print_json, print_table, progress_bar, single_thread
from crnn_snn_ros.cli.replay_table import print_comparison, print_replay
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.mount import MountConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crnn_snn_ros.evaluation.drives import Drive
    from crnn_snn_ros.evaluation.recording import Recording
    from crnn_snn_ros.evaluation.replay_many import Candidate
    from crnn_snn_ros.evaluation.replay_output import Replayed
    from crnn_snn_ros.pipeline import Pipeline

MOST_COMPARED = 3  # beside the first


def replay_verb(
    model: Positional[Path],
    bags: Positional[tuple[Path, ...]],
    compare: tuple[Path, ...] = (),
    jobs: int = 1,
    scheduler: str | None = None,
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
    camera: Annotated[MountConfig, tyro.conf.arg(name="")] = MountConfig(),  # noqa: B008
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
        compare: Further models, up to three, to replay on the same drives and to compare with the
            first; the report is then of the comparison.
        jobs: Number of processes to spread the drives over; the results do not depend on it.
        scheduler: Address of a Dask scheduler, whose workers do it instead (docs/scale_out.md).
        begin: Where to start, as a fraction of each drive's frames; state is empty there.
        end: Where to stop.
        out: Write metrics.json, report.html and the predictions as bags into this folder.
        video: Write the drives with what was predicted drawn upon them, an .mp4 file.
        threshold: Collision probability from which on it counts as an alarm.
        seed: Of the resampling behind the confidence intervals.
        float_checkpoint: float.safetensors of crnn-snn train, to compare the first model with.
        steering_topic: True steering (Float32, rad), if a bag has it.
        collision_topic: True collision label (Float32, 0 or 1), if a bag has it.
        image_topic: Needed only where a bag has several image topics.
        camera: How the camera is mounted, for a model that must be told it; whatever the bag says.
        engine: auto, stepwise, folded, native, compiled, cuda or collapsed.
        device: auto, cpu or cuda.
        live: Instead play one drive into a node over DDS, in lockstep, and compare every answer
            with the offline one, number for number (exit code 1 on any difference): "own" starts a
            node for it; "running" takes one that runs with use_sim_time and stamped set.
        json: One JSON object on stdout.
    """
    from crnn_snn_ros.evaluation import drives
    from crnn_snn_ros.evaluation.replay_many import Candidate, empty_recording, replay_drives
    from crnn_snn_ros.evaluation.replay_output import refuse_existing
    from crnn_snn_ros.io.processes import Workers

    _check_shares(begin, end, threshold)
    _check_outputs(bags, compare, video)
    workers = Workers(jobs, scheduler)
    if live != "no" and (len(bags) != 1 or compare or out or video):
        raise ConfigError("--live plays one bag into one model, and writes no --out and no --video")
    chosen = [drives.choose(bag, image_topic, begin, end) for bag in bags]
    if out is not None:
        import crnn_snn_ros.evaluation.report.page  # noqa: F401  # what is missing is said now

        refuse_existing(out, 1 + len(compare))
    single_thread()
    candidates = [Candidate(model, engine, device, float_checkpoint)]
    candidates += [Candidate(other, engine, device) for other in compare]
    mount = camera.mount(candidates[0].pipeline().contract.fov_deg)
    chosen = [drive._replace(mount=mount) for drive in chosen]
    if live != "no":  # a node takes the robot to turn as it says itself; so does what it is held to
        return _live(model if live == "own" else None, candidates[0].pipeline(), chosen[0], json)
    candidates[0].original()  # what is wrong with it is said now
    moves = any(one.pipeline().contract.steady for one in candidates)
    chosen = [drive._replace(moves=moves) for drive in chosen]
    recordings = [empty_recording(candidate) for candidate in candidates]
    interrupted = False
    total = sum(drive.last - drive.first for drive in chosen) * len(candidates)
    try:
        with progress_bar(total, quiet=json) as bar:
            advance = partial(bar.advance, bar.task_ids[0])
            replay_drives(candidates, chosen, workers, advance, recordings)
    except KeyboardInterrupt:
        if not len(recordings[0]):
            raise
        interrupted = True
    done = _judge(
        candidates, recordings, chosen, (steering_topic, collision_topic), threshold, seed
    )
    results = [dict(one.summary) for one in done]
    if json:
        print_json(_as_json(results) | ({"interrupted": True} if interrupted else {}))
    else:
        title = f"{model} on {', '.join(str(bag) for bag in bags[:3])}"
        title += f" and {len(bags) - 3} more" if len(bags) > 3 else ""
        print_replay(f"{title}, until it was interrupted" if interrupted else title, results[0])
        if "difference" in results[-1]:
            print_comparison([one.name for one in done], results)
    if interrupted:
        raise KeyboardInterrupt
    _write(done, out, video)
    return 0


def _check_shares(begin: float, end: float, threshold: float) -> None:
    if not 0.0 <= begin < end <= 1.0:
        raise ConfigError(f"--begin {begin} and --end {end} must satisfy 0 <= begin < end <= 1")
    if not 0.0 < threshold <= 1.0:
        raise ConfigError(f"--threshold is {threshold}; it must lie above 0 and not above 1")


def _check_outputs(bags: tuple[Path, ...], compare: tuple[Path, ...], video: Path | None) -> None:
    if not bags:
        raise ConfigError("replay needs a bag to replay: crnn-snn replay MODEL BAG...")
    if len(compare) > MOST_COMPARED:
        raise ConfigError(f"--compare takes at most {MOST_COMPARED} models, got {len(compare)}")
    if video is not None and video.suffix != ".mp4":
        raise ConfigError(f"--video {video}: only .mp4 is written")


def _judge(
    candidates: Sequence[Candidate],
    recordings: Sequence[Recording],
    chosen: Sequence[Drive],
    topics: tuple[str, str],
    threshold: float,
    seed: int,
) -> list[Replayed]:
    """Figures of all models of which there is a frame, and how the others differ from the first."""
    from crnn_snn_ros.evaluation.comparison import as_json, differences
    from crnn_snn_ros.evaluation.drives import label
    from crnn_snn_ros.evaluation.metrics import summarise
    from crnn_snn_ros.evaluation.replay_output import Replayed
    from crnn_snn_ros.pipeline import COLLISION

    done: list[Replayed] = []
    for candidate, recording in zip(candidates, recordings, strict=True):
        if not len(recording):
            continue
        pipeline = candidate.pipeline()
        label(recording, chosen, topics, pipeline.model.frame_rate_hz)
        result = summarise(recording, pipeline.config, threshold=threshold, seed=seed)
        if done and len(recording) == len(recordings[0]):
            trained = all(
                one.model.heads[COLLISION].trained for one in (pipeline, done[0].pipeline)
            )
            found = differences(recordings[0], recording, threshold, collision=trained, seed=seed)
            result = {"model": str(candidate.model), **result, "difference": as_json(found)}
        readers = [drive.frames for drive in chosen]
        name = candidate.model.name
        done.append(Replayed(name, pipeline.card, pipeline, recording, result, readers))
    return done


def _as_json(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The first model's figures; those of the others in a list within."""
    return results[0] | ({"compare": list(results[1:])} if len(results) > 1 else {})


def _write(done: Sequence[Replayed], out: Path | None, video: Path | None) -> None:
    from crnn_snn_ros.evaluation import replay_output

    if out is None and video is None:
        return
    if out is not None:
        for number, one in enumerate(done, 1):
            sha256 = str(one.header["sha256"])
            about = {"source": "crnn-snn replay", "model": one.name, "sha256": sha256}
            replay_output.write_bags(out, one.recording, about, number)
        results = [dict(one.summary) for one in done]
        replay_output.write_metrics(out, finite(_as_json(results)))
    replay_output.write_pictures(done, folder=out, video=video)


def _live(own_model: Path | None, pipeline: Pipeline, drive: Drive, json: bool) -> int:
    try:
        from crnn_snn_ros.ros.live_replay import live_replay
    except ImportError as error:
        raise ConfigError(
            f"--live needs ROS 2 ({error}); source one, or pip install 'crnn_snn_ros[ros-jazzy]'"
        ) from None

    from crnn_snn_ros.io.preprocess import told

    mount = drive.mount or next(drive.frames()).mount
    if pipeline.contract.mount:
        told(mount)  # what is wrong with it is said here, in words of this command
    with progress_bar(drive.last - drive.first, quiet=json) as bar:
        result = live_replay(
            drive.frames(),
            pipeline,
            own_model,
            mount,
            lambda done: bar.update(bar.task_ids[0], completed=done),
        )
    if json:
        print_json(result)
    else:
        print_table(f"{drive.bag} through the node, in lockstep", result)
    frames = result["frames"]
    return 0 if result["equal_commands"] == result["equal_predictions"] == frames else 1
