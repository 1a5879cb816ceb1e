"""``crnn-snn export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import Positional

from crnn_snn_ros.cli.output import STDOUT, print_json, progress_bar, single_thread
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.mount import CameraMount, MountConfig

if TYPE_CHECKING:
    from crnn_snn_ros.core.verify import Report


def export_verb(
    model: Positional[Path],
    out: Positional[Path],
    bags: Positional[tuple[Path, ...]] = (),
    frames: int = 1000,
    seed: int = 0,
    image_topic: str | None = None,
    camera: Annotated[MountConfig, tyro.conf.arg(name="")] = MountConfig(),  # noqa: B008
    json: bool = False,
) -> int:
    """Write the quantized network as ONNX, for a Jetson, a browser or any other ONNX runtime.

    Example: crnn-snn export model.snn model.onnx drive

    The file is run by ONNX Runtime before it appears: on generated video and on the bags, with
    state, every layer against the int64 reference, integer ==. Exits with 1 at the first
    difference and then writes nothing.

    Args:
        model: The model file.
        out: The file to write; it must end in .onnx.
        bags: Recorded drives to check it on, beside the generated video.
        frames: Length of the generated video; at most this many frames of each bag.
        seed: Of the generated video.
        image_topic: Image topic of the bags; needed only where they have several.
        camera: How the camera is mounted, for a model that must be told it; whatever the bag says.
        json: One JSON object on stdout.
    """
    from crnn_snn_ros.cli.videos import check_video
    from crnn_snn_ros.export.onnx_engine import OnnxEngine
    from crnn_snn_ros.export.onnx_graph import build
    from crnn_snn_ros.io.atomic import replacing
    from crnn_snn_ros.io.model_file import read

    if out.suffix != ".onnx":
        raise ConfigError(f"{out}: an ONNX file ends in .onnx")
    if out.is_dir():
        raise ConfigError(f"{out} is a folder: give a file to write")
    check_video(frames, seed)
    single_thread()
    loaded, card = read(model)
    never = [name for name, info in loaded.heads.items() if not info.trained]
    about = {"model": model.name, "sha256": str(card["sha256"]), "never_trained": " ".join(never)}
    exported = build(loaded, about).SerializeToString()
    reports = _check(loaded, OnnxEngine(loaded.graph, exported), bags, frames, seed, image_topic,
                     camera.mount(loaded.contract.fov_deg), quiet=json)  # fmt: skip
    difference = reports[-1].first_difference
    if difference is None:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as temporary:
            temporary.write_bytes(exported)
    result = _summary(reports, out, len(exported))
    if json:
        print_json(result)
    else:
        _print(result)
    return 0 if difference is None else 1


def _check(
    loaded: Any,
    engine: Any,
    bags: tuple[Path, ...],
    frames: int,
    seed: int,
    topic: str | None,
    mount: CameraMount | None,
    *,
    quiet: bool,
) -> list[Report]:
    """Reports of the generated video and of each bag, to the first difference."""
    from crnn_snn_ros.core.verify import random_video, verify

    videos = [random_video(loaded.graph.input_shape, frames, seed)]
    if bags:
        from crnn_snn_ros.cli.videos import bag_frames

        videos += [bag_frames(bag, topic, loaded.contract, frames, mount) for bag in bags]
    reports: list[Report] = []
    with progress_bar(None if bags else frames, quiet=quiet) as bar:
        for video in videos:
            reports.append(
                verify(
                    loaded.graph,
                    {engine.name: engine},
                    video,
                    lambda done: bar.update(bar.task_ids[0], completed=done),
                )
            )
            if reports[-1].first_difference is not None:
                break
    return reports


def _summary(reports: list[Report], out: Path, size_bytes: int) -> dict[str, Any]:
    from dataclasses import asdict

    from onnxruntime import __version__ as runtime

    difference = reports[-1].first_difference
    return {
        "file": str(out),
        "size_bytes": size_bytes,
        "onnxruntime": runtime,
        "max_abs_diff": max(report.max_abs_diff for report in reports),
        "frames": sum(report.frames for report in reports),
        "activations": sum(report.activations for report in reports),
        "first_difference": None if difference is None else asdict(difference),
        "difference": None if difference is None else str(difference),
    }


def _print(result: dict[str, Any]) -> None:
    STDOUT.print(
        f"max |QANN - ONNX| = {result['max_abs_diff']} over {result['frames']} frames with state, "
        f"{result['activations']} integers, ONNX Runtime {result['onnxruntime']} on the CPU"
    )
    if result["difference"] is None:
        STDOUT.print(f"exact: wrote {result['file']}, {result['size_bytes'] / 1000:.0f} kB")
    else:
        STDOUT.print(f"FAULT: {result['difference']}; nothing was written", highlight=False)
