"""The engine that inductor compiles equals ``stepwise``: uncompiled on any graph, compiled on one.

Not covered: the compiled code of networks larger than the one here, which ``load_pipeline`` and
``bench`` compare where it is used.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
import torch._inductor.config
from exercise_model import exercise_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import graphs, random_graph
from test_native import frames_of, run_beside

from crnn_snn_ros.core.engines import ENGINES, make_engine
from crnn_snn_ros.core.engines.compiled import CompiledEngine
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.graph import INPUT, Conv, Graph, Head, Linear, MaxPool, Neurons
from crnn_snn_ros.core.verify import random_video, verify

# Inductor uses what torch has deprecated.
torch_warns = pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
CHUNK = 4  # time-steps at a time: the fewer, the sooner they are compiled
needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None,
    reason="inductor needs a C++ compiler, and there is none here",
)


@settings(deadline=None, max_examples=40)
@given(graph=graphs(), seed=st.integers(0, 2**16), streams=st.integers(1, 3))
def test_equal_on_any_graph(graph: Graph, seed: int, streams: int) -> None:
    engine = CompiledEngine(graph, compiled=False)
    run_beside([engine], frames_of(graph, 3, seed, streams), [None, 3], trace=False)


@settings(deadline=None, max_examples=15)
@given(graph=graphs(), seed=st.integers(0, 2**16))
def test_equal_wherever_the_frame_is_cut(graph: Graph, seed: int) -> None:
    """Within a chunk of time-steps, between two, and beyond."""
    engine = CompiledEngine(graph, compiled=False)
    for num_steps in range(1, engine.bounds.settling_steps + 1):
        run_beside([engine], frames_of(graph, 2, seed), [None, num_steps], trace=False)


def test_verified_in_all_that_it_traces() -> None:
    for graph in (exercise_graph(), *(random_graph(np.random.default_rng(s)) for s in range(40))):
        engines = {"compiled": CompiledEngine(graph, compiled=False)}
        report = verify(graph, engines, random_video(graph.input_shape, 6))
        assert report.first_difference is None, str(report.first_difference)


def tiny_graph() -> Graph:
    """As little as has a convolution, a pool, a memory, and time-steps for a second chunk."""
    one = np.ones(1, np.int32)
    conv = Conv(INPUT, np.array([[[[3, -2], [1, 4]]]], np.int8))
    eye = Neurons("eye", (conv,), 0 * one, 90 * one, 0, 12)
    peak = MaxPool("peak", "eye", 2, 2)
    dense = Linear("peak", np.array([[50, -30, 20, 9]], np.int8))
    mind = Neurons("mind", (dense,), 5 * one, 60 * one, -5, 5, 50 * one)
    head = Head("steering", (Linear("mind", np.array([[7]], np.int8)),), one, 1.0)
    return Graph((1, 5, 5), (eye, peak, mind, head))


@pytest.fixture(scope="module")
def engine() -> CompiledEngine:
    return CompiledEngine(tiny_graph(), chunk=CHUNK)


@needs_compiler
@torch_warns
def test_compiled_code_is_exact(engine: CompiledEngine) -> None:
    assert engine.bounds.settling_steps > CHUNK
    frames = frames_of(engine.graph, 30, seed=1, streams=2)
    run_beside([engine], frames, [None, None, 2, 17], trace=False)
    report = verify(engine.graph, {"compiled": engine}, random_video((1, 5, 5), 60))
    assert report.first_difference is None


@needs_compiler
@torch_warns
def test_no_frame_waits_for_a_compiler(engine: CompiledEngine) -> None:
    """Neither the first one, nor another mode, dtype, number of streams, chunk or cut."""
    frames = frames_of(engine.graph, 3, streams=2)
    with torch._dynamo.config.patch(error_on_recompile=True):  # type: ignore[no-untyped-call]
        for mode in (torch.inference_mode, torch.no_grad, torch.enable_grad):
            with mode():
                carry = engine.initial_carry(2)
                for frame, cut in zip(frames, (None, 1, 17), strict=True):
                    _, carry = engine.step(frame.float(), carry, num_steps=cut)


@needs_compiler
@torch_warns
def test_several_engines_in_one_process(engine: CompiledEngine) -> None:
    """Each has its own compiled code."""
    with torch._dynamo.config.patch(recompile_limit=1):  # type: ignore[no-untyped-call]
        others = [CompiledEngine(tiny_graph(), chunk=CHUNK) for _ in range(2)]
    run_beside([engine, *others], frames_of(engine.graph, 2), [None], trace=False)


def test_only_its_name_chooses_it() -> None:
    assert "compiled" not in ENGINES
    assert make_engine("auto", exercise_graph(), "cpu").name != "compiled"


@torch_warns
def test_refused_in_one_line_where_there_is_no_compiler() -> None:
    missing = {"cpp.cxx": (None, "no-such-compiler"), "fx_graph_cache": False}
    with (
        torch._inductor.config.patch(missing),
        pytest.raises(ConfigError, match="engine 'compiled' cannot be compiled here: ") as refused,
    ):
        make_engine("compiled", tiny_graph())
    line = str(refused.value)
    assert "\n" not in line
    assert "no-such-compiler" in line
    assert "install a C++ compiler (apt-get install g++), or choose native or folded" in line
