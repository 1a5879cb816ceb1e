"""The script that runs every Python and ROS 2: what it takes and tells; the runs take an hour."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matrix
import pytest

ROOT = Path(__file__).parents[1]


def test_a_python_that_is_not_here_is_told(tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "matrix.py"), str(tmp_path / "m"), "9.99"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "| 9.99 | Jazzy |  | no such Python here | 0.0 |" in done.stdout
    assert "| 9.99 | Kilted |" in done.stdout
    assert "3.10" not in done.stdout


def test_it_takes_the_tests_that_need_ros():
    taken = {Path(name).name for name in matrix._tests()}
    assert {"test_node.py", "test_failsafes.py", "test_process_replay.py", "test_soak.py"} <= taken
    assert not {"test_gate.py", "test_supervisor.py", "test_install.py"} & taken


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("1 failed, 126 passed, 6 skipped in 660.84s (0:11:00)", "1 failed, 126 passed, 6 skipped"),
        ("========= 3 passed in 4.02s =========", "3 passed"),
        ("2 passed, 1 warning in 0.50s", "2 passed, 1 warning"),
    ],
)
def test_it_reads_what_pytest_says_last(line, told):
    assert matrix.TOTALS.findall(f"....\n{line}\n") == [told]
