"""Number of CPU threads that numerical libraries use."""

import os


def set_threads(threads: int) -> None:
    """Limit the threads of numerical libraries; this has an effect only before they are imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    # Busy-waiting threads make small training steps up to ten times slower on a shared machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def available_threads() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
