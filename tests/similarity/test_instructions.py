"""The instructions that numba has no words for do what loops in numpy do."""

import numpy as np
from numba import njit

from deepssim.similarity.instructions import (
    COLUMNS,
    LANES,
    ROWS,
    finish_stores,
    multiply_add,
    multiply_block,
    store_past_caches,
)


@njit
def block(rows, columns, out):
    multiply_block(rows, columns, out)


@njit
def chain(rows, columns):
    total = np.float32(0)
    for place in range(len(rows)):
        total = multiply_add(rows[place], columns[place], total)
    return total


@njit
def store(source, target, place):
    store_past_caches(source, target, place)
    finish_stores()


def test_a_block_is_chains_of_sums_within_its_limits(random):
    rows = random.normal(size=(50, ROWS)).astype(np.float32) / 4
    columns = random.normal(size=(50, COLUMNS)).astype(np.float32) / 4
    memory = np.full((ROWS, COLUMNS + 5), 7, np.float32)
    block(rows, columns, memory[:, 2:-3])  # a part of an array, whose rows are not beside each other
    expected = np.clip(rows.T.astype(float) @ columns, -1, 1)
    np.testing.assert_allclose(memory[:, 2:-3], expected, rtol=0, atol=1e-6)
    assert (np.abs(expected) == 1).any()
    assert (np.abs(expected) < 1).any()
    assert (memory[:, :2] == 7).all()
    assert (memory[:, -3:] == 7).all()
    alone = [
        [chain(rows[:, row].copy(), columns[:, column].copy()) for column in range(COLUMNS)] for row in range(ROWS)
    ]
    np.testing.assert_array_equal(memory[:, 2:-3], np.clip(alone, -1, 1))


def test_values_are_stored_where_they_belong(random):
    source = random.random(3 * LANES, dtype=np.float32)
    memory = np.zeros(5 * LANES, np.float32)
    start = -(memory.ctypes.data // 4) % LANES
    target = memory[start : start + 4 * LANES]
    store(source, target, LANES)
    np.testing.assert_array_equal(target[LANES : 2 * LANES], source[LANES : 2 * LANES])
    assert np.count_nonzero(memory) == LANES
