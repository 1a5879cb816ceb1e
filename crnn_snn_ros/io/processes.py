"""Work spread over processes, with results that do not depend on how many there are."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context
from typing import TypeVar

from crnn_snn_ros.core.errors import CrnnSnnError

Item = TypeVar("Item")
Result = TypeVar("Result")


def spread(
    run: Callable[[Item], Result],
    items: Iterable[Item],
    processes: int,
    progress: Callable[[Result], object] | None = None,
) -> list[Result]:
    """Run each item, over several processes (1: here).

    Args:
        run: With several processes it must be picklable (a function of a module, or a ``partial``
            of one), and so must be items and results.
        items: What to run.
        processes: How many.
        progress: Called with each result, in the order of the items.

    Returns:
        The results in the order of the items.

    Raises:
        CrnnSnnError: a process was killed, or died.
    """
    if processes == 1:
        return [_told(run(item), progress) for item in items]
    # Not forked: a copy of a process that has drawn, or started threads, may hang. Ctrl-C reaches
    # the children too, who end without a word: this process speaks for them.
    pool = ProcessPoolExecutor(
        processes, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_DFL)
    )
    try:
        return [_told(result, progress) for result in pool.map(run, items)]
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


def _told(result: Result, progress: Callable[[Result], object] | None) -> Result:
    if progress is not None:
        progress(result)
    return result
