from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from process_samples import die, fail_at, square

from crnn_snn_ros.core.errors import CrnnSnnError
from crnn_snn_ros.io.processes import Workers, spread


@pytest.mark.parametrize("processes", [1, 3])
def test_results_come_in_the_order_of_the_items(processes):
    told: list[tuple[int, int]] = []
    done = spread(square, range(5), Workers(processes), told.append)
    assert [value for value, _ in done] == [0, 1, 4, 9, 16]
    assert told == done
    here = {pid == os.getpid() for _, pid in done}
    assert here == {processes == 1}


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_ends_it_after_the_results_before(processes):
    told: list[int] = []
    with pytest.raises(ValueError, match="item 2"):
        spread(partial(fail_at, 2), range(4), Workers(processes), told.append)
    assert told == [0, 1]


def test_a_process_that_dies_is_one_line():
    with pytest.raises(CrnnSnnError, match="ended by itself"):
        spread(die, range(2), Workers(2))


PROGRAM = """
import time
from crnn_snn_ros.io.processes import Workers, spread
try:
    spread(time.sleep, [0.0, 60.0, 60.0, 60.0], Workers(2), lambda _: print("one", flush=True))
except KeyboardInterrupt:
    print("interrupted")
"""


def begun(folder: Path) -> subprocess.Popen[str]:
    """The program, when its first item is done and others are not."""
    program = folder / "program.py"
    program.write_text(
        f"if __name__ == '__main__':\n    {PROGRAM.replace(chr(10), chr(10) + '    ')}"
    )
    process = subprocess.Popen(
        [sys.executable, program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "one\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_children_end_with_a_parent_that_is_killed(tmp_path, number):
    process = begun(tmp_path)
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)  # whose pipes the children hold open
    assert (out, process.returncode) == ("", -number)


def test_ctrl_c_does_not_wait_for_what_is_running(tmp_path):
    process = begun(tmp_path)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (out, err) == ("interrupted\n", "")
