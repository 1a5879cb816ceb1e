"""Work spread over processes, with results that do not depend on how many there are, or where."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import TypeVar

from crnn_snn_ros.core.errors import ConfigError, CrnnSnnError
from crnn_snn_ros.io.atomic import remove_unfinished

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Workers:
    """Who does the work: processes of this machine, or those of a Dask cluster.

    Args:
        processes: of this machine; 1 is this very process.
        scheduler: address of a Dask scheduler, whose workers do it instead (``io.cluster``).

    Raises:
        ConfigError: no process, or both are given.
    """

    processes: int = 1
    scheduler: str | None = None

    def __post_init__(self) -> None:
        if self.processes < 1:
            raise ConfigError(f"--jobs or --processes is {self.processes}, must be at least 1")
        if self.scheduler is not None and self.processes != 1:
            raise ConfigError(
                f"{self.processes} processes of this machine, and the workers of "
                f"--scheduler {self.scheduler}: leave one of them out"
            )

    @property
    def elsewhere(self) -> bool:
        """Whether other processes than this one work."""
        return self.processes > 1 or self.scheduler is not None


HERE = Workers()


def spread(
    run: Callable[[Item], Result],
    items: Iterable[Item],
    workers: Workers = HERE,
    progress: Callable[[Result], object] | None = None,
    made: Callable[[Item], Iterable[Path]] | None = None,
) -> list[Result]:
    """Run each item.

    Args:
        run: With other processes it must be picklable (a function of a module, or a ``partial``
            of one), and so must be items and results. On a cluster it may run again for an item
            whose worker died, be it after the files of ``made`` were finished.
        items: What to run.
        workers: Who does it.
        progress: Called with each result, in the order of the items.
        made: Files and folders that an item becomes; what was begun of them and is not whole is
            removed at the end, however it comes.

    Returns:
        The results in the order of the items.

    Raises:
        CrnnSnnError: a process was killed, or died; a cluster that cannot be reached.
    """
    given = list(items)
    results: list[Result] = []
    try:
        with closing(stream(run, given, workers)) as coming:
            for result in coming:
                results.append(result)
                if progress is not None:
                    progress(result)
    finally:
        if made is not None and workers.elsewhere:
            remove_unfinished(path for item in given for path in made(item))
    return results


def stream(
    run: Callable[[Item], Result], items: list[Item], workers: Workers
) -> Generator[Result, None, None]:
    """The results of ``spread`` one by one, in the order of the items; to be closed.

    Raises:
        CrnnSnnError: as ``spread``.
    """
    if not workers.elsewhere:
        return (run(item) for item in items)
    if workers.scheduler is None:
        return _in_processes(run, items, workers.processes)
    from crnn_snn_ros.io.cluster import on_cluster

    return on_cluster(workers.scheduler, run, items)


def _begin() -> None:
    """What a child does first."""
    # Ctrl-C reaches the children too, who end without a word: their parent speaks for them.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed tells nobody, and its children would wait for work for ever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _in_processes(
    run: Callable[[Item], Result], items: list[Item], processes: int
) -> Generator[Result, None, None]:
    # Not forked: a copy of a process that has drawn, or started threads, may hang.
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _begin)
    try:
        yield from pool.map(run, items)
    except BrokenProcessPool:
        raise CrnnSnnError(
            "a process ended by itself; was it out of memory? Try fewer of them"
        ) from None
    except BaseException:
        for child in active_children():  # what they are at may take long, and nobody wants it now
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
