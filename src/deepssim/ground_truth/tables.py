"""Pair tables: the CSV files of the labelled pairs that train and test metrics.

Not here: choosing pairs (pairs.py), image tables (datasets/tables.py).
"""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from deepssim.datasets.tables import read_csv
from deepssim.errors import DataError

PAIR_COLUMNS = ("real_key", "synth_key", "ssim", "split")
TEST_COLUMNS = ("real_key", "synth_key", "ssim", "label")


def read_pairs(path: str | Path, splits: Collection[str] | None = None) -> pd.DataFrame:
    """Read a table of training pairs, columns `PAIR_COLUMNS`.

    Args:
        path: CSV.
        splits: whose rows are read, with their line numbers less 2 as index; all unless given.
    """
    table = read_csv(path, needs=PAIR_COLUMNS)
    if splits is not None:
        table = table[table["split"].isin(splits)].copy()
    return _require_numbers(table, path, "ssim")


def read_test_set(path: str | Path) -> pd.DataFrame:
    """Read a labelled test set, columns `TEST_COLUMNS`; labels are codes of `Label`."""
    return _require_numbers(read_csv(path, needs=TEST_COLUMNS), path, "ssim", "label")


def _require_numbers(table: pd.DataFrame, path: str | Path, *names: str) -> pd.DataFrame:
    """Return the table if the named columns hold finite numbers only; raise a DataError otherwise."""
    for name in names:
        numbers = pd.to_numeric(table[name], errors="coerce")
        wrong = table.index[~np.isfinite(numbers.to_numpy(np.float64))]
        if len(wrong):
            raise DataError(
                f"{path}: column {name!r} has {len(wrong)} of {len(table)} entries that are not finite numbers, first in "
                f"line {wrong[0] + 2}; correct or remove these rows"
            )
        if numbers.dtype != table[name].dtype:  # columns of an empty table have no numeric dtype
            table[name] = numbers
    return table
