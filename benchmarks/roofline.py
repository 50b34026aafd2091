"""The least time that a pair of images can take in the engine of SSIM on this machine: by arithmetic, and by memory."""

import numpy as np
from numba import get_num_threads, njit, prange

from benchmarks.jobs import SIZE
from benchmarks.measure import seconds
from deepssim.similarity.lanes import numba_threads
from deepssim.similarity.simd import ONE, VECTOR, load, multiply_add, store
from deepssim.similarity.ssim_constants import WINDOW

# Of ssim_kernel.py. Windows of four real and 16 synthetic images: instructions that multiply, on vectors of 16 numbers.
MULTIPLICATIONS, PAIRS = 37, 64
# Of the first rows of a band, per pixel of the same images; bands have 24 rows of windows.
FIRST_ROWS = 4 * WINDOW / 24
BYTES = 20 / VECTOR  # float32 numbers of a real image, per pixel and pair, which come from the last level of the cache
TEN = (0,) * 10


@njit(parallel=True)
def multiply(repetitions: int, values: np.ndarray, out: np.ndarray) -> None:
    """Run ten independent chains of multiplications with additions in each thread."""
    for thread in prange(get_num_threads()):
        sums, factor = load(values, 0, TEN), load(values, 0, ONE)
        for _ in range(repetitions):
            sums = multiply_add(sums, factor, factor)
        store(out, thread * len(TEN) * VECTOR, sums)


@njit(parallel=True, fastmath=True)
def total(values: np.ndarray) -> float:
    """Read an array once."""
    found = 0.0
    for place in prange(len(values)):
        found += values[place]
    return found


def roofline(threads: int, measured: float) -> str:
    """Compare the measured time per pair with what the machine could do.

    Args:
        threads: CPU threads.
        measured: seconds per pair of images of the paper's size.
    """
    values, out = np.full(10 * VECTOR, 0.5, np.float32), np.empty(threads * 10 * VECTOR, np.float32)
    large = np.ones(10**8, np.float32)
    repetitions = 10**7
    with numba_threads(threads):
        multiply(1, values, out), total(large[:100])
        rate = threads * 10 * repetitions / min(seconds(lambda: multiply(repetitions, values, out)) for _ in range(5))
        bandwidth = large.nbytes / min(seconds(lambda: total(large)) for _ in range(5))
    pixels, windows = SIZE[0] * SIZE[1], (SIZE[0] - WINDOW + 1) * (SIZE[1] - WINDOW + 1)
    arithmetic = (MULTIPLICATIONS * windows + FIRST_ROWS * pixels) / PAIRS / rate
    memory = BYTES * pixels / bandwidth
    return (
        f"SSIM: windows of 4 x {VECTOR} images take {MULTIPLICATIONS} vector instructions that multiply, of which {threads} cores execute "
        f"{rate / 1e9:.1f} billion per second, so a pair of {SIZE[0]}x{SIZE[1]} takes at least {1e6 * arithmetic:.2f} microseconds. "
        f"Reading {BYTES * pixels / 1e3:.0f} kB per pair takes {1e6 * memory:.2f} microseconds, at {bandwidth / 1e9:.0f} GB/s from memory. "
        f"Measured, from packs to a file: {1e6 * measured:.2f} microseconds, {arithmetic / measured:.0%} of the speed "
        "that arithmetic allows. The rest is other instructions: additions, loads, divisions."
    )
