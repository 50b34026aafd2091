"""Stacks of vectors in compiled functions: the arithmetic is that of numpy."""

import numpy as np
import pytest
from numba import njit

from deepssim.similarity.simd import ONE, VECTOR, load, multiply_add, spread, store

THREE = (0, 0, 0)


@njit
def arithmetic(values, other, kind, out):
    stack, vector = load(values, 5, THREE), load(other, 3, ONE)
    if kind == 0:
        store(out, 0, stack + vector)
    elif kind == 1:
        store(out, 0, vector - stack)
    elif kind == 2:
        store(out, 0, stack * stack)
    elif kind == 3:
        store(out, 0, stack / vector)
    elif kind == 4:
        store(out, 0, -stack)
    elif kind == 5:
        store(out, 0, multiply_add(stack, vector, vector))
    else:
        store(out, 0, spread(values, 2, THREE))


@pytest.mark.parametrize(
    ("number", "other"), [(np.float32, np.float32), (np.float32, np.int16), (np.float64, np.float64)]
)
def test_operations_are_those_of_numpy(random, number, other):
    values = random.uniform(1, 2, 80).astype(number)
    vector = random.integers(1, 100, 40).astype(other)
    stack, one = values[5 : 5 + 3 * VECTOR].reshape(3, VECTOR), vector[3 : 3 + VECTOR].astype(number)
    expected = [stack + one, one - stack, stack * stack, stack / one, -stack]
    out = np.empty(3 * VECTOR, number)
    for kind, result in enumerate(expected):
        arithmetic(values, vector, kind, out)
        np.testing.assert_array_equal(out.reshape(3, VECTOR), result)
    arithmetic(values, vector, 5, out)
    np.testing.assert_allclose(out.reshape(3, VECTOR), stack * one + one, rtol=1e-6)
    arithmetic(values, vector, 6, out)
    np.testing.assert_array_equal(out.reshape(3, VECTOR), np.repeat(values[2:5, None], VECTOR, axis=1))


def test_whole_numbers_stay_exact():
    """Below 2^24, as the engine of SSIM needs it, whether a processor rounds once or twice."""
    values = np.zeros(80, np.float32)
    values[5:53], other = 4095.0, np.full(40, 4095, np.int16)
    out = np.empty(48, np.float32)
    arithmetic(values, other, 5, out)
    assert (out == 4095 * 4095 + 4095).all()
