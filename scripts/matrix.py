"""Run the tests that need ROS on every Python and ROS 2 of the promise; standard library only.

    python3 scripts/matrix.py out/matrix [3.12 ...] [-- -k lifecycle]

Each Python gets a virtual environment below the folder that is named, in which the wheels of one
ROS 2 take the place of the other's, and each combination a log; the table at the end is Markdown.
What stands after ``--`` goes to pytest. A Python is looked for on the PATH and among pyenv's; one
that is not here is told. Where pip finds no CPU build of torch, gigabytes of CUDA come with it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from setup_venv import EXTRAS, REQUIREMENTS, ROOT

PYTHONS = ("3.10", "3.11", "3.12")
DISTRIBUTIONS = ("jazzy", "kilted")
PINNED = "jazzy"  # whose wheels are in the constraints; of others the newest are taken
ROS = r"rclpy|crnn_snn_ros\.ros|ros_peer|node_here|fault_table|malformed_messages"  # and helpers
NEEDS_ROS = re.compile(rf"^\s*(from|import) ({ROS})\b", re.MULTILINE)
TOTALS = re.compile(r"^=*\s*((?:\d+ \w+(?:, )?)+) in [\d.]+s", re.MULTILINE)
WHEELS = """
from importlib.metadata import distributions
print(*{d.name for d in distributions() if d.name.startswith("ros-")})
"""
VERSION = "from importlib.metadata import version; print(version('rclpy'))"


class Result(NamedTuple):
    """What became of one combination."""

    python: str
    distribution: str
    rclpy: str  # its version
    outcome: str
    wall_s: float
    good: bool


def main(arguments: Sequence[str]) -> int:
    """Run the matrix; 0 when every combination that could be installed passed, and one could."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    place, *pythons = arguments[:split] or ("out/matrix",)
    more = arguments[split + 1 :]
    folder = Path(place).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    for python in pythons or PYTHONS:
        for distribution in DISTRIBUTIONS:
            result = _combination(folder, python, distribution, more)
            print(f"{python} {distribution}: {result.outcome}", flush=True)
            results.append(result)
    print(_table(results))
    tried = [result for result in results if result.rclpy]
    return 0 if tried and all(result.good for result in tried) else 1


def _combination(folder: Path, version: str, distribution: str, more: Sequence[str]) -> Result:
    begun_s = time.monotonic()
    interpreter = _find(version)
    if interpreter is None:
        return Result(version, distribution, "", "no such Python here", 0.0, False)
    with (folder / f"{distribution}-{version}.log").open("w", encoding="utf-8") as log:
        try:
            python = _install(interpreter, folder / version, distribution, log.fileno())
        except subprocess.CalledProcessError:
            text = f"does not install, see {log.name}"
            return Result(version, distribution, "", text, time.monotonic() - begun_s, False)
        rclpy = _said(python, VERSION)
        command = [str(python), "-m", "pytest", "-q", *more, *_tests()]
        done = subprocess.run(command, cwd=ROOT, env=_environment(), stdout=log, stderr=log)
    totals = TOTALS.findall(Path(log.name).read_text(encoding="utf-8"))
    outcome = totals[-1] if totals else f"pytest ended with {done.returncode}"
    wall_s = time.monotonic() - begun_s
    return Result(version, distribution, rclpy, outcome, wall_s, done.returncode == 0)


def _install(interpreter: Path, target: Path, distribution: str, log: int) -> Path:
    """An environment with the package and what it needs.

    Raises:
        CalledProcessError: something cannot be installed; the log says what.
    """

    def run(*command: str | Path) -> None:
        environment = _environment()
        subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log, check=True)

    python = target / "bin" / "python"
    run(interpreter, "-m", "venv", target)
    limits = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    if distribution != PINNED:
        limits = "".join(part for part in limits.splitlines(True) if not part.startswith("ros-"))
    (target / "constraints.txt").write_text(limits, encoding="utf-8")
    pip = (python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    limit = ("--constraint", target / "constraints.txt")
    # The pip that comes with an old Python tries versions for many minutes.
    run(*pip, *limit, "--upgrade", "pip", "setuptools<80", "wheel", "packaging")
    run(*pip, "--no-deps", "--no-build-isolation", "--editable", ROOT)
    if found := _said(python, WHEELS).split():
        run(python, "-m", "pip", "uninstall", "--quiet", "--yes", *found)
    listed = _said(python, REQUIREMENTS, *EXTRAS, f"ros-{PINNED}")
    run(*pip, *limit, *listed.replace(f"ros-{PINNED}-", f"ros-{distribution}-").splitlines())
    return python


def _tests() -> Iterator[str]:
    for path in sorted((ROOT / "test").glob("test_*.py")):
        if NEEDS_ROS.search(path.read_text(encoding="utf-8")):
            yield str(path)


def _find(version: str) -> Path | None:
    """An interpreter of that version; a shim of pyenv may be there and yet not run."""
    found = shutil.which(f"python{version}")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    candidates = [Path(found)] if found else []
    for path in [*candidates, *sorted(pyenv.glob(f"{version}.*/bin/python"))]:
        if subprocess.run([path, "--version"], capture_output=True).returncode == 0:
            return path
    return None


def _said(python: Path, code: str, *arguments: str) -> str:
    command = [str(python), "-c", code, *arguments]
    return subprocess.check_output(command, env=_environment(), text=True).strip()


def _environment() -> dict[str, str]:
    """Ours, less what would lead the environment of a combination to another one."""
    ours = {"PYTHONPATH", "VIRTUAL_ENV", "_ROS_WHEELS_BOOTSTRAP_COMPLETE", "LD_LIBRARY_PATH"}
    return {name: value for name, value in os.environ.items() if name not in ours}


def _table(results: Sequence[Result]) -> str:
    rows = ["| Python | ROS 2 | rclpy | tests | minutes |", "|---|---|---|---|---|"]
    rows += [
        f"| {r.python} | {r.distribution.capitalize()} | {r.rclpy} | {r.outcome} | "
        f"{r.wall_s / 60:.1f} |"
        for r in results
    ]
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
