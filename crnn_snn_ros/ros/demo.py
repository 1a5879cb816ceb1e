"""`make demo`: a spiking network drives through simulated courses over real DDS, with no robot.

    simulator --image--> collision_avoidance --cmd_vel--> simulator        each a process
        +--------------------+--> this process: live table, a trace of each course, summary.json

The two run in lockstep, so that a slow machine takes longer but drives the same way.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from crnn_snn_ros.core.errors import ConfigError, CrnnSnnError, ModelFileError
from crnn_snn_ros.core.mount import CameraMount, small_robot
from crnn_snn_ros.core.types import STOP
from crnn_snn_ros.io.atomic import replacing
from crnn_snn_ros.io.model_file import Model, load
from crnn_snn_ros.ros import lockstep
from crnn_snn_ros.ros.demo_display import display
from crnn_snn_ros.ros.parameters import model_path
from crnn_snn_ros.ros.process import BAD_INPUT, DONE, FAILED
from crnn_snn_ros.ros.witness import Witness
from crnn_snn_ros.sim.session import Entry, parse_playlist, pictures_for
from crnn_snn_ros.sim.suites import SUITES, driving
from crnn_snn_ros.sim.trace import Trace, draw

MODEL = "default.snn"
COURSES = "static:2000 movers:2001 movers:2002"  # two corridors and a room
PATIENCE_S = 60.0  # for the next frame: a course takes a second to make on a busy machine
LATENCIES = ("latency_p50_ms", "latency_p99_ms")


class Run(NamedTuple):
    """What the processes did."""

    traces: list[Trace]
    report: dict[str, str]  # last diagnostics of the node
    final_stop: bool
    exit_codes: tuple[int, int]  # of node and simulator
    wall_s: float


def main(args: Sequence[str] | None = None) -> int:
    """Run the demonstration.

    Returns:
        Exit code: 0 every frame was answered and settled, and the node ended with a stop; 1 not
        so; 2 it cannot run here. Whether a course was mastered is told, not a condition: that is
        the model's merit.
    """
    parser = argparse.ArgumentParser(prog="python -m crnn_snn_ros.ros.demo", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--model", default=MODEL, help="model file, or name of a shipped one")
    parser.add_argument("--courses", default=COURSES, help="SUITE:SEED ..., suites as of simulate")
    parser.add_argument("--speed", type=float, default=1.0, help="where the way is free, m/s")
    parser.add_argument("--out", type=Path, default=Path("out/demo"))
    options = parser.parse_args(args)
    try:
        model, courses = model_path(options.model), parse_playlist(options.courses)
        if not courses:
            raise ConfigError("--courses names none")
        options.out.mkdir(parents=True, exist_ok=True)
        run = drive(model, courses, options.speed, options.out)
        summary = {"model": str(model), **summarize(run)}
        _write(options.out, run.traces, summary)
        reported = _report(options.out / "report.html", run.traces, model)
    except (ConfigError, ModelFileError, OSError) as error:
        return _refuse(error, BAD_INPUT)
    except CrnnSnnError as error:
        return _refuse(error, FAILED)
    except KeyboardInterrupt:
        return _refuse("interrupted", FAILED)
    _print(summary, options.out)
    if reported:
        print(f"Look at: {options.out / 'report.html'}")
    return DONE if summary["held"] else FAILED


def drive(model: Path, courses: Sequence[Entry], speed_mps: float, out: Path) -> Run:
    """Drive courses with a node and a simulator of their own.

    Raises:
        ConfigError: one of them refuses to run, with its reason.
        ModelFileError: the model cannot be trusted.
        CrnnSnnError: one of them fails or falls silent.
    """
    begun_s = time.monotonic()
    network = load(model)
    mount = small_robot(network.contract.fov_deg)
    world_told = world_settings(courses, network, mount)
    with ExitStack() as stack:
        kinds = [SUITES[entry.suite].course(entry.seed).kind for entry in courses]
        screen = stack.enter_context(display(courses, kinds))
        witness = stack.enter_context(closing(Witness(screen.row)))
        node_log, world_log = out / "node.log", out / "simulator.log"
        world = stack.enter_context(
            lockstep.started("crnn_snn_ros.ros.simulator_node", world_log, world_told)
        )
        settings = {"model": str(model), **node_settings(speed_mps, mount)}
        node = stack.enter_context(lockstep.node_process(node_log, settings))

        def check() -> None:
            lockstep.check(node, node_log)
            lockstep.check(world, world_log)

        def done() -> bool:
            check()
            screen.results([trace.outcome for trace in witness.traces])
            return len(witness.traces) == len(courses)

        witness.begin(check, PATIENCE_S)
        witness.listen_until(done, PATIENCE_S, "nothing came from simulator and node")
        total = sum(len(trace.rows) for trace in witness.traces)
        witness.listen_until(
            lambda: int(witness.report.get("answered", 0)) >= total, 10.0, "no diagnostics"
        )
        codes = _end(node, witness), _end(world, witness)
        stopped = witness.last_command == STOP
        wall_s = time.monotonic() - begun_s
        return Run(witness.traces, witness.report, stopped, codes, wall_s)


def world_settings(courses: Sequence[Entry], model: Model, mount: CameraMount) -> dict[str, str]:
    """Parameters of the simulator: the model's frames; it begins when the witness is there."""
    return {
        "playlist": " ".join(map(str, courses)),
        **{name: repr(value) for name, value in pictures_for(model).items()},
        "lockstep": "true",
        "stamped": "true",
        "paused": "true",
        **lockstep.mounted(mount),
    }


def node_settings(speed_mps: float, mount: CameraMount) -> dict[str, str]:
    """Parameters of the node, beside those of lockstep; as ``crnn-snn simulate`` drives."""
    control = {name: json.dumps(value) for name, value in asdict(driving(float(speed_mps))).items()}
    return control | lockstep.mounted(mount)


def summarize(run: Run) -> dict[str, Any]:
    """Figures of a run; ``held`` tells whether all that must hold did."""
    rows = np.concatenate([trace.rows for trace in run.traces])
    not_settled = int((~rows["settled"]).sum())
    return {
        "held": run.final_stop and not not_settled and run.exit_codes == (DONE, DONE),
        "courses": [_course(trace) for trace in run.traces],
        "succeeded": sum(trace.outcome.succeeded for trace in run.traces),
        "frames_answered": len(rows),
        "not_settled": not_settled,
        "settle_steps_mean": round(float(rows["settle_steps"].mean()), 2),
        "settle_steps_max": int(rows["settle_steps"].max()),
        "spikes_mean": round(float(rows["spikes"].mean())),
        **{name: float(run.report[name]) for name in LATENCIES},
        "final_stop": run.final_stop,
        "exit_codes": {"node": run.exit_codes[0], "simulator": run.exit_codes[1]},
        "wall_s": round(run.wall_s, 1),
    }


def _course(trace: Trace) -> dict[str, Any]:
    outcome = trace.outcome
    return {
        "suite": trace.suite,
        **outcome._asdict(),
        "succeeded": outcome.succeeded,
        "mean_speed": round(outcome.distance_m / outcome.time_s, 3) if outcome.time_s else 0.0,
        "frames": len(trace.rows),
        "trace": f"{trace.suite}_{outcome.seed}.npz",
        "map": f"{trace.suite}_{outcome.seed}.png",
    }


def _end(process: subprocess.Popen[bytes], witness: Witness) -> int:
    """End a process as Ctrl-C does, and listen to its last word."""
    process.send_signal(signal.SIGINT)
    witness.listen_until(lambda: process.poll() is not None, 20.0, "a process did not end")
    witness.listen_for(0.3)  # what is still on its way
    return process.wait()


def _write(out: Path, traces: Sequence[Trace], summary: dict[str, Any]) -> None:
    for trace, told in zip(traces, summary["courses"], strict=True):
        trace.save(out / told["trace"])
        _, png = cv2.imencode(".png", draw(trace)[:, :, ::-1])
        with replacing(out / told["map"]) as temporary:
            temporary.write_bytes(png.tobytes())
    with replacing(out / "summary.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=2) + "\n")


def _report(path: Path, traces: Sequence[Trace], model: Path) -> bool:
    """Write the report, where what it is made with is installed."""
    try:
        from crnn_snn_ros.evaluation.report.closed_loop import write_traces
    except ImportError as error:
        print(f"no report.html: {error}; pip install 'crnn_snn_ros[report]'", file=sys.stderr)
        return False
    subtitle = f"{model.name} as a spiking network in its node, over DDS in lockstep"
    write_traces(path, traces, model, title="Demonstration in the simulator", subtitle=subtitle)
    return True


def _print(summary: dict[str, Any], out: Path) -> None:
    for name in ("frames_answered", "not_settled", "settle_steps_mean", "settle_steps_max",
                 *LATENCIES, "final_stop", "wall_s"):  # fmt: skip
        print(f"{name:>26}  {summary[name]}")
    count = len(summary["courses"])
    print(f"{summary['succeeded']} of {count} courses without contact, to the end")
    print(f"Written: {out / 'summary.json'}, and a trace and a map of each course beside it")


def _refuse(error: Exception | str, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
