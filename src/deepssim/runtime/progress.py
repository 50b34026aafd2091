"""Messages that say where long work is: which step of how many, and about how long the rest takes.

Not here: progress bars inside a step (tqdm, on terminals only).
"""

import logging
import time

logger = logging.getLogger(__name__)

_LEAST_SECONDS = 2.0  # of measured work from which the rest is estimated


class Steps:
    """Numbered steps in the log.

    Some steps work through units of similar cost, such as images to compare. What the finished ones took tells how long
    those that follow will take.

    Args:
        count: steps.
    """

    def __init__(self, count: int) -> None:
        self._count, self._number = count, 0
        self._left, self._computed, self._seconds = 0, 0, 0.0
        self._started = time.monotonic()

    def expect(self, units: int) -> None:
        """Set how many units all steps have together."""
        self._left = units

    def start(self, what: str) -> None:
        """Say that a step starts, and the time left where it is known.

        Args:
            what: the step, in words.
        """
        self._number += 1
        self._started = time.monotonic()
        logger.info("step %d of %d: %s%s", self._number, self._count, what, self._rest())

    def finish(self, units: int, computed: int) -> None:
        """Note what the step, or a part of it, took.

        Args:
            units: that it had to do.
            computed: units that took time; the others were known.
        """
        self._left = max(self._left - units, 0)
        self._computed += computed
        now = time.monotonic()
        self._seconds += (now - self._started) if computed else 0.0
        self._started = now

    def report(self, what: str) -> None:
        """Say how far a long step is, and the time left where it can be told.

        Args:
            what: was done, in words.
        """
        logger.info("%s%s", what, self._rest())

    def _rest(self) -> str:
        if self._seconds < _LEAST_SECONDS or not self._left:
            return ""
        return f"; about {in_words(self._left * self._seconds / self._computed)} left"


class Pace:
    """Messages in the log that say how far one long piece of work is, and about how long the rest takes.

    Args:
        count: units of similar cost, such as files to read.
    """

    def __init__(self, count: int) -> None:
        self._count, self._done, self._started = count, 0, time.monotonic()

    def report(self, units: int, what: str) -> None:
        """Say that some more units are done, unless they are the last ones.

        Args:
            units: that were done since the last message.
            what: was done, in words.
        """
        self._done += units
        left = self._count - self._done
        if left > 0 and self._done:
            rest = left * (time.monotonic() - self._started) / self._done
            logger.info("%s of %s %s; about %s left", f"{self._done:,}", f"{self._count:,}", what, in_words(rest))


def in_words(seconds: float) -> str:
    """Return a duration as people say it: `40 s`, `5 min`, `2.5 h`."""
    if seconds < 100:
        return f"{max(round(seconds), 1)} s"
    return f"{round(seconds / 60)} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"
