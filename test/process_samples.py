"""Work for other processes, which cannot import a test."""

from __future__ import annotations

import os
import time


def square(number: int) -> tuple[int, int]:
    """Later items are done sooner."""
    time.sleep(0.02 * (5 - number))
    return number * number, os.getpid()


def fail_at(place: int, number: int) -> int:
    if number == place:
        raise ValueError(f"item {number}")
    return number


def die(_: int) -> None:
    os._exit(1)
