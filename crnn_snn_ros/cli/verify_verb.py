"""``crnn-snn verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from crnn_snn_ros.cli.output import STDOUT, print_json, progress_bar, single_thread
from crnn_snn_ros.core.mount import MountConfig

if TYPE_CHECKING:
    from crnn_snn_ros.core.verify import Report


def verify_verb(
    model: Positional[Path],
    bags: Positional[tuple[Path, ...]] = (),
    frames: int = 1000,
    engines: tuple[str, ...] | None = None,
    encoding: Literal["s-analog", "incremental"] = "s-analog",
    device: str = "auto",
    seed: int = 0,
    image_topic: str | None = None,
    camera: Annotated[MountConfig, tyro.conf.arg(name="")] = MountConfig(),  # noqa: B008
    json: bool = False,
) -> int:
    """Prove that the spiking network is the quantized one: integer ==, every layer and frame.

    Example: crnn-snn verify model.snn drive --frames 1000

    Runs on the bags, one stream each, or on generated video where none is given. Exits with 1 at
    the first fault, naming layer, frame and neuron.

    Args:
        model: The model file.
        bags: Recorded drives.
        frames: Length of the generated video; at most this many frames of each bag.
        engines: Engines to compare with the int64 reference: stepwise, folded, native where it was
            built, compiled, cuda, collapsed; the first three if none is named.
        encoding: How frames are charged: whole, or what has changed since the last one.
        device: auto, cpu or cuda.
        seed: Of the generated video.
        image_topic: Image topic of the bags; needed only where they have several.
        camera: How the camera is mounted, for a model that must be told it; whatever the bag says.
        json: One JSON object on stdout.
    """
    from crnn_snn_ros.cli.videos import bag_frames, check_video
    from crnn_snn_ros.core.device import choose_device
    from crnn_snn_ros.core.engines import engines_on, make_engine
    from crnn_snn_ros.core.errors import ConfigError
    from crnn_snn_ros.core.verify import random_video, verify
    from crnn_snn_ros.io.model_file import load

    check_video(frames, seed)
    if engines == ():
        raise ConfigError("--engines names none; leave it out for all of them")
    single_thread()
    loaded = load(model)
    names = engines_on(choose_device(device).type) if engines is None else engines
    chosen = {name: make_engine(name, loaded.graph, device, encoding) for name in names}
    mount = camera.mount(loaded.contract.fov_deg)
    videos = [bag_frames(bag, image_topic, loaded.contract, frames, mount) for bag in bags]
    if not videos:
        videos = [random_video(loaded.graph.input_shape, frames, seed)]
    reports = []
    with progress_bar(None if bags else frames, quiet=json) as bar:
        for video in videos:
            reports.append(
                verify(
                    loaded.graph,
                    chosen,
                    video,
                    lambda done: bar.update(bar.task_ids[0], completed=done),
                )
            )
            if reports[-1].first_difference is not None:
                break
    result = _summary(reports)
    if json:
        print_json(result)
    else:
        _print(reports, result)
    return 0 if result["first_difference"] is None else 1


def _summary(reports: list[Report]) -> dict[str, Any]:
    from dataclasses import asdict

    import numpy as np

    steps = np.array([count for report in reports for count in report.settle_steps])
    difference = reports[-1].first_difference
    return {
        "max_abs_diff": max(report.max_abs_diff for report in reports),
        "frames": sum(report.frames for report in reports),
        "activations": sum(report.activations for report in reports),
        "engines": list(reports[0].engines),
        "settle_steps": {
            "mean": float(steps.mean()),
            "p99": float(np.percentile(steps, 99)),
            "max": int(steps.max()),
            "bound": reports[0].bound,
        },
        "first_difference": None if difference is None else asdict(difference),
    }


def _print(reports: list[Report], result: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("layer", "max |QANN - SNN|")
    for layer in reports[0].layer_max_abs_diff:
        table.add_row(layer, str(max(r.layer_max_abs_diff.get(layer, 0) for r in reports)))
    STDOUT.print(table)
    steps = result["settle_steps"]
    engines = " and ".join(result["engines"])
    STDOUT.print(
        f"max |QANN - SNN| = {result['max_abs_diff']} over {result['frames']} frames with state, "
        f"{result['activations']} integers, engines {engines}"
    )
    STDOUT.print(
        f"settle steps: mean {steps['mean']:.2f}, p99 {steps['p99']:.0f}, max {steps['max']}, "
        f"proven bound {steps['bound']}"
    )
    difference = reports[-1].first_difference
    STDOUT.print("exact" if difference is None else f"FAULT: {difference}", highlight=False)
