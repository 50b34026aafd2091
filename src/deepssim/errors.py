"""Errors that a user can cause; each message is one sentence with the way out.

Not here: programming errors, which stay ordinary exceptions with a traceback.
"""


class DeepssimError(Exception):
    """Base of all errors that are shown to the user without a traceback."""


class ConfigError(DeepssimError):
    """A setting is missing, misspelt, out of range or does not fit this machine."""


class DataError(DeepssimError):
    """An input file or its content cannot be used."""
