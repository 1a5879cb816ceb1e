"""Open questions of the paper, answered with figures: one part for each.

    python -m benchmarks.study.run --out out/study --page docs/results/study.md
    python -m benchmarks.study.run depth long --out out/study

A part whose result is in ``--out`` is not run again, so that a run may be cut off and repeated
(``--out`` elsewhere begins anew). Fixed seeds, one thread. ``digits`` and ``pixels`` are run where
``--mnist`` is the folder of its files; ``scans`` says something of recorded scans where
``--scan-bags`` names bags. Drives are recorded in the simulator at the first part that needs them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from benchmarks.command import kept, write
from benchmarks.study import cells, collision, depth, digits, encodings, long, pixels, scans
from crnn_snn_ros.core.device import choose_device
from crnn_snn_ros.core.errors import CrnnSnnError
from crnn_snn_ros.evaluation.bench import machine

PARTS: dict[str, ModuleType] = {
    "cells": cells,
    "depth": depth,
    "long": long,
    "encodings": encodings,
    "digits": digits,
    "pixels": pixels,
    "collision": collision,
    "scans": scans,
}
OF_MNIST = ("digits", "pixels")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what has not been run; print the page, and write it with its pictures where asked to."""
    options = _options().parse_args(arguments)
    torch.set_num_threads(1)
    try:
        for name in options.parts or _asked(options):
            print(f"study: {name}", file=sys.stderr, flush=True)
            kept(_result(options, name), partial(_measured, name, options))
        done = {
            name: json.loads(_result(options, name).read_text(encoding="utf-8"))
            for name in PARTS
            if _result(options, name).exists()
        }
        text = page(done)
        print(text)
        if options.page is not None:
            write(options.page, text)
            for name, told in done.items():
                PARTS[name].picture(told["found"], options.page.parent)
    except CrnnSnnError as error:
        print(f"study: {error}", file=sys.stderr)
        return 2
    return 0


def _asked(options: argparse.Namespace) -> list[str]:
    return [name for name in PARTS if name not in OF_MNIST or options.mnist]


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="these only")
    parser.add_argument("--out", type=Path, default=Path("out/study"), help="working folder")
    parser.add_argument("--page", type=Path, help="write this Markdown page, pictures beside it")
    parser.add_argument("--scan-bags", type=Path, nargs="+", default=[], metavar="BAG",
                        help="with /scan and /cmd_vel, for the part scans")  # fmt: skip
    parser.add_argument("--mnist", type=Path, help="its folder, for digits and pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="auto, cpu or cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes of a test, figures of no worth")
    return parser


def _result(options: argparse.Namespace, name: str) -> Path:
    return Path(options.out) / f"{name}.json"


def _measured(name: str, options: argparse.Namespace) -> str:
    part = PARTS[name]
    device = choose_device(options.device)
    size = part.TINY if options.tiny else part.Size()
    if name == "scans":
        size = size._replace(bags=tuple(options.scan_bags))
    if name in OF_MNIST:
        size = size._replace(mnist=options.mnist)
    begin = time.monotonic()
    found = part.measure(size, options.seed, device.type, options.out)
    told = {
        "found": found,
        "seed": options.seed,
        "tiny": options.tiny,
        "seconds": time.monotonic() - begin,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "machine": machine(),
    }
    return json.dumps(told, indent=1)


def page(done: dict[str, dict[str, Any]]) -> str:
    """The whole page; every number of it is out of ``done``."""
    sections = "\n".join(PARTS[name].section(told["found"]) for name, told in done.items())
    rows = "\n".join(
        f"| {name} | {told['seed']} | {told['device']} | {told['machine']['cpu']} "
        f"| {told['seconds'] / 60:.1f} |{' tiny: figures of no worth' if told['tiny'] else ''}"
        for name, told in done.items()
    )
    missing = ", ".join(f"`{name}`" for name in PARTS if name not in done)
    left = f"Not run yet, so nothing is said of: {missing}.\n\n" if missing else ""
    return f"""# Open questions

Written by `python -m benchmarks.study.run --mnist MNIST --scan-bags full_bag_nav test_bag
--page docs/results/study.md`; MNIST is the folder of its four idx files, the bags are those that
the last section names. What is asked is in the paper (arXiv 2408.09403), every answer is a
measurement of the run below, one thread.

| part | seed | device | processor | minutes |
|---|---|---|---|---|
{rows}

{left}{sections}"""


if __name__ == "__main__":
    sys.exit(main())
