"""End a command by one sentence and its exit code when it is interrupted, after its files and processes were cleaned up.

Not here: errors (messages.py), outputs that appear whole or not at all (outputs.py).
"""

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from deepssim.runtime.processes import is_worker

logger = logging.getLogger(__name__)

_SIGNALS = {signal.SIGINT: "interrupted", signal.SIGTERM: "ended by SIGTERM"}
_ENDED_BY_SIGNAL = 128  # added to the number of the signal, as shells do: 130 and 143
_CLEANING_S = 3.0  # in which further signals are ignored: an impatient second Ctrl-C would leave files behind


class Interrupted(BaseException):
    """A signal asks the program to end; not a KeyboardInterrupt, on which Lightning exits with a code of its own."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.number = number


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Exit with one sentence and code 130 on SIGINT (Ctrl-C), 143 on SIGTERM, after all `finally` clauses have run.

    A signal that the program was started to ignore, as by `nohup`, stays ignored. Does nothing outside of the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: found for number in _SIGNALS if (found := signal.getsignal(number)) is not signal.SIG_IGN}
    last = [-_CLEANING_S]

    def stop(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - last[0] < _CLEANING_S:
            return
        last[0] = now
        raise Interrupted(signal.Signals(number))

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    except Interrupted as interruption:
        before = dict.fromkeys(before, signal.SIG_DFL)  # while the interpreter ends: a further signal ends it at once
        if not is_worker():
            logger.error(
                "%s; incomplete results were removed, and the same command continues from what is finished",
                _SIGNALS[interruption.number],
            )
        raise SystemExit(_ENDED_BY_SIGNAL + interruption.number) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
