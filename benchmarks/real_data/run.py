"""The network on recordings that nobody of this project made: float, quantized, spiking.

    python -m benchmarks.real_data.run DATA --out out/real_data --page docs/results/real_data.md

DATA holds ``donkeycar_tub_mit/tub.tar.gz`` (a drive of the Donkeycar project, MIT) and
``jetracer_avoid/`` (``images.zip`` and ``labels.csv``, stills of a JetRacer, MIT). Every stage is a
command of ``crnn-snn``; one whose result is there is not run again, so that a run may be cut off
and repeated (``--out`` elsewhere begins anew). One thread, fixed seeds.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import yaml

from benchmarks.command import crnn_snn, kept_json, write
from benchmarks.real_data.figures import Numbers, donkeycar_figures, jetracer_figures
from benchmarks.real_data.page import write_page
from crnn_snn_ros.data.archives import unpack
from crnn_snn_ros.data.bags import read_frames, read_signal
from crnn_snn_ros.data.dataset import synchronise
from crnn_snn_ros.evaluation.recording import Recording
from crnn_snn_ros.evaluation.replay import replay
from crnn_snn_ros.pipeline import load_pipeline
from crnn_snn_ros.training.float_loop import load_float_loop

FULL_LOCK_RAD = 0.4363  # of the Donkey car; its own unit is full lock
TEST_BEGIN = 0.85  # of the Donkey car's drive
SIDE_RAD = 0.3  # label of a still whose way around the bottle is to one side
STILLS_HZ = 2.0  # they are stamped evenly, in the order in which they were taken
NETWORKS = ("float", "qann", "snn")

# Whole sessions, but for one that is cut in three contiguous stretches, as it is the only large one
# besides those of the test. (first still, last still, part); in the order of the true times.
STRETCHES = {
    "bottle_02": ((0, 54, "train"), (55, 84, "validation"), (85, 174, "train")),
    "bottle_03": ((0, 13, "train"),),
    "bottle_04": ((0, 39, "test"),),
    "bottle_05": ((0, 120, "test"),),
    "blocked_01": ((0, 9, "test"),),
    "blocked_02": ((0, 17, "train"), (18, 21, "validation")),
    "road_A_00": ((0, 36, "train"),),
    "road_A_02": ((0, 35, "train"), (36, 43, "validation")),
    "road_A_03": ((0, 34, "test"),),
    "road_A_04": ((0, 27, "test"),),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what has not been run; print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of the recordings")
    parser.add_argument("--out", type=Path, default=Path("out/real_data"), help="working folder")
    parser.add_argument("--page", type=Path, help="write the figures as this Markdown page")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bits", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="of each phase, instead of train's own")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    results = {
        "donkeycar": donkeycar(
            options.data / "donkeycar_tub_mit", options.out / "donkeycar", options
        ),
        "jetracer": jetracer(options.data / "jetracer_avoid", options.out / "jetracer", options),
        "seed": options.seed,
        "bits": options.bits,
    }
    write(options.out / "results.json", json.dumps(results, indent=2))
    print(json.dumps(results, indent=2))
    if options.page is not None:
        write(options.page, write_page(results))
    return 0


def donkeycar(source: Path, out: Path, options: argparse.Namespace) -> Numbers:
    """Steering on the last 15 % of the drive."""
    bag = out / "mit"
    if not bag.exists():
        crnn_snn(
            *("import", source / "tub.tar.gz", bag, "--rate", 20, "--licence", "MIT"),
            *("--origin", "github autorope/donkeycar, its own test data"),
        )
    data = {
        "bags": [{"path": "mit", "steering": "/steering"}],
        "splits": {"train": [0.0, 0.7], "validation": [0.7, 0.85], "test": [TEST_BEGIN, 1.0]},
        "frame_rate_hz": 20,
        "input": {"width": 96, "height": 64, "colour": "rgb", "crop_top": 0.25},
    }
    model = trained(out, data, options)
    truth = np.asarray(read_signal(bag, "/steering").values)
    begin = round(TEST_BEGIN * len(truth))
    rows = predictions(model, out, [bag], begin)
    figures = donkeycar_figures(rows, truth[:begin], truth[begin:], FULL_LOCK_RAD)
    return {**figures, "verify": verified(model, [bag], out)}


def jetracer(source: Path, out: Path, options: argparse.Namespace) -> Numbers:
    """Left or right of the bottle, and blocked or free, on sessions that were held out."""
    bags, stills = out / "bags", out / "stills"
    if not (bags / "data.yaml").exists():
        shutil.rmtree(stills, ignore_errors=True)
        unpack(source / "images.zip", stills)
        write_table(source / "labels.csv", stills / "labels.csv")
        crnn_snn(
            *("import", stills, bags, "--format", "csv", "--rate", STILLS_HZ, "--licence", "MIT"),
            *("--origin", "github jsmith-exe/fast-and-furious-with-self-drive-ai"),
            *("--columns", "image=file", "session=drive"),
        )
    names = sorted(path.parent.name for path in bags.glob("*/metadata.yaml"))
    data = {
        "bags": [bag_entry(name) for name in names],
        "splits": {"train": [0.0, 0.5], "validation": [0.5, 0.75], "test": [0.75, 1.0]},
        "frame_rate_hz": STILLS_HZ,
        "input": {"width": 96, "height": 64, "colour": "rgb", "crop_top": 0.33},
    }
    model = trained(out, data, options)
    parts = {part: [bags / n for n in names if n.startswith(part)] for part in ("train", "test")}
    told = {}
    for memory in (True, False):
        rows = predictions(model, out, parts["test"], memory=memory)
        told["with memory" if memory else "every still alone"] = rows
    labels = [labels_of(bag) for bag in parts["test"]]
    colours = {part: [mean_colours(bag) for bag in parts[part]] for part in parts}
    figures = jetracer_figures(
        told,
        labels,
        [labels_of(bag) for bag in parts["train"]],
        colours,
        [b.name for b in parts["test"]],
    )
    return {**figures, "verify": verified(model, parts["test"], out)}


def write_table(labels: Path, out: Path) -> None:
    """The stills that are used, with the stretch that each belongs to and its numbers."""
    with labels.open(newline="", encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: float(row["t_unix"]))
    counts: dict[str, int] = {}
    sides = {"left": SIDE_RAD, "right": -SIDE_RAD}
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["file", "drive", "steering", "collision"])
        writer.writeheader()
        for row in rows:
            session = row["session"]
            number = counts[session] = counts.get(session, -1) + 1
            for first, last, part in STRETCHES.get(session, ()):
                if first <= number <= last:
                    writer.writerow(
                        {
                            "file": row["file"],
                            "drive": f"{part}_{session}_{first}",
                            "steering": sides.get(row["avoid_label"], ""),
                            "collision": {"bottle": ""}.get(
                                row["set"], int(row["set"] == "blocked")
                            ),
                        }
                    )


def bag_entry(name: str) -> dict[str, str]:
    """Of the data file: a bag, its one label, and the part that it belongs to."""
    label = "steering" if "bottle" in name else "collision"
    return {"path": f"bags/{name}", label: f"/{label}", "split": name.split("_")[0]}


def trained(out: Path, data: dict[str, object], options: argparse.Namespace) -> Path:
    """The spiking model, made of the data unless it is there."""
    path, model = out / "data.yaml", out / "model.snn"
    if model.exists():
        return model
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    epochs = () if options.epochs is None else (
        "--float-epochs", options.epochs, "--qat-epochs", options.epochs,
    )  # fmt: skip
    crnn_snn(
        *("train", path, "--out", out / "train", "--bits", options.bits),
        *("--seed", options.seed, *epochs),
    )
    crnn_snn("convert", out / "train" / "qat.safetensors", model)
    return model


def predictions(
    model: Path, out: Path, bags: list[Path], begin: int = 0, memory: bool = True
) -> list[dict[str, np.ndarray]]:
    """What each network says of each frame, bag by bag: (n, 2) steering and collision."""
    pipeline = load_pipeline(model, "auto", "cpu")
    original = load_float_loop(out / "train" / "float.safetensors")
    told = []
    for bag in bags:
        recording = Recording(pipeline.model.graph, pipeline.model.frame_rate_hz)
        frames = list(read_frames(bag))[begin:]
        for drive in [frames] if memory else [[frame] for frame in frames]:
            replay(drive, pipeline, original, recording=recording)
        told.append(
            {name: np.array([list(row) for row in recording.rows[name]]) for name in NETWORKS}
        )
        if not recording.rows["settled"].all():
            raise SystemExit(f"{bag}: a frame was not settled")
    return told


def labels_of(bag: Path) -> dict[str, np.ndarray]:
    """Labels at the frames of a bag; NaN where there is none."""
    stamps = np.array([frame.stamp_ns for frame in read_frames(bag)])
    topic = "/steering" if "bottle" in bag.name else "/collision"
    values = synchronise(read_signal(bag, topic), stamps, 0)
    return {topic[1:]: np.asarray(values, float)}


def mean_colours(bag: Path) -> np.ndarray:
    """(n, 3) the mean colour of each frame: what knows the day, but no bottle."""
    return np.array([cv2.mean(frame.image)[:3] for frame in read_frames(bag)])


def verified(model: Path, bags: list[Path], out: Path) -> Numbers:
    """What ``verify`` says, which ends the run where it finds a difference."""
    return kept_json(out / "verify.json", "verify", model, *bags)


if __name__ == "__main__":
    sys.exit(main())
