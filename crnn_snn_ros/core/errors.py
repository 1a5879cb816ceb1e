"""Errors that a user can mend: every message says what, where, and what to do."""


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
