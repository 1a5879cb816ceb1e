"""A model in the closed loop: every suite, every policy, and what more or fewer bits would give.

    python -m benchmarks.closed_loop.run models/default.snn out/dagger/round3/float.safetensors \
        DRIVE --also out/bits2.snn --processes 2 --page docs/results/closed_loop.md

Every figure is what a command of ``crnn-snn`` says. One whose result is in ``--out`` is not run
again, so that a run may be cut off and repeated (``--out`` elsewhere begins anew). DRIVE is a
recorded drive of the validation seeds, on which steps and times are taken.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.closed_loop.page import write_page
from benchmarks.command import kept_json, write
from crnn_snn_ros.core.graph import Neurons
from crnn_snn_ros.io.model_file import load, save

SUITES = ("static", "movers", "narrow", "looks")
POLICIES = (  # those of a line are run together
    ("expert", "teacher", "straight"),
    ("float",),
    ("unsteered", "qann", "snn", "forgetful"),
)
CHOSEN_ON = ("static", "movers")
FRAMES = 300  # of DRIVE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what has not been run, and write the page."""
    options = _options().parse_args(arguments)
    suites = {suite: _judge(suite, options) for suite in options.suites or SUITES}
    points = [_point(model, options) for model in [options.model, *options.also]]
    text = write_page({"suites": suites, "points": points, "model": options.model.name})
    print(text)
    if options.page is not None:
        write(options.page, text)
    if options.card:
        model = load(options.model)
        told = {suite: found["policies"]["snn"] for suite, found in suites.items()}
        span = next(iter(suites.values()))["seeds"]
        figures = {**model.metrics, "closed_loop": {"seeds": span, **told}}
        save(options.model, replace(model, metrics=figures))
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", type=Path, help="that is judged")
    parser.add_argument("float", type=Path, help="float.safetensors that it was made from")
    parser.add_argument("drive", type=Path, help="bag for time-steps and times")
    parser.add_argument("--also", type=Path, nargs="*", default=[], help="models of other bits")
    parser.add_argument("--suites", nargs="+", choices=SUITES, help="these only")
    parser.add_argument("--policies", nargs="+", choices=sum(POLICIES, ()), help="these only")
    parser.add_argument("--seeds", default="test", help="that the suites are judged on")
    parser.add_argument("--courses", type=int, default=100, help="of each suite")
    parser.add_argument("--chosen-on", type=int, default=100, help="validation courses of a point")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("out/closed_loop"), help="working folder")
    parser.add_argument("--page", type=Path, help="write the figures as this Markdown page")
    parser.add_argument("--card", action="store_true", help="and into the model's own card")
    return parser


def _judge(suite: str, options: argparse.Namespace) -> Any:
    """Every policy on one suite; ends the run where the spiking network drives another way."""
    found = {}
    for group in POLICIES:
        together = [name for name in group if name in (options.policies or group)]
        if not together:
            continue
        done = kept_json(
            options.out / f"{suite}_{'_'.join(together)}.json",
            *("simulate", options.model, "--float-checkpoint", options.float, "--suite", suite),
            *("--seeds", options.seeds, "--courses", options.courses),
            *("--processes", options.processes, "--policies", *together),
        )
        found = {**done, "policies": {**found.get("policies", {}), **done["policies"]}}
    return found


def _point(model: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One number of bits: success on courses of the validation seeds, steps, time."""
    neurons = [node for node in load(model).graph.nodes if isinstance(node, Neurons)]
    name = model.stem
    success = {
        suite: kept_json(
            options.out / f"{name}_{suite}.json",
            *("simulate", model, "--suite", suite, "--courses", options.chosen_on),
            *("--processes", options.processes, "--policies", "snn"),
        )["policies"]["snn"]
        for suite in CHOSEN_ON
    }
    timed = kept_json(
        options.out / f"{name}_bench.json",
        *("bench", model, options.drive, "--frames", FRAMES),
    )
    return {
        "name": model.name,
        "levels": max(node.n_max for node in neurons),
        "success": success,
        "settle_steps": timed["settle_steps"],
        "spikes": timed["encodings"]["scenes"]["as given"]["s-analog"]["spikes"],
        "native": timed["engines"].get("native"),
    }


if __name__ == "__main__":
    sys.exit(main())
