"""s-analog against m-analog, and what is lost when frames are cut after T time-steps.

`small.snn` on drives of the simulator that it has not seen. s-analog charges the picture at
time-step 1 only and is exact once settled; m-analog charges it at every step and reads a rate.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.study import runs
from benchmarks.study.drives import Courses, pictures, record
from benchmarks.study.figures import Line, Panel, draw
from crnn_snn_ros.core.engines import make_engine
from crnn_snn_ros.data.dataset import Sequence as Drive
from crnn_snn_ros.evaluation.cutting import encoding_errors
from crnn_snn_ros.io.model_file import load
from crnn_snn_ros.training.checkpoint import load as load_checkpoint

MODELS = Path(__file__).resolve().parents[2] / "models"


class Size(NamedTuple):
    """What is measured."""

    courses: Courses = Courses()
    frames: int = 250  # of each test course, from its beginning
    cuts: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24)
    compared: int = 24  # frames on which both encodings run
    steps: tuple[int, ...] = (1, 2, 4, 6, 8, 12, 16, 24, 32, 64, 128)


TINY = Size(Courses(1, 1, 1), 12, (2, 8), 2, (1, 4, 32))


def measure(size: Size, seed: int, device: str, out: Path) -> dict[str, Any]:  # noqa: ARG001
    """Run `small.snn`. Nothing is drawn here: the courses have seeds of their own."""
    record(out / "drives", size.courses)
    drives = [first(drive, size.frames) for drive in pictures(out / "drives", "test")]
    model = load(MODELS / "small.snn")
    engine = make_engine("auto", model.graph, device)
    truth, mean = runs.labels(drives), runs.labels(pictures(out / "drives", "train"))
    whole = runs.spiking(engine, drives)
    cuts = []
    for cut in size.cuts:
        told = runs.spiking(engine, drives, cut)
        settled = float(told.settled.mean())
        cuts.append({"steps": cut, "settled": settled, **runs.figures(told.heads, truth)})
    middle = len(drives[0]) // 2
    frames = list(drives[0].frames[middle : middle + size.compared])
    errors = encoding_errors(model, frames, size.steps)
    original = load_checkpoint(MODELS / "small_float.safetensors").network
    return {
        "courses": len(drives),
        "frames": sum(len(drive) for drive in drives),
        "unequal": runs.unequal(whole.heads, runs.reference(model.graph, drives)),
        "settled": float(whole.settled.mean()),
        "longest": int(whole.steps.max()),
        "bound": engine.bounds.settling_steps,
        "snn": runs.figures(whole.heads, truth),
        "float": runs.figures(runs.in_training(original, drives), truth),
        "label entropy": runs.entropy(truth),
        "constant": runs.constant(mean, truth),
        "cuts": cuts,
        "encodings": errors._asdict(),
    }


def first(drive: Drive, frames: int) -> Drive:
    """Its first frames."""
    parts = ("frames", "stamps_ns", "steering_rad", "collision")
    return dataclasses.replace(drive, **{part: getattr(drive, part)[:frames] for part in parts})


def section(found: dict[str, Any]) -> str:
    """Its part of the page."""
    rows = [
        ("constant: means of other drives", found["constant"]),
        ("float network", found["float"]),
        ("SNN, settled", found["snn"]),
    ]
    lines = [f"| {name} | {row['collision']:.4f} | {row['steering']:.4f} | |" for name, row in rows]
    lines += [
        f"| SNN, cut at T = {cut['steps']} | {cut['collision']:.4f} | {cut['steering']:.4f} "
        f"| {cut['settled']:.1%} |"
        for cut in found["cuts"]
    ]
    at = found["encodings"]
    errors = "\n".join(
        f"| {steps} | {s:.5f} | {m:.5f} |"
        for steps, s, m in zip(at["steps"], at["s_analog"], at["m_analog"], strict=True)
    )
    return f"""## Encodings, and fewer time-steps

The shipped `small.snn` on {found["frames"]} frames of {found["courses"]} courses (suite movers,
the teacher drives; validation seeds that no model was chosen on). Run to the end the SNN has
{found["unequal"]} differences to the int64 QANN on these frames ({found["settled"]:.0%} settled,
the longest after {found["longest"]} steps, bound {found["bound"]}). Cut: every frame ends after T
time-steps, its carry goes on as it is.

The loss is the mean cross entropy of collision; the teacher's label is a share from 0 to 1, whose
own entropy, {found["label entropy"]:.4f}, nobody gets below. **It cannot be compared with the
paper's 0.057 at 8 time-steps**: that data set, its labels and its loss are not known to us.

| | collision loss | steering RMSE, rad | frames settled |
|---|---|---|---|
{chr(10).join(lines)}

Mean |steering - QANN's|, rad, on {at["frames"]} frames of a drive from empty state:

| T | s-analog | m-analog |
|---|---|---|
{errors}

![error against T, and loss against T](study_encodings.svg)
"""


def picture(found: dict[str, Any], folder: Path) -> None:
    """Error against T for both encodings; loss against T."""
    at, cuts = found["encodings"], found["cuts"]
    steps = [cut["steps"] for cut in cuts]
    ends = [steps[0], steps[-1]]
    loss = [
        Line("SNN cut at T", steps, [cut["collision"] for cut in cuts], "-", "o"),
        Line("SNN settled = QANN", ends, [found["snn"]["collision"]] * 2, "--"),
        Line("float network", ends, [found["float"]["collision"]] * 2, ":"),
        Line("constant", ends, [found["constant"]["collision"]] * 2, ":"),
    ]
    error = [
        Line("s-analog", at["steps"], at["s_analog"], "-", "o"),
        Line("m-analog", at["steps"], at["m_analog"], "-", "s"),
    ]
    draw(
        folder / "study_encodings.svg",
        [
            Panel("Error against T", "time-steps T", "mean |steering error|, rad", error,
                  "log", "symlog"),
            Panel("Collision loss when frames are cut", "time-steps T", "cross entropy", loss),
        ],
    )  # fmt: skip
