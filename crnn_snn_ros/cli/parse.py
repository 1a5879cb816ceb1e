"""Arguments -> a verb ready to run, or help, or one line that says what is wrong with them."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial, wraps
from typing import Any

import tyro

from crnn_snn_ros.cli.verbs import VERBS
from crnn_snn_ros.core.errors import ConfigError

HELP = "run 'crnn-snn --help'"


def parse(arguments: list[str]) -> Callable[[], int] | int:
    """Understand a command line; the verb itself is not run.

    Returns:
        The verb with its options, or the exit code where only help was asked for.

    Raises:
        ConfigError: there is no such verb or option, or a value does not fit.
    """
    if not arguments:
        with redirect_stdout(sys.stderr):
            parse(["--help"])
        return 2
    if arguments[0] not in VERBS and not arguments[0].startswith("-"):
        raise ConfigError(f"there is no verb '{arguments[0]}', only {', '.join(VERBS)}; {HELP}")
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            verb: Callable[[], int] = tyro.extras.subcommand_cli_from_dict(
                {name: _deferred(verb) for name, verb in VERBS.items()},
                prog="crnn-snn",
                description="Bags in, a proven spiking model out. Each verb has its own --help.",
                args=arguments,
            )
        return verb
    except SystemExit as stop:
        if not stop.code:
            return 0
        raise ConfigError(f"{_first_paragraph(said.getvalue())}; {HELP}") from None


def _deferred(verb: Callable[..., int]) -> Callable[..., Callable[[], int]]:
    """The verb with its signature, but a call only binds: errors of parsing stay apart."""

    @wraps(verb)
    def bind(*args: Any, **options: Any) -> Callable[[], int]:
        return partial(verb, *args, **options)

    return bind


def _first_paragraph(box: str) -> str:
    """What is wrong, out of the frame that tyro draws around it and its advice."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box)
    lines = [line.strip("│ ") for line in plain.splitlines() if not line.startswith(("╭", "╰"))]
    end = next((n for n, line in enumerate(lines) if line.startswith("──")), len(lines))
    return " ".join(" ".join(lines[:end]).split())
