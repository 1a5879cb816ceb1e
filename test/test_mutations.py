"""Small faults in the source of the core are caught by the command that a user runs.

Each case copies the package, breaks one thing in the copy, runs ``crnn-snn verify`` from it on
``data/exercise.snn``, and expects exit code 1 and the place of the fault in words.

Not covered: faults that no frame of the generated video brings to light on that network, and faults
that engine and reference share (both read ``graph``).
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from exercise_model import EXERCISE, exercise_model
from mutations import MUTATIONS, Mutation
from preloaded import Preloaded, preloaded

import crnn_snn_ros
from crnn_snn_ros.core.verify import NETWORK
from crnn_snn_ros.io.model_file import save

FRAMES = 40
PACKAGE = Path(crnn_snn_ros.__file__).parent


@pytest.fixture(scope="module")
def process() -> Iterator[Preloaded]:
    with preloaded() as found:
        yield found


def verify_from(
    package: Path, process: Preloaded, *options: str
) -> subprocess.CompletedProcess[str]:
    """The user's command, with the package in this folder."""
    fixed = ("verify", str(EXERCISE), "--frames", str(FRAMES), "--device", "cpu")
    return process.run(package.parent, [*fixed, *options])


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    package = tmp_path / "crnn_snn_ros"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    return package


def test_exercise_file_is_what_its_generator_writes(tmp_path: Path) -> None:
    save(tmp_path / "again.snn", exercise_model())
    assert (tmp_path / "again.snn").read_bytes() == EXERCISE.read_bytes()
    assert EXERCISE.stat().st_size < 60_000


def test_sound_copy_passes(copy: Path, process: Preloaded) -> None:
    sound = verify_from(copy, process, "--json")
    assert sound.returncode == 0, sound.stdout + sound.stderr
    result = json.loads(sound.stdout)
    assert result["max_abs_diff"] == 0
    assert result["frames"] == FRAMES
    assert result["first_difference"] is None


def test_it_is_the_copy_that_runs(copy: Path, process: Preloaded) -> None:
    (copy / "core" / "verify.py").write_text("raise SystemExit(99)")
    assert verify_from(copy, process).returncode == 99


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_fault_is_caught(mutation: Mutation, copy: Path, process: Preloaded) -> None:
    file = copy / "core" / mutation.file
    text = file.read_text()
    for old, new in mutation.replacements:
        assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
        text = text.replace(old, new)
    file.write_text(text)
    options = []
    if mutation.engine == "collapsed":  # in torch, which is what runs where C++ was not built
        options = ["--engines", "collapsed"]
        for library in (copy / "core" / "engines").glob("_native*"):
            library.unlink()
    faulty = verify_from(copy, process, *options)
    assert "Traceback" not in faulty.stderr, faulty.stderr
    assert faulty.returncode == 1, faulty.stdout
    fault = re.search(
        r"FAULT: engine (\w+), frame \d+, layer ([\w()]+), neuron \[([\d, ]*)\]: .+ is -?\d+, "
        r"expected -?\d+",
        faulty.stdout,
    )
    assert fault is not None, faulty.stdout
    engine, layer, index = fault.groups()
    assert engine == mutation.engine
    assert (layer == NETWORK) == mutation.network
    assert (index == "") == mutation.network
