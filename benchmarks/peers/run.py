"""A network of ours with our engines and with the neurons of other projects, in one run.

    python -m benchmarks.peers.run models/donkeycar_mit.snn --page docs/results/peers.md

All take the same frames in turns, on one thread or on a GPU (``--device cuda``: SpikingJelly then
runs kernels of its own); ratios of minima are printed. Of a peer whose
neuron is the same as ours, spike counts are compared after the same number of time-steps. What is
not installed (pip install spikingjelly==2.0.0 snntorch norse sinabs onnx onnxruntime openvino) is
left out, with a line that says so.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.command import write
from benchmarks.peers import int8_network
from benchmarks.peers.engine import PeerEngine
from benchmarks.peers.neurons import Peer, peers
from crnn_snn_ros.core.bounds import prove
from crnn_snn_ros.core.device import choose_device
from crnn_snn_ros.core.engines import engines_on, make_engine
from crnn_snn_ros.core.graph import MAX_THRESHOLD, Graph, Neurons, validate
from crnn_snn_ros.core.verify import random_video
from crnn_snn_ros.evaluation.bench import (
    Contender,
    float_contenders,
    machine,
    spiking,
    summary,
    take_turns,
)
from crnn_snn_ros.io.model_file import Model, load
from crnn_snn_ros.training.convert import to_graph
from crnn_snn_ros.training.random_network import LARGE, untrained

PACKAGES = ("spikingjelly", "snntorch", "norse", "sinabs", "onnxruntime", "openvino", "torch")
QANN = "QANN as exported, ONNX Runtime"
COMPARED = 4  # frames


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 1 if a neuron that is the same as ours does not count the same."""
    options = _options().parse_args(arguments)
    torch.set_num_threads(1)
    model = load(options.model) if options.model else None
    graph = model.graph if model else to_graph(untrained(LARGE))
    found, missing = peers()
    for package, reason in missing.items():
        print(f"left out: {package} is not installed ({reason})", file=sys.stderr)
    device = choose_device(options.device)
    contenders = float_contenders(graph, options.compiled, device)
    contenders |= _spiking(graph, found, options.steps, options.compiled, device)
    frames = list(random_video(graph.input_shape, options.frames))
    if device.type == "cpu":
        contenders |= {} if model is None else _exported(model)
        contenders |= _quantized(graph, frames)
    take_turns(
        list(contenders.values()), [torch.from_numpy(f[None]) for f in frames], options.repeats
    )
    same = {name: peer for name, peer in found.items() if peer.same}
    result = {
        "network": options.model.name if model else "network large (drawn weights)",
        "steps": options.steps,
        "frames": len(frames),
        "repeats": options.repeats,
        "machine": machine(),
        "device": device.type,
        "versions": {name: _version(name) for name in PACKAGES},
        "left_out": sorted(missing),
        "times": summary(contenders),
        "equal_counts": {
            name: _equal(graph, peer, options.steps, device) for name, peer in same.items()
        },
    }
    text = _page(result)
    if options.page is not None:
        write(options.page, text)
    print(json.dumps(result) if options.json else text)
    exact = [shares["powers of two"] == 1.0 for shares in result["equal_counts"].values()]
    return 0 if all(exact) else 1


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", nargs="?", type=Path, help="a *.snn; else 41 M-MAC, drawn weights")
    parser.add_argument("--steps", type=int, default=16, help="time-steps of a frame")
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--compiled", action="store_true", help="also what inductor compiles")
    parser.add_argument("--device", default="cpu", help="auto, cpu or cuda")
    parser.add_argument("--page", type=Path, help="write the table to this Markdown file")
    parser.add_argument("--json", action="store_true")
    return parser


def _spiking(
    graph: Graph, found: dict[str, Peer], steps: int, compiled: bool, device: torch.device
) -> dict[str, Contender]:
    contenders = {}
    more = {"cuda": device.type == "cuda", "compiled": compiled, "collapsed": True}
    for name in (*engines_on(device.type), *(name for name, wanted in more.items() if wanted)):
        engine = make_engine(name, graph, str(device))
        cut = steps if engine.spikes else None
        contenders[f"ours, {name}"] = Contender(spiking(engine, cut), engine.initial_carry(), True)
    for name, peer in found.items():
        peer_engine = PeerEngine(graph, peer, steps, device)
        start = peer_engine.initial_carry()
        contenders[name] = Contender(spiking(peer_engine, None), start, None)
    return contenders


def _exported(model: Model) -> dict[str, Contender]:
    """The file that ``crnn-snn export`` writes, run as its user would."""
    try:
        from crnn_snn_ros.export.onnx_engine import OnnxEngine
        from crnn_snn_ros.export.onnx_graph import build
    except ImportError as error:
        print(f"left out: {QANN} ({error})", file=sys.stderr)
        return {}
    engine = OnnxEngine(model.graph, build(model, {}).SerializeToString())

    def step(frame: Tensor, carry: Any) -> tuple[Any, Any]:
        return engine.infer(frame, carry)

    return {QANN: Contender(step, engine.initial_carry().counts, True)}


def _quantized(graph: Graph, frames: list[Any]) -> dict[str, Contender]:
    """The int8 network that other tools make of the float one."""
    try:
        return int8_network.contenders(graph, validate(graph), frames)
    except ImportError as error:
        print(f"left out: int8 network ({error})", file=sys.stderr)
        return {}


def _equal(graph: Graph, peer: Peer, steps: int, device: torch.device) -> dict[str, float]:
    """Share of spike counts that equal ours at the same time-step, over some frames with state.

    Peers divide charges by the threshold, so that ties may round otherwise; where all thresholds
    are powers of two nothing is rounded.
    """
    graphs = {"this network": graph, "powers of two": _powers(graph)}
    return {name: _share(version, peer, steps, device) for name, version in graphs.items()}


def _share(graph: Graph, peer: Peer, steps: int, device: torch.device) -> float:
    ours, theirs = make_engine("folded", graph, str(device)), PeerEngine(graph, peer, steps, device)
    carry, other = ours.initial_carry(), theirs.initial_carry()
    equal: list[Tensor] = []
    for frame in random_video(graph.input_shape, COMPARED):
        pixels = torch.from_numpy(frame[None])
        mine, carry = ours.step(pixels, carry, num_steps=steps)
        got, other = theirs.step(pixels, other)
        equal += [(mine.counts[n] == got.counts[n]).flatten() for n in mine.counts]
        other = other._replace(counts=carry.counts)  # one wrong frame must not spoil the next
    return float(torch.cat(equal).double().mean())


def _powers(graph: Graph) -> Graph:
    """The same with the nearest power of two for every threshold."""
    nodes = []
    for node in graph.nodes:
        if isinstance(node, Neurons):
            nearest = 2.0 ** np.round(np.log2(node.threshold))
            threshold = np.clip(nearest, 2, (MAX_THRESHOLD + 1) // 2).astype(np.int32)
            nodes.append(replace(node, threshold=threshold))
        else:
            nodes.append(node)
    powers = Graph(graph.input_shape, tuple(nodes))
    prove(powers)
    return powers


def _place(result: dict[str, Any]) -> str:
    machine = result["machine"]
    if result["device"] == "cuda":
        return f"On {machine['gpu']}, until the answer is on the host"
    return (
        f"One thread of {machine['cpu']} ({machine['cores']} cores, native: "
        f"{machine['native'] or 'not built'}; shared with other work, so only minima are compared)"
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _page(result: dict[str, Any]) -> str:
    times, steps = result["times"], result["steps"]
    fastest = min(
        (name for name, t in times.items() if name.startswith("ours") and "collapsed" not in name),
        key=lambda name: times[name]["ms_min"],
    )
    installed = (f"{name} {v}" for name, v in result["versions"].items() if v is not None)
    lines = [
        f"# Beside other projects: {result['network']}",
        "",
        f"Written by `python -m benchmarks.peers.run --page`. {_place(result)}; "
        f"{result['frames']} generated frames x {result['repeats']}, "
        f"all in turns; spiking ones run at most {steps} time-steps. {', '.join(installed)}.",
        "",
        f"| | ms, minimum | by float eager | by {fastest} |",
        "|---|---|---|---|",
    ]
    for name, entry in times.items():
        ratios = f"{entry['ratio_to_float_eager']:.2f} | "
        ratios += f"{entry['ms_min'] / times[fastest]['ms_min']:.2f}"
        lines.append(f"| {name} | {entry['ms_min']:.3f} | {ratios} |")
    for name, share in result["equal_counts"].items():
        lines += [
            "",
            f"{name}: {share['powers of two']:.4%} of its spike counts equal ours where thresholds "
            f"are powers of two, and {share['this network']:.4%} in this network, where it rounds.",
        ]
    if result["left_out"]:
        lines += ["", f"Not installed, left out: {', '.join(result['left_out'])}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
