"""What all tests share: no deadlines, as a machine may be busy, and one thread per process.

Where processes share the tests (``-n``), those with deadlines have the machine to themselves.
"""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings
from matrix import NEEDS_ROS

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the commands that tests start, too
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# A job in the background of a shell ignores Ctrl-C, and so would every command that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


# Held by one process with a test of ``alone``, or by any number of them with other tests.
_TURN = os.open(__file__, os.O_RDONLY) if "PYTEST_XDIST_WORKER" in os.environ else None


@cache
def _is_ros(file: Path) -> bool:
    return NEEDS_ROS.search(file.read_text(encoding="utf-8")) is not None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """ROS tests have deadlines. They come last: before, one process would wait for the other."""
    for item in items:
        if _is_ros(item.path):
            item.add_marker("alone")
    items.sort(key=_is_alone)


@pytest.hookimpl(hookwrapper=True, tryfirst=True)  # waiting is no part of what a test may take
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    if _TURN is not None:
        fcntl.flock(_TURN, fcntl.LOCK_EX if _is_alone(item) else fcntl.LOCK_SH)
    yield
    shared = _is_alone(item) and nextitem is not None and _is_alone(nextitem)  # perhaps a node
    if _TURN is not None and not shared:
        fcntl.flock(_TURN, fcntl.LOCK_UN)  # a forked process may have a copy of the open file


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None
