"""Compile functions by numba and keep the machine code where a folder for it can be written.

Not here: the number of threads they run with (threads.py).
"""

import logging
from collections.abc import Callable
from typing import Any

from numba import njit

logger = logging.getLogger(__name__)


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function at its first call.

    Numba keeps the code beside the source or in the home folder. Where neither can be written, as in a container that is
    read-only, the function is compiled again in each process, which takes seconds.

    Args:
        options: of `numba.njit`, without `cache`.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            logger.debug("%s is not cached: %s", function.__name__, error)
            return njit(**options)(function)

    return decorate
