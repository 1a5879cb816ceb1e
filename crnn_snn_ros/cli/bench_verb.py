"""``crnn-snn bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tyro.conf import Positional

from crnn_snn_ros.cli.output import STDOUT, print_json, progress_bar


def bench_verb(
    model: Positional[Path],
    bag: Positional[Path | None] = None,
    frames: int = 100,
    repeats: int = 3,
    engines: tuple[str, ...] = (),
    cuts: tuple[int, ...] = (),
    compiled: bool = False,
    device: str = "cpu",
    threads: int = 1,
    image_topic: str | None = None,
    json: bool = False,
) -> int:
    """Time the engines beside the ordinary float network, frame by frame in turns.

    Example: crnn-snn bench model.snn drive --compiled

    The float network has the model's shapes and weights; the ratio of minima is what to compare.
    Exits with 1 if an engine is not exact.

    Args:
        model: The model file.
        bag: A recorded drive; generated video where none is given.
        frames: Length of the stream.
        repeats: How often the stream is run.
        engines: Engines to time; all that this machine can run, if none is named.
        cuts: Time every engine also when cut at these time-steps.
        compiled: Also the float network compiled by inductor; needs a C++ compiler and a minute.
        device: auto, cpu or cuda: of the engines, the float network being on the CPU.
        threads: Threads of torch.
        image_topic: Image topic of the bag; needed only where it has several.
        json: One JSON object on stdout.
    """
    import torch

    from crnn_snn_ros.core.device import choose_device
    from crnn_snn_ros.core.engines import BY_NAME_ONLY, engines_on, make_engine
    from crnn_snn_ros.core.errors import ConfigError, DataError
    from crnn_snn_ros.evaluation.bench import bench, machine
    from crnn_snn_ros.io.model_file import load

    for name, value in (("frames", frames), ("repeats", repeats), ("threads", threads)):
        if value < 1:
            raise ConfigError(f"--{name} is {value}, must be at least 1")
    if cuts and min(cuts) < 1:
        raise ConfigError(f"--cuts has {min(cuts)}, must be at least 1")
    torch.set_num_threads(threads)
    loaded = load(model)
    names = engines or (*engines_on(choose_device(device).type), *BY_NAME_ONLY)
    chosen = {name: make_engine(name, loaded.graph, device) for name in names}
    video = _video(loaded, bag, image_topic, frames)
    if not video:
        raise DataError(f"bag {bag} has no frames")
    with progress_bar(len(video) * repeats, quiet=json) as bar:
        result = bench(
            loaded.graph,
            chosen,
            video,
            repeats=repeats,
            compiled=compiled,
            cuts=cuts,
            progress=lambda done: bar.update(bar.task_ids[0], completed=done),
        )
    result = {"machine": machine(), "threads": threads, "model": str(model), **result}
    if json:
        print_json(result)
    else:
        _print(result)
    return 1 if any(entry["exact"] is False for entry in _whole(result)) else 0


def _video(loaded: Any, bag: Path | None, topic: str | None, frames: int) -> list[Any]:
    from crnn_snn_ros.cli.videos import bag_frames
    from crnn_snn_ros.core.verify import random_video

    if bag is None:
        return list(random_video(loaded.graph.input_shape, frames))
    return list(bag_frames(bag, topic, loaded.contract, frames))


def _whole(result: dict[str, Any]) -> list[dict[str, Any]]:
    """What must be exact: all that was not cut on purpose."""
    return [entry for name, entry in result["engines"].items() if " T=" not in name]


def _print(result: dict[str, Any]) -> None:
    from rich.table import Table

    steps = result["settle_steps"]
    STDOUT.print(
        f"{result['model']} on {result['machine']['cpu']}, threads: {result['threads']}; "
        f"{result['frames']} frames x {result['repeats']}, settle steps: mean {steps['mean']:.1f}, "
        f"max {steps['max']}, bound {steps['bound']}",
        highlight=False,
    )
    table = Table(title="ms per frame, and minimum by that of the float network")
    table.add_column(min_width=max(map(len, result["engines"])), no_wrap=True)
    for heading in ("min", "median", "p99", "/ eager", "/ compiled", "exact"):
        table.add_column(heading)
    for name, entry in result["engines"].items():
        compiled = entry["ratio_to_float_compiled"]
        table.add_row(
            name,
            *(f"{entry[key]:.3f}" for key in ("ms_min", "ms_median", "ms_p99")),
            f"{entry['ratio_to_float_eager']:.2f}",
            "" if compiled is None else f"{compiled:.2f}",
            {True: "yes", False: "NO", None: ""}[entry["exact"]],
        )
    STDOUT.print(table)
