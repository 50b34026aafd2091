"""Messages on the terminal and in a log file, and one-sentence messages for errors that a user can fix.

Not here: setting up jobs (jobs.py).
"""

import errno
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepssim.errors import DeepssimError
from deepssim.runtime.processes import is_first_worker, is_worker

logger = logging.getLogger("deepssim")

DETAILS = "details"  # `logger.info(..., extra={DETAILS: text})`: text that only log files get

# Not writable or readable, or a file where a folder is needed and the reverse.
_REFUSED = (
    errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP,
)  # fmt: skip
_FULL_DISK = re.compile(rf"(os error |errno = ){errno.ENOSPC}\b")
_DAMAGED = re.compile(r"Can't (synchronously )?read data")  # h5py's message for a file that opened without error


class _WithDetails(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        details = getattr(record, DETAILS, None)
        return super().format(record) + (f"; {details}" if details else "")


@contextmanager
def log_to(path: str | Path | None) -> Iterator[None]:
    """Show this package's messages on the terminal and, with a path, keep them with their details in a file.

    In distributed training, the first process appends to the log of the program that started it; the others log errors
    only.

    Args:
        path: log file, or None.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if path and (not is_worker() or is_first_worker()):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        handlers.append(
            logging.FileHandler(path, mode="a" if is_worker() else "w", encoding="utf-8", errors="backslashreplace")
        )
    for handler in handlers:
        kind = _WithDetails if isinstance(handler, logging.FileHandler) else logging.Formatter
        handler.setFormatter(kind("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
    logger.setLevel(logging.ERROR if is_worker() and not is_first_worker() else logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


@contextmanager
def short_errors() -> Iterator[None]:
    """Exit with a one-sentence message for an error that a user can fix, and with a traceback for any other."""
    try:
        yield
    except DeepssimError as error:
        logger.error("%s", error)  # a traceback would not help
        raise SystemExit(1) from None
    except Exception as error:
        advice = _advice(error)
        if advice:
            logger.error("%s", advice)
            raise SystemExit(1) from None
        logger.exception("unexpected error")
        raise SystemExit(2) from None


def _advice(error: BaseException) -> str | None:
    """Return the message for a system error that a user can fix, None for any other error."""
    chain = [error]
    while following := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(following)
    # Libraries that write files themselves raise their own exceptions, but these quote the system's error code.
    if any(getattr(one, "errno", None) == errno.ENOSPC or _FULL_DISK.search(str(one)) for one in chain):
        return (
            f"no space is left on the disk of {Path.cwd()} or of the outputs; free some space and rerun the same "
            "command: finished results are kept, and training continues from its last checkpoint"
        )
    refused = next((one for one in chain if getattr(one, "errno", None) in _REFUSED), None)
    if refused is not None:
        return (
            f"{getattr(refused, 'filename', None) or 'a file'} cannot be written or read ({os.strerror(refused.errno)}); "  # type: ignore[attr-defined]
            "change its permissions, or name another file or folder"
        )
    damaged = next((one for one in chain if _DAMAGED.search(str(one))), None)
    if damaged is not None:
        return f"an input file is damaged ({damaged}); `deepssim verify` names it; remove it and repeat the step that writes it"
    if any(type(one).__name__ == "OutOfMemoryError" for one in chain):  # torch's, without importing it
        return (
            f"out of GPU memory ({' '.join(str(error).split())[:120]}); lower batch_size, and for training raise accumulate "
            "by the same factor to keep its effective batch size"
        )
    return None
