"""Errors that users can cause; each message is one sentence that says what to do.

Not here: programming errors, which remain ordinary exceptions with a traceback.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class DeepssimError(Exception):
    """Base of all errors that are shown to the user without a traceback."""


class ConfigError(DeepssimError):
    """A setting is missing, misspelt, out of range or does not fit this machine."""


class DataError(DeepssimError):
    """A file or its content cannot be used."""


class NotAnImage(DataError):
    """A file holds no images by its nature, such as a DICOMDIR or a table: nothing is missed by leaving it out."""


class NotAVolume(DataError):
    """A file holds images, but they are not, or not certainly, the planes of a volume."""


_MOST_LISTED = 20


def joined(sentences: Sequence[str], what: str) -> str:
    """Return one sentence as it is, and several as a list, one per line, under their number.

    Args:
        sentences: at least one.
        what: words that follow the number, such as "settings are not usable".
    """
    if len(sentences) == 1:
        return sentences[0]
    more = [f"and {len(sentences) - _MOST_LISTED} more"] if len(sentences) > _MOST_LISTED else []
    return "\n  ".join([f"{len(sentences)} {what}:", *sentences[:_MOST_LISTED], *more])


def quoted(text: str) -> str:
    """Return text in quotes as the user wrote it; with escapes only where it cannot be shown."""
    return f"'{text}'" if text.isprintable() else repr(text)


@contextmanager
def readable(
    path: str | Path, kind: str, advice: str = "rerun the step that writes it", verdict: str = "cannot be read as"
) -> Iterator[None]:
    """Replace any exception inside the block by a DataError of one sentence.

    Damaged and hostile files make libraries raise nearly any exception, so the block must contain nothing but reading.

    Args:
        path: file that is being read.
        kind: expected content of the file.
        advice: what the user can do.
        verdict: words of the message between path and kind.

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
