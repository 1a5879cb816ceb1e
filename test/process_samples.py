"""Work for other processes, which cannot import a test."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from crnn_snn_ros.data.bag_writer import BagWriter


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


def name_of_file(name: str) -> str:
    """A file of the folder that the work is done in."""
    return Path(name).read_text()


def bag_then_die(when: str, bag: Path) -> str:
    """Write a bag; the first time die, before it is whole or after, but before anybody is told."""
    first = bag.with_suffix(".begun")
    try:
        first.touch(exist_ok=False)
    except FileExistsError:
        when = "never"
    with BagWriter(bag, {"source": bag.name}, again=True) as writer:
        for number in range(100):
            writer.float32("/steering", number, 0.5)
            if when == "before" and number == 50:
                os.kill(os.getpid(), signal.SIGKILL)
    if when == "after":
        os.kill(os.getpid(), signal.SIGKILL)
    return bag.name


def slow_bag(seconds: float, bag: Path) -> str:
    """Write a bag, not too fast."""
    with BagWriter(bag, again=True) as writer:
        writer.float32("/steering", 0, 0.5)
        time.sleep(seconds)
    return bag.name
