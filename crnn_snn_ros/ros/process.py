"""Life of a node's process: start, spin, and a last word on SIGINT, SIGTERM and SIGHUP.

rclpy's own signal handlers invalidate the context before anybody can publish, so they are not
installed. Ours only sets an event; the main thread waits for it while another thread spins, so a
signal is heard even while every callback is busy.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Protocol

import rclpy
from rclpy.executors import Executor, MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from crnn_snn_ros.core.errors import CrnnSnnError

DONE, FAILED, BAD_INPUT = 0, 1, 2
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the last: its terminal is gone
# rclpy's MultiThreadedExecutor finds a message ready again and again until one of its threads has
# taken it, and in doing so keeps the interpreter from just that thread: 45 ms from image to command
# on an idle machine. A short sleep after each callback that was handed over: 2 ms.
HAND_OVER_S = 0.0005
M_ARENA_MAX, HEAPS = -8, 2  # the first is a constant of glibc's malloc.h


class Guarded(Protocol):
    """A node that can be started, and told to say its last word."""

    def start(self) -> None:
        """Begin to work.

        Raises:
            CrnnSnnError: it cannot, for a reason that the user can mend.
        """

    def finish(self) -> bool:
        """Say the last word; False if a callback is stuck, so that nothing can be destroyed."""

    def destroy_node(self) -> None:
        """Release everything."""


def run(make: Callable[[], Guarded], args: Sequence[str] | None, threads: int) -> int:
    """Run a node until SIGINT or SIGTERM.

    Args:
        make: builds the node, once ROS is initialised.
        args: command line with ``--ros-args``; None takes that of the process.
        threads: of the executor.

    Returns:
        Exit code: 0 stopped by a signal, 1 a fault of ours, 2 bad parameters or model.
    """
    stop = threading.Event()
    share_heaps()
    for number in SIGNALS:
        # Under nohup the terminal's end is none of ours; a shell's `&` must not make us deaf.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: stop.set())
    try:
        rclpy.init(
            args=None if args is None else list(args),
            signal_handler_options=SignalHandlerOptions.NO,
        )
    except RuntimeError as error:  # rcl's errors and its complaints of arguments are such
        return _refuse(error)
    node = None
    try:
        node = make()
        node.start()
        several = threads > 1
        executor = MultiThreadedExecutor(threads) if several else SingleThreadedExecutor()
        return _spin_until(stop, node, executor)
    except CrnnSnnError as error:
        return _refuse(error)
    finally:
        if node is not None:
            node.destroy_node()  # left to the interpreter, torch and rclpy crash at exit
        rclpy.try_shutdown()


def share_heaps() -> None:
    """Let all threads allocate from two heaps, where the C library is glibc.

    Else every thread that once held a frame keeps a heap of several megabytes: 640x480 at 30 Hz
    let resident memory grow by 18 MB in two minutes, with two heaps by 3.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, HEAPS)


def _spin_until(stop: threading.Event, node: Guarded, executor: Executor) -> int:
    executor.add_node(node)
    failures: list[str] = []
    spinning = threading.Thread(target=_spin, args=(executor, stop, failures), name="spin")
    spinning.start()
    stop.wait()
    finished = node.finish()
    spinning.join()
    if failures:
        print(failures[0], file=sys.stderr, flush=True)
    if not finished:
        print("error: the engine did not return; leaving it behind", file=sys.stderr, flush=True)
        os._exit(FAILED)  # the interpreter would wait for its thread for ever
    executor.shutdown()
    return FAILED if failures else DONE


def _spin(executor: Executor, stop: threading.Event, failures: list[str]) -> None:
    try:
        while not stop.is_set():
            executor.spin_once(timeout_sec=0.1)
            time.sleep(HAND_OVER_S)
    except Exception:  # reported by the main thread, after the last word
        failures.append(traceback.format_exc())
    finally:
        stop.set()


def _refuse(error: Exception) -> int:
    line = " ".join(str(error).split())
    print(f"error: {line}", file=sys.stderr, flush=True)
    return BAD_INPUT
