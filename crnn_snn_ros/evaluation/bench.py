"""Time per frame of the engines beside the ordinary network, on this machine, in one run.

All take turns frame by frame, so that whatever else the machine does falls on all alike; ratios of
minima are what to compare, as the minimum is the time least disturbed.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crnn_snn_ros.core.engines.base import Engine
from crnn_snn_ros.core.engines.cuda import record_graph
from crnn_snn_ros.core.engines.native import usual_path
from crnn_snn_ros.core.graph import Graph
from crnn_snn_ros.core.types import Frame
from crnn_snn_ros.core.verify import verify
from crnn_snn_ros.evaluation.float_network import FloatNetwork
from crnn_snn_ros.pipeline import Pipeline

EAGER, COMPILED, GRAPH = "float_eager", "float_compiled", "float_graph"
CHECKED_FRAMES = 12  # compared with the int64 reference, apart from the timing
WARM_UP = 5

Heads = dict[str, Tensor]
Step = Callable[[Tensor, Any], tuple[Heads, Any]]  # frame, state -> heads, state
Record = Callable[[Callable[[], Any]], tuple[Callable[[], None], Any]]


@dataclass
class Contender:
    """Whoever takes turns."""

    step: Step
    start: Any  # state before the first frame
    exact: bool | None  # None: it is not meant to be
    state: Any = None
    times_s: list[float] = field(default_factory=list)

    def run(self, frame: Tensor) -> None:
        """Take one frame, and the time until the answer is on the host."""
        begin = time.perf_counter()
        heads, self.state = self.step(frame, self.state)
        for head in heads.values():
            head.cpu()
        self.times_s.append(time.perf_counter() - begin)


def bench(
    graph: Graph,
    engines: Mapping[str, Engine],
    frames: Sequence[NDArray[np.int8]],
    *,
    repeats: int = 3,
    compiled: bool = False,
    steps: Sequence[int] = (),
    device: str | torch.device = "cpu",
    progress: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Time the engines and the float network on the same stream of frames.

    Args:
        graph: The integer network.
        engines: Engines by name.
        frames: A stream of inputs, int8 (C, H, W) each; at least one.
        repeats: How often the stream is run, from empty state each time.
        compiled: Time the float network compiled by inductor as well, which takes a minute.
        device: Where the float network runs; on CUDA it is also timed recorded as a CUDA graph.
        steps: Time each engine that spikes also when cut at these time-steps; exact there means
            that every frame had settled.
        progress: Called after each frame with the number done.

    Returns:
        ``engines`` (time and ratio of each contender, by name), ``settle_steps``, and ``sweep``:
        what is lost at each of ``steps``.
    """
    contenders = _contenders(graph, engines, frames, steps)
    contenders |= float_contenders(graph, compiled, torch.device(device))
    inputs = [torch.from_numpy(frame[None]) for frame in frames]
    take_turns(list(contenders.values()), inputs, repeats, progress)
    return {
        "frames": len(frames),
        "repeats": repeats,
        "settle_steps": _settle_steps(engines, inputs),
        "sweep": [_cut_short(graph, _spiking_one(engines), inputs, cut) for cut in steps],
        "engines": summary(contenders),
    }


def take_turns(
    turns: Sequence[Contender],
    inputs: Sequence[Tensor],
    repeats: int,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Run a stream of frames (1, C, H, W) with all of them, frame by frame, in changing order."""
    order = np.random.default_rng(0)
    with torch.inference_mode():
        for frame in inputs[:WARM_UP]:
            for contender in turns:
                contender.step(frame, contender.start)
        for repeat in range(repeats):
            for contender in turns:
                contender.state = contender.start
            for number, frame in enumerate(inputs):
                for turn in order.permutation(len(turns)):  # nobody always follows the same one
                    turns[turn].run(frame)
                if progress is not None:
                    progress(repeat * len(inputs) + number + 1)


def machine() -> dict[str, Any]:
    """What the times were taken on."""
    names = []
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            names = [line.split(":")[1].strip() for line in info if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "native": usual_path(),  # instruction set
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _contenders(
    graph: Graph,
    engines: Mapping[str, Engine],
    frames: Sequence[NDArray[np.int8]],
    steps: Sequence[int],
) -> dict[str, Contender]:
    found: dict[str, Contender] = {}
    some = frames[:CHECKED_FRAMES]
    for name, engine in engines.items():
        exact = verify(graph, {name: engine}, some).first_difference is None
        found[name] = Contender(spiking(engine, None), engine.initial_carry(), exact)
        for cut in steps if engine.spikes else ():
            settled = _settles(engine, frames, cut)
            start = engine.initial_carry()
            found[f"{name} T={cut}"] = Contender(spiking(engine, cut), start, exact and settled)
    return found


def float_contenders(graph: Graph, compiled: bool, device: torch.device) -> dict[str, Contender]:
    """The ordinary network, as fast as torch runs it.

    Args:
        graph: The integer network, of which it has the shapes and weights.
        compiled: By inductor as well.
        device: Where; on CUDA also recorded as a CUDA graph.
    """
    eager = FloatNetwork(graph, device).eval()
    found = {EAGER: Contender(eager, {}, None)}
    if compiled:
        found[COMPILED] = Contender(torch.compile(eager, dynamic=False), {}, None)
    if device.type == "cuda":
        found[GRAPH] = Contender(recorded(eager, graph.input_shape), None, None)
    return found


def recorded(network: FloatNetwork, shape: Sequence[int], record: Record = record_graph) -> Step:
    """A float network as one CUDA graph, whose state stays on the device from frame to frame.

    Args:
        network: What is recorded.
        shape: Of a frame, (C, H, W).
        record: As of ``CudaEngine``.
    """
    given = torch.zeros(1, *shape, dtype=torch.int8, device=network.device)
    with torch.no_grad():
        _, state = network(given, {})

        def run() -> Heads:
            heads: Heads
            heads, after = network(given, state)
            for name, value in after.items():
                state[name].copy_(value)
            return heads

        replay, heads = record(run)

    def step(frame: Tensor, before: Any) -> tuple[Heads, Any]:
        if before is None:
            for value in state.values():
                value.zero_()
        given.copy_(frame)
        replay()
        return heads, state

    return step


def spiking(engine: Engine, cut: int | None) -> Step:
    """An engine's step, cut at a time-step or whole."""

    def step(frame: Tensor, carry: Any) -> tuple[Heads, Any]:
        result, carry = engine.step(frame, carry, num_steps=cut)
        return result.heads, carry

    return step


def _settles(engine: Engine, frames: Sequence[NDArray[np.int8]], cut: int) -> bool:
    carry = engine.initial_carry()
    for frame in frames:
        _, carry = engine.step(torch.from_numpy(frame[None]), carry, num_steps=cut)
    return bool(carry.exact.all())


def _spiking_one(engines: Mapping[str, Engine]) -> Engine:
    """The first engine that spikes, for all settle alike; the first of all if none does."""
    return next((e for e in engines.values() if e.spikes), next(iter(engines.values())))


def _cut_short(graph: Graph, engine: Engine, inputs: Sequence[Tensor], cut: int) -> dict[str, Any]:
    """What a frame loses when it is cut, all frames before it having settled."""
    carry, settled = engine.initial_carry(), []
    errors: dict[str, list[float]] = {head.name: [] for head in graph.heads()}
    for frame in inputs:
        short, _ = engine.step(frame, carry, num_steps=cut)
        whole, carry = engine.step(frame, carry)
        settled.append(bool(short.settled))
        for head in graph.heads():
            difference = (short.heads[head.name] - whole.heads[head.name]) * head.scale
            errors[head.name].append(float(difference.abs().max()))
    mean = {name: float(np.mean(values)) for name, values in errors.items()}
    return {"steps": cut, "settled_fraction": float(np.mean(settled)), "mean_error": mean}


def throughput(
    frames: Iterable[Frame], pipeline: Pipeline, progress: Callable[[int], object] | None = None
) -> dict[str, Any]:
    """Frames per second from where frames come from to commands, as a replay runs them.

    Args:
        frames: Camera images; reading and decoding them is part of the time.
        pipeline: The model with its engine.
        progress: Called after each frame with the number done.
    """
    state, done = pipeline.initial_state(), 0
    begin = time.perf_counter()
    for frame in frames:
        _, state = pipeline.step(frame, state)
        done += 1
        if progress is not None:
            progress(done)
    elapsed_s = time.perf_counter() - begin
    return {"engine": pipeline.engine.name, "frames": done, "fps": done / elapsed_s}


def _settle_steps(engines: Mapping[str, Engine], inputs: Sequence[Tensor]) -> dict[str, float]:
    engine = _spiking_one(engines)
    carry, steps = engine.initial_carry(), []
    for frame in inputs:
        result, carry = engine.step(frame, carry)
        steps.append(int(result.settle_steps[0]))
    bound = engine.bounds.settling_steps
    return {"mean": float(np.mean(steps)), "max": max(steps), "bound": bound}


def summary(contenders: Mapping[str, Contender]) -> dict[str, dict[str, Any]]:
    """Times and ratios by name; ``EAGER`` must be among them."""
    best = {name: min(contender.times_s) for name, contender in contenders.items()}
    return {
        name: {
            "ms_min": best[name] * 1e3,
            "ms_median": float(np.median(contender.times_s)) * 1e3,
            "ms_p99": float(np.percentile(contender.times_s, 99)) * 1e3,
            "ratio_to_float_eager": best[name] / best[EAGER],
            "ratio_to_float_compiled": best[name] / best[COMPILED] if COMPILED in best else None,
            "ratio_to_float_graph": best[name] / best[GRAPH] if GRAPH in best else None,
            "exact": contender.exact,
        }
        for name, contender in contenders.items()
    }
