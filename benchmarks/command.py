"""``crnn-snn`` as a user would run it, for benchmarks that may be cut off and run again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crnn_snn_ros.io.atomic import replacing


def crnn_snn(*arguments: object) -> str:
    """Run a verb, told on standard error; its standard output.

    Raises:
        SystemExit: it failed, or found a difference.
    """
    words = [str(argument) for argument in arguments]
    print("crnn-snn", *words, file=sys.stderr, flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "crnn_snn_ros.cli", *words],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        raise SystemExit(f"crnn-snn {words[0]} ended with {done.returncode}")
    return done.stdout


def kept_json(path: Path, *arguments: object) -> Any:
    """What a verb says with ``--json``; it is run only if ``path`` does not hold that already."""
    return kept(path, lambda: crnn_snn(*arguments, "--json"))


def kept(path: Path, make: Callable[[], str]) -> Any:
    """JSON that is in a file, or is made now and kept there."""
    if not path.exists():
        write(path, make())
    return json.loads(path.read_text(encoding="utf-8"))


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all, in a folder that is made where missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
