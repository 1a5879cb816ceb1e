"""Threads of a node share their heaps."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from crnn_snn_ros.ros.process import HEAPS

COUNT = """
import ctypes, sys, threading
from crnn_snn_ros.ros.process import share_heaps
if sys.argv[1] == "shared":
    share_heaps()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(8)
def allocate():
    together.wait()
    libc.malloc(ctypes.c_size_t(4096))
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fdopen(1, b"w")))
libc.fflush(None)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the heaps are glibc's")
def test_threads_share_their_heaps():
    heaps = {}
    for name in ("shared", "own"):
        told = subprocess.run(
            [sys.executable, "-c", COUNT, name], capture_output=True, text=True, check=True
        ).stdout
        heaps[name] = told.count("<heap nr")
    assert heaps["shared"] <= HEAPS + 1 < heaps["own"], "the first may have been there before"
