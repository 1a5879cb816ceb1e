"""A Dask cluster of this machine, of real processes, for tests and for nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TESTS = Path(__file__).parent
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    # Workers import what a test sends them to do, and this very package.
    "PYTHONPATH": os.pathsep.join(
        filter(None, (str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")))
    ),
}


class Cluster:
    """A scheduler and its workers, each a process; workers have one thread and no nanny."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.workers: list[subprocess.Popen] = []
        written = folder / "scheduler.json"
        self.scheduler = self._start(
            "dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", written
        )
        deadline = time.monotonic() + 60.0
        while not written.exists():
            assert self.scheduler.poll() is None, "the scheduler ended"
            assert time.monotonic() < deadline, "the scheduler did not start"
            time.sleep(0.05)
        import json

        self.address: str = json.loads(written.read_text())["address"]

    def add_worker(self) -> None:
        name = str(len(self.workers))
        self.workers.append(
            self._start(
                *("dask_worker", self.address, "--nthreads", "1", "--no-nanny"),
                *("--name", name, "--local-directory", self._folder / name),
            )
        )

    def stop(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()

    def _start(self, command: str, *arguments: object) -> subprocess.Popen:
        log = self._folder / f"{command}{len(self.workers)}.log"
        with log.open("wb") as file:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{command}", "--no-dashboard",
                 *map(str, arguments)],
                env=ENVIRONMENT, stdout=file, stderr=file, cwd=self._folder,
            )  # fmt: skip


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[Cluster]:
    """As many workers as asked for; they are waited for by whoever needs them."""
    made = Cluster(folder)
    try:
        for _ in range(workers):
            made.add_worker()
        yield made
    finally:
        made.stop()
