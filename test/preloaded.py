"""``crnn-snn`` in processes of their own that do not each import torch: that takes seconds.

They are forked from one that has imported what others wrote, and none of our modules.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

FOREIGN = ("rich.progress", "rich.table", "safetensors.numpy", "torch", "tyro", "yaml")


class Preloaded:
    """The process from which the commands are forked, one after another."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, folder: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """A command with the package that is in this folder, which is where it runs."""
        request, answer = self._process.stdin, self._process.stdout
        assert request is not None
        assert answer is not None
        print(json.dumps([str(folder), *arguments]), file=request, flush=True)
        code = int(answer.readline())
        told = ((folder / name).read_text() for name in ("stdout", "stderr"))
        return subprocess.CompletedProcess(arguments, code, *told)


@contextmanager
def preloaded() -> Iterator[Preloaded]:
    command = [sys.executable, __file__]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield Preloaded(process)


def _serve() -> None:
    for name in FOREIGN:
        importlib.import_module(name)
    for line in sys.stdin:
        folder, *arguments = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(folder, arguments)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(folder: str, arguments: list[str]) -> None:
    assert "crnn_snn_ros" not in sys.modules
    signal.alarm(100)  # a fault may have no end
    os.chdir(folder)
    for name, number in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.path.insert(0, folder)
    sys.argv[1:] = arguments
    runpy.run_module("crnn_snn_ros.cli", run_name="__main__", alter_sys=True)  # which exits


if __name__ == "__main__":
    _serve()
