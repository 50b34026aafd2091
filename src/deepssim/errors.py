"""Errors that a user can cause; each message is one sentence with the way out.

Not here: programming errors, which stay ordinary exceptions with a traceback.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class DeepssimError(Exception):
    """Base of all errors that are shown to the user without a traceback."""


class ConfigError(DeepssimError):
    """A setting is missing, misspelt, out of range or does not fit this machine."""


class DataError(DeepssimError):
    """An input file or its content cannot be used."""


@contextmanager
def readable(
    path: str | Path, kind: str, advice: str = "make it again", verdict: str = "cannot be read as"
) -> Iterator[None]:
    """Turn whatever a decoder raises for the bytes of a file into one sentence; use it around nothing but reading.

    Damaged and hostile files make libraries raise nearly every exception that there is.

    Raises:
        DataError: in place of any exception that is not one of this module.
    """
    try:
        yield
    except DeepssimError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path}: {verdict} {kind} ({reason}); {advice}") from None
