"""Errors that a user can mend: every message says what, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CrnnSnnError(Exception):
    """Base of all errors of this package; a tool prints it in one line and exits with 2."""


class ConfigError(CrnnSnnError):
    """A parameter, option or configuration file is wrong."""


class DataError(CrnnSnnError):
    """A bag, image or label is missing, damaged or contradictory."""


class ConversionError(CrnnSnnError):
    """A network cannot be converted without loss, or a graph breaks a proven bound."""


class ModelFileError(CrnnSnnError):
    """A model file is damaged, of another version, or hostile."""


class MessageTypeError(DataError):
    """A message is of another type than those of its topic, or of one that nobody defined."""


def closest(word: object, allowed: Iterable[str]) -> str:
    """What was perhaps meant by a word that is not allowed, to stand behind it in a message.

    Example:
        >>> closest("frame_rate", ["bags", "frame_rate_hz"])
        ' (did you mean frame_rate_hz?)'
        >>> closest("colour", ["bags", "frame_rate_hz"])
        ''
    """
    found = difflib.get_close_matches(str(word)[:80], list(allowed), 1)
    return f" (did you mean {found[0]}?)" if found else ""
