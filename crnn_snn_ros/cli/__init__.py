"""``crnn-snn VERB``: bags in, a proven spiking model out."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

EXIT_DONE, EXIT_CHECK_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: Arguments without the program's name; None takes those of the process.

    Returns:
        0 done, 1 the check failed, 2 bad input, 130 interrupted.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    if argv is None:  # a process of its own; what is under way is cleared away as after Ctrl-C
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = _run(arguments)
        sys.stdout.flush()  # here, where a reader that has gone is not yet a traceback
        return code
    except KeyboardInterrupt:
        print("crnn-snn: interrupted; finished files are whole, no other was left", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # of `crnn-snn ... | head`; what Python flushes at exit goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BAD_INPUT


def _run(arguments: list[str]) -> int:
    from crnn_snn_ros.core.errors import CrnnSnnError

    try:
        from crnn_snn_ros.cli.parse import parse

        run = parse(arguments)
        return run() if callable(run) else run
    except CrnnSnnError as error:
        return _refuse(str(error))
    except ImportError as error:
        remedy = "" if "pip install" in str(error) else "; pip install 'crnn_snn_ros[tools]'"
        return _refuse(f"{error}{remedy}")
    except BrokenPipeError:
        raise
    except OSError as error:  # disk full, no permission: wherever it struck, nothing half-written
        where = f"{error.filename}: " if error.filename else ""
        return _refuse(f"{where}{error.strerror or error}; nothing half-written was left")


def _refuse(message: str) -> int:
    print(f"crnn-snn: {' '.join(message.split())}", file=sys.stderr)
    return EXIT_BAD_INPUT
