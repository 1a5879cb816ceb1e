"""``crnn-snn VERB``: bags in, a proven spiking model out."""

from __future__ import annotations

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
    from crnn_snn_ros.core.errors import CrnnSnnError

    try:
        import tyro

        from crnn_snn_ros.cli.verbs import VERBS
    except ImportError as error:
        print(f"crnn-snn: {error}; pip install 'crnn_snn_ros[tools]'", file=sys.stderr)
        return EXIT_BAD_INPUT
    try:
        code: int = tyro.extras.subcommand_cli_from_dict(
            VERBS,
            prog="crnn-snn",
            description="Bags in, a proven spiking model out. Each verb has its own --help.",
            args=argv,
        )
        return code
    except CrnnSnnError as error:
        print(f"crnn-snn: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("crnn-snn: interrupted; finished files are whole, no other was left", file=sys.stderr)
        return EXIT_INTERRUPTED
