from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tensorboard")

TRAIN = """
import sys
from pathlib import Path
import test_state
from crnn_snn_ros.training import state
out, cut = Path(sys.argv[1]), int(sys.argv[2])
write, left = state.write, [cut]
def limited(*arguments):
    if not left[0]:
        sys.exit(0)
    left[0] -= 1
    write(*arguments)
state.write = limited
test_state.run(out, resume=not cut or cut > 99, tensorboard=True)
"""
READ = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
read = EventAccumulator(sys.argv[1], size_guidance={"histograms": 0}).Reload()
tags = read.Tags()
print(json.dumps({
    "scalars": {tag: [[e.step, e.value] for e in read.Scalars(tag)] for tag in tags["scalars"]},
    "histograms": {tag: [e.step for e in read.Histograms(tag)] for tag in tags["histograms"]},
}))
"""


def python(code: str, *arguments: object) -> str:
    """A process of its own: TensorBoard's imports warn, and a warning is an error here."""
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=100, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curves_of_a_run_that_was_cut_off_have_every_epoch_once(tmp_path):
    python(TRAIN, tmp_path, 10)  # epoch 3 is drawn, and the state after it not written
    python(TRAIN, tmp_path, 1000)
    read = json.loads(python(READ, tmp_path / "tensorboard"))
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name in ("train_loss", "validation_loss", "steering_rmse_rad", "collision_auroc"):
        for phase, steps in (("float", (1, 2)), ("qat", (3, 4))):
            points = read["scalars"][f"{phase}/{name}"]
            assert [step for step, _ in points] == list(steps)
            told = [float(rows[step - 1][name]) for step in steps]
            assert [value for _, value in points] == pytest.approx(told, rel=1e-6)
    assert [step for step, _ in read["scalars"]["qat/learning_rate"]] == [3, 4]
    layers = {f"threshold/{name}" for name in ("stem", "block1a", "block1b", "rnn1")}
    assert set(read["histograms"]) == layers
    assert all(steps == [3, 4] for steps in read["histograms"].values())
