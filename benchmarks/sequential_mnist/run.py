"""S-MNIST and PS-MNIST: trained, converted, run as spikes.

    python -m benchmarks.sequential_mnist.run MNIST --page docs/results/sequential_mnist.md
    python -m benchmarks.sequential_mnist.run MNIST --cases s --minutes 60

MNIST is the folder of its four idx files, with ``.gz`` or without. Training goes on from the state
in ``--out`` (elsewhere it begins anew), so that a run may be cut off at any time and repeated; with
``--minutes`` it stops by itself, and what was reached by then is measured. Fixed seeds, one thread.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.command import kept, write
from benchmarks.sequential_mnist.data import load
from benchmarks.sequential_mnist.model import Size
from benchmarks.sequential_mnist.page import NAMES, draw, write_page
from benchmarks.sequential_mnist.prove import measure
from benchmarks.sequential_mnist.train import STATE, Plan, Training
from crnn_snn_ros.core.device import choose_device
from crnn_snn_ros.core.errors import CrnnSnnError
from crnn_snn_ros.evaluation.bench import machine
from crnn_snn_ros.io.atomic import replacing

WINDOW = 61  # pixels that a convolution goes over: two rows of the picture, and five


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is not trained to the end, measure all, print the page."""
    options = _options().parse_args(arguments)
    torch.set_num_threads(1)
    try:
        results = {}
        for name in options.cases:
            results[name] = run_case(name, options)
    except CrnnSnnError as error:
        print(f"sequential_mnist: {error}", file=sys.stderr)
        return 2
    picture = "sequential_mnist.svg"
    text = write_page(results, picture)
    print(text)
    if options.page is not None:
        write(options.page, text)
        curves = {name: told["curve"] for name, told in results.items()}
        write(options.page.parent / picture, draw(curves))
    return 0


def _options() -> argparse.ArgumentParser:
    size, plan = Size(), Plan()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of the four files of MNIST")
    parser.add_argument("--cases", nargs="+", choices=list(NAMES), default=list(NAMES))
    parser.add_argument("--out", type=Path, default=Path("out/sequential_mnist"))
    parser.add_argument("--start", type=Path, help="states to go on from where --out has none")
    parser.add_argument("--page", type=Path, help="write this Markdown page, the picture beside it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="auto, cpu or cuda")
    parser.add_argument("--minutes", type=float, help="of training in this run, for each case")
    parser.add_argument("--images", type=int, default=500, help="test pictures that run as spikes")
    parser.add_argument("--hidden", type=int, nargs="+", help="default: so that there are 3 layers")
    parser.add_argument("--bits", type=int, default=size.bits)
    parser.add_argument("--batch", type=int, default=plan.batch)
    parser.add_argument("--rate", type=float, default=plan.rate, help="of learning, in float")
    parser.add_argument("--float-epochs", type=int, default=plan.float_epochs)
    parser.add_argument("--quantized-epochs", type=int, help="default: 2, of s_conv 8")
    return parser


def size_of(name: str) -> Size:
    """Of the network of a case."""
    size = Size()
    if name.endswith("conv"):
        return replace(size, window=WINDOW, hidden=size.hidden[1:])
    return size


def plan_of(name: str) -> Plan:
    """How a case is trained.

    The convolution on S-MNIST is the one that came close to the paper's figure and fitted what it
    was shown: its pictures are moved, and it sees them longer.
    """
    return Plan(quantized_epochs=8, shift=2) if name == "s_conv" else Plan()


def run_case(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train one case as far as asked, and its figures there."""
    device = choose_device(options.device)
    size = replace(size_of(name), bits=options.bits)
    if options.hidden:
        size = replace(size, hidden=tuple(options.hidden))
    plan = plan_of(name)
    plan = replace(
        plan,
        batch=options.batch,
        rate=options.rate,
        float_epochs=options.float_epochs,
        quantized_epochs=options.quantized_epochs or plan.quantized_epochs,
    )
    permuted, folder = name.startswith("ps"), options.out / name
    _begin_from(options.start, name, folder)
    data = load(options.data, "train", permuted=permuted)
    training = Training(folder, data, size, plan, options.seed, device, permuted=permuted)
    training.run(_clock(options.minutes))

    def figures() -> str:
        test = load(options.data, "test", permuted=permuted)
        return json.dumps(measure(*training.trained(), size, test, options.images, device.type))

    path = folder / f"figures_{training.phase}_{training.step}_{options.images}.json"
    return {
        "figures": kept(path, figures),
        "curve": [list(point) for point in training.curve],
        "finished": training.finished,
        "phase": training.phase,
        "pictures": training.images,
        "epochs_done": training.images / (training.steps * plan.batch),
        "epochs": plan.float_epochs + plan.quantized_epochs,
        "minutes": training.seconds / 60.0,
        "size": asdict(size),
        "shift": plan.shift,
        "seed": options.seed,
        "devices": training.devices,
        "proven_on": machine()["cpu"],
    }


def _begin_from(start: Path | None, name: str, folder: Path) -> None:
    """Copy a state that was kept elsewhere to where there is none yet."""
    kept_state, own = (part / STATE for part in ((start or folder) / name, folder))
    if kept_state.exists() and not own.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(own) as temporary:
            shutil.copyfile(kept_state, temporary)


def _clock(minutes: float | None) -> Callable[[], bool]:
    """Says when it is enough."""
    if minutes is None:
        return lambda: False
    end = time.monotonic() + 60.0 * minutes
    return lambda: time.monotonic() >= end


if __name__ == "__main__":
    sys.exit(main())
