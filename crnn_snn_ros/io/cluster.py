"""Work on the workers of a Dask cluster, with the results of this machine alone.

Client, scheduler and workers need one environment and one file system, and must trust each other:
what Dask sends between them are pickles. Every item runs in the client's folder, one at a time in
each worker process. One whose worker died is run again by the scheduler, on another worker.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from crnn_snn_ros.core.errors import ConfigError, CrnnSnnError

if TYPE_CHECKING:
    from distributed import Client, Future

Item = TypeVar("Item")
Result = TypeVar("Result")

CONNECT_S = 5.0
WITHOUT_WORKERS_S = 20.0  # so long may a cluster be without any: they may be on their way back
POLL_S = 2.0
# What results depend on; the same everywhere, or the same command would give others.
SAME = ("crnn_snn_ros", "numpy", "opencv-python-headless", "torch", "mujoco", "rosbags")

_one_at_a_time = threading.Lock()  # networks keep state, and a process has one working folder


def on_cluster(
    address: str, run: Callable[[Item], Result], items: Sequence[Item]
) -> Generator[Result, None, None]:
    """Run each item on a worker; results in the order of the items, each of them once.

    Args:
        address: of the scheduler, ``tcp://host:8786``.
        run: as for ``spread``.
        items: likewise.

    Raises:
        ImportError: dask.distributed is not installed.
        ConfigError: there is no scheduler, no worker, or one of another version.
        CrnnSnnError: the cluster went away, or an item ended every worker that ran it.
    """
    with _connected(address) as client:
        _require_alike(client, address)
        batch = f"crnn_snn-{uuid.uuid4().hex}"
        waiting: list[Future] = [
            client.submit(_Task(os.getcwd(), run, item), key=f"{batch}-{number}")
            for number, item in enumerate(items)
        ]
        try:
            while waiting:
                yield _result(client, address, waiting[0])
                waiting.pop(0).release()  # the worker need not keep it
        finally:
            client.cancel(waiting, force=True)


@dataclass(frozen=True)
class _Task(Generic[Item, Result]):
    """An item, to be run as it would be run here."""

    folder: str
    run: Callable[[Item], Result]
    item: Item

    def __call__(self) -> Result:
        with _one_at_a_time:
            before = os.getcwd()
            try:
                os.chdir(self.folder)
            except OSError as error:
                raise ConfigError(
                    f"worker on {os.uname().nodename}: {self.folder}: {error.strerror}; the "
                    "workers of a cluster need the file system of who asks them"
                ) from None
            try:
                return self.run(self.item)
            finally:
                os.chdir(before)


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    try:
        import distributed
    except ImportError as error:
        raise ImportError(
            f"--scheduler needs dask.distributed ({error}): pip install 'crnn_snn_ros[scale]'"
        ) from None
    # What is wrong is said here, in one line.
    for name in ("distributed", "tornado", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        asyncio.run(asyncio.wait_for(_answer(address), CONNECT_S))
        client = distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TypeError, asyncio.TimeoutError) as error:
        raise ConfigError(
            f"no Dask scheduler answers at {address} ({str(error) or 'nothing came'}); "
            "expected tcp://HOST:PORT, as 'dask scheduler' prints it"
        ) from None
    try:
        yield client
    finally:
        client.close(timeout=CONNECT_S)


async def _answer(address: str) -> None:
    """Ask who is there: a client would wait for ever for what is no scheduler."""
    from distributed import Security
    from distributed.core import rpc

    async with rpc(address, connection_args=Security().get_connection_args("client")) as scheduler:
        await scheduler.identity()


def _require_alike(client: Client, address: str) -> None:
    from distributed import TimeoutError

    try:
        client.wait_for_workers(1, timeout=CONNECT_S)
    except TimeoutError:
        raise ConfigError(
            f"the scheduler at {address} has no workers; start some: "
            f"dask worker {address} --nworkers 4 --nthreads 1"
        ) from None
    versions: dict[str, Any] = client.get_versions(packages=SAME)
    here, workers = versions["client"], versions["workers"]
    for name, there in workers.items():
        for package in ("python", *SAME):
            ours, theirs = (node["packages"].get(package) for node in (here, there))
            if ours != theirs:
                raise ConfigError(
                    f"worker {name} has {package} {theirs}, here is {ours}: its results might "
                    "differ; use one environment for all"
                )


def _result(client: Client, address: str, future: Future) -> Any:
    from distributed import CancelledError, KilledWorker

    try:
        _wait(client, address, future)
        return future.result()
    except KilledWorker:
        raise CrnnSnnError(
            "an item ended every worker that ran it; were they out of memory?"
        ) from None
    except CancelledError:
        raise _gone(address) from None


def _wait(client: Client, address: str, future: Future) -> None:
    """Until the item is done, or nobody is there any more who could do it."""
    from distributed import TimeoutError

    last_seen_s = time.monotonic()
    while not future.done():
        try:
            future.exception(timeout=POLL_S)
        except TimeoutError:
            if client.status != "running":
                raise _gone(address) from None
            if client.scheduler_info()["workers"]:
                last_seen_s = time.monotonic()
            elif time.monotonic() - last_seen_s > WITHOUT_WORKERS_S:
                raise CrnnSnnError(
                    f"all workers of the Dask scheduler at {address} are gone"
                ) from None


def _gone(address: str) -> CrnnSnnError:
    return CrnnSnnError(f"the Dask scheduler at {address} went away")
