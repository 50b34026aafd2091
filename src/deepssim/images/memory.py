"""Bound the memory of large files that are read at the same time, however many threads read.

Not here: limits for a single file (frames.py).
"""

import threading

BUDGET = 1_500_000_000  # bytes of stored values that all open files hold together
_ALWAYS_ALLOWED = 2**24  # bytes; waiting for so little would only cost time
# Nothing releases memory if a caller keeps files open that it does not read; then exceeding the budget beats a deadlock.
_MAX_WAIT_S = 600.0

_changed = threading.Condition(threading.RLock())  # a reservation can be released by garbage collection inside a wait
_held: dict[int, int] = {}  # bytes by thread


class Reservation:
    """Memory that an open file holds; it ends with `release` or with the object.

    A thread waits until the others hold little enough. One that already holds a reservation never waits, and a file larger
    than the whole budget is read once no other is open, so that there is no deadlock.
    """

    def __init__(self, size: int) -> None:
        """Wait for and reserve `size` bytes."""
        self._thread = threading.get_ident()
        self._size = min(size, BUDGET) if size > _ALWAYS_ALLOWED else 0
        if self._size:
            with _changed:
                if not _held.get(self._thread):
                    _changed.wait_for(lambda: sum(_held.values()) + self._size <= BUDGET, timeout=_MAX_WAIT_S)
                _held[self._thread] = _held.get(self._thread, 0) + self._size

    def release(self) -> None:
        """Give the memory back; once or several times."""
        size, self._size = self._size, 0
        if size:
            with _changed:
                _held[self._thread] -= size
                if not _held[self._thread]:
                    del _held[self._thread]
                _changed.notify_all()

    def __del__(self) -> None:
        self.release()
