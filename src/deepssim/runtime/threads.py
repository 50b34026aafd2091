"""Number of CPU threads that numerical libraries use."""

import argparse
import os

# A training on two threads took longer than on one up to 2e10 multiply-adds per batch while other programs used the processor
# (2.4 instead of 1.9 s), and ten times as long at 2e8, where threads mostly wait for each other.
_PER_THREAD = 2e9
_MOST_FOR_TRAINING = 8


def set_threads(threads: int) -> None:
    """Limit the threads of numerical libraries; this has an effect only before they are imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    # Busy-waiting threads make small training steps up to ten times slower on a shared machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def available_threads() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_count(text: str) -> int:
    """Parse a number of threads on the command line, at least 1; more than there are processors are as many."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return min(int(text), available_threads())


def training_threads(multiply_adds: float) -> int:
    """Return how many threads a training can use: few for small networks, whose threads would wait for each other.

    Args:
        multiply_adds: multiplications with additions of one batch in the forward pass.
    """
    return max(1, int(min(_MOST_FOR_TRAINING, multiply_adds / _PER_THREAD)))
