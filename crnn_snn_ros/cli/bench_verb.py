"""``crnn-snn bench``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from crnn_snn_ros.cli.bench_table import markdown, print_bench
from crnn_snn_ros.cli.output import print_json, progress_bar
from crnn_snn_ros.core.mount import CameraMount, MountConfig

if TYPE_CHECKING:
    import torch

    from crnn_snn_ros.core.engines.base import Engine
    from crnn_snn_ros.core.graph import Graph
    from crnn_snn_ros.io.model_file import Model


def bench_verb(
    model: Positional[Path | None] = None,
    bag: Positional[Path | None] = None,
    network: Literal["none", "large"] = "none",
    frames: int = 100,
    repeats: int = 3,
    engines: tuple[str, ...] = (),
    steps: tuple[int, ...] = (),
    compiled: bool = False,
    device: str = "cpu",
    threads: tuple[int, ...] = (1,),
    node: int = 0,
    image_topic: str | None = None,
    camera: Annotated[MountConfig, tyro.conf.arg(name="")] = MountConfig(),  # noqa: B008
    out: Path | None = None,
    json: bool = False,
) -> int:
    """Time the engines beside the ordinary float network, frame by frame in turns.

    Example: crnn-snn bench model.snn drive --steps 4 8 16 --compiled

    The float network has the model's shapes and weights; the ratio of minima is what to compare.
    Also says which encoding of the frames is faster, and with a bag how many frames per second a
    replay runs. Exits with 1 if an engine is not exact.

    Args:
        model: The model file.
        bag: A recorded drive; generated video where none is given.
        network: In place of a model: one of 41 million multiply-accumulates with drawn weights.
        frames: Length of the stream.
        repeats: How often the stream is run.
        engines: Engines to time; without a name all but compiled.
        steps: Time every engine also when cut at these time-steps, and say what is lost.
        compiled: Also the float network and the engine compiled by inductor; needs a C++ compiler
            and minutes.
        device: auto, cpu or cuda, of all that is timed but the node.
        threads: Threads of torch; of several numbers the first is the main result.
        node: Also send so many 640x480 images to a running node over DDS, at 30 Hz, and as many to
            one that computes nothing; needs ROS.
        image_topic: Image topic of the bag; needed only where it has several.
        camera: How the camera is mounted, for a model that must be told it; whatever the bag says.
        out: Write the tables to this Markdown file as well.
        json: One JSON object on stdout.
    """
    import torch

    from crnn_snn_ros.core.device import choose_device
    from crnn_snn_ros.core.errors import ConfigError
    from crnn_snn_ros.evaluation.bench import bench, machine

    for name, values in (
        *(("frames", (frames,)), ("repeats", (repeats,))),
        *(("steps", steps), ("threads", threads or (0,))),
        *((("node", (node,)),) if node else ()),
    ):
        if min(values, default=1) < 1:
            raise ConfigError(f"--{name} has {min(values)}, must be at least 1")
    loaded, graph = _network(model, network)
    torch.set_num_threads(threads[0])
    place = choose_device(device)
    chosen = _engines(graph, engines, place, compiled)
    mount = None if loaded is None else camera.mount(loaded.contract.fov_deg)
    video = _video(graph, loaded, bag, image_topic, frames, mount)
    results: list[dict[str, Any]] = []
    with progress_bar(len(video) * repeats * len(threads), quiet=json) as bar:
        for number in threads:
            torch.set_num_threads(number)
            results.append(
                bench(
                    graph,
                    chosen,
                    video,
                    repeats=repeats,
                    compiled=compiled,
                    steps=steps,
                    device=place,
                    progress=lambda _: bar.advance(bar.task_ids[0]),
                )
            )
    result = {
        "machine": machine(),
        "threads": threads[0],
        "device": place.type,
        "model": str(model) if loaded is not None else f"network {network}",
        **results[0],
        "more_threads": {n: r["engines"] for n, r in zip(threads[1:], results[1:], strict=True)},
        "encodings": _encodings(graph, chosen, video, place, repeats),
        "replay": None
        if model is None or bag is None
        else _replay(model, bag, image_topic, frames, mount),
        "node": _node(model, node) if node else None,
    }
    if out is not None:
        _write(out, result)
    if json:
        print_json(result)
    else:
        print_bench(result)
    entries = [entry for found in results for entry in _whole(found)]
    return 1 if any(entry["exact"] is False for entry in entries) else 0


def _network(model: Path | None, network: str) -> tuple[Model | None, Graph]:
    from crnn_snn_ros.core.errors import ConfigError

    if (model is None) == (network == "none"):
        raise ConfigError("name a model file, or --network large, and not both")
    if model is not None:
        from crnn_snn_ros.io.model_file import load

        loaded = load(model)
        return loaded, loaded.graph
    from crnn_snn_ros.training.convert import to_graph
    from crnn_snn_ros.training.random_network import LARGE, untrained

    return None, to_graph(untrained(LARGE))


def _engines(
    graph: Graph, names: tuple[str, ...], device: torch.device, compiled: bool
) -> dict[str, Engine]:
    from crnn_snn_ros.core.engines import engines_on, make_engine

    fused = ("cuda",) if device.type == "cuda" else ()
    chosen = list(names or (*engines_on(device.type), *fused, "collapsed"))
    if compiled and "compiled" not in chosen:
        chosen.append("compiled")
    return {name: make_engine(name, graph, str(device)) for name in chosen}


def _video(
    graph: Graph,
    model: Model | None,
    bag: Path | None,
    topic: str | None,
    frames: int,
    mount: CameraMount | None,
) -> list[Any]:
    from crnn_snn_ros.cli.videos import bag_frames
    from crnn_snn_ros.core.errors import ConfigError, DataError
    from crnn_snn_ros.core.verify import random_video

    if bag is None:
        return list(random_video(graph.input_shape, frames))
    if model is None:
        raise ConfigError("--network has no camera; leave out the bag")
    video = list(bag_frames(bag, topic, model.contract, frames, mount))
    if not video:
        raise DataError(f"bag {bag} has no frames")
    return video


def _encodings(
    graph: Graph, engines: dict[str, Engine], video: list[Any], device: torch.device, repeats: int
) -> dict[str, Any] | None:
    """By the fastest of the engines that knows both, if there is one and a change to be charged."""
    from crnn_snn_ros.core.engines import engines_on
    from crnn_snn_ros.evaluation.encodings import compare

    known = [name for name in engines_on(device.type) if name in engines]
    if not known or len(video) < 2:
        return None
    return compare(graph, known[-1], video, device=str(device), repeats=repeats)


def _node(model: Path | None, frames: int) -> dict[str, Any]:
    from crnn_snn_ros.cli.output import single_thread
    from crnn_snn_ros.core.errors import ConfigError
    from crnn_snn_ros.pipeline import load_pipeline

    if model is None:
        raise ConfigError("--network is no model that a node could load; leave out --node")
    try:
        from crnn_snn_ros.ros.latency import latency
    except ImportError as error:
        raise ConfigError(f"--node needs ROS 2: {error}; source it, or leave it out") from None
    single_thread()
    return latency(model, load_pipeline(model, "auto", "cpu"), frames)


def _replay(
    model: Path, bag: Path, topic: str | None, frames: int, mount: CameraMount | None
) -> dict[str, Any]:
    """On one thread, with the engine that a node would take."""
    from itertools import islice

    from crnn_snn_ros.cli.output import single_thread
    from crnn_snn_ros.data.bags import read_frames
    from crnn_snn_ros.evaluation.bench import throughput
    from crnn_snn_ros.pipeline import load_pipeline

    single_thread()
    seen = islice(read_frames(bag, topic, mount), frames)
    return throughput(seen, load_pipeline(model, "auto", "cpu"))


def _whole(result: dict[str, Any]) -> list[dict[str, Any]]:
    """What must be exact: all that was not cut on purpose."""
    return [entry for name, entry in result["engines"].items() if " T=" not in name]


def _write(out: Path, result: dict[str, Any]) -> None:
    from crnn_snn_ros.io.atomic import replacing

    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as temporary:
        temporary.write_text(markdown(result), encoding="utf-8")
