"""Image tables and pair tables: the CSV files that list the images and the labelled pairs.

Not here: pixels (images/), the choice of pairs (ground_truth/pairs.py).
"""

import warnings
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

import pandas as pd

from deepssim.errors import DataError, readable
from deepssim.images.keys import require_unique


class Role(StrEnum):
    """Role of an image for the generative model."""

    REAL = "real"
    SYNTHETIC = "synthetic"
    HOLDOUT = "holdout"


class Split(StrEnum):
    """Use of a real image, or of a pair."""

    TRAIN = "train"
    VALID = "valid"
    HOLDOUT = "holdout"
    TEST = "test"


IMAGE_COLUMNS = ("key", "path", "role", "subject", "split")
CAPTION_COLUMN = "caption_emb_path"  # npz file whose `data` holds the embedding of the image's caption

_TEXT_COLUMNS = {
    "key",
    "path",
    "role",
    "subject",
    "image_uid",
    "image_path",
    "real_key",
    "synth_key",
    "split",
    CAPTION_COLUMN,
}


def read_csv(path: str | Path, *, needs: Sequence[str]) -> pd.DataFrame:
    """Read a CSV file with a header; identifiers remain text, so that `007` is not read as 7.

    Args:
        path: CSV file.
        needs: required columns.

    Raises:
        DataError: if the file cannot be read, lacks a required column or has an empty entry in one; only `path` may be empty.
    """
    try:
        # pandas would also download URLs and unpack archives, so it gets an open file.
        with Path(path).open("rb") as file, readable(path, "CSV", "correct it"), warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows that are longer than the header
            table = pd.read_csv(
                file, dtype=dict.fromkeys(_TEXT_COLUMNS, str), keep_default_na=True, index_col=False, compression=None
            )
    except FileNotFoundError:
        raise DataError(f"{path}: does not exist; name an existing CSV file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read as CSV ({error.strerror}); name a CSV file") from None
    missing = [name for name in needs if name not in table.columns]
    if missing:
        raise DataError(
            f"{path}: lacks {len(missing)} of {len(needs)} required columns, first {missing[0]!r}; "
            f"it has {', '.join(map(str, table.columns))}"
        )
    for name in needs:
        empty = table.index[table[name].isna()]
        if len(empty) and name != "path":  # virtual patients have no file
            raise DataError(
                f"{path}: column {name!r} is empty in {len(empty)} of {len(table)} rows, first in line {empty[0] + 2}; "
                "fill it in or remove these rows"
            )
    return table


def read_images(path: str | Path) -> pd.DataFrame:
    """Read an image table: one row per image, columns `IMAGE_COLUMNS`, then covariates.

    Raises:
        DataError: if the file cannot be used or a key occurs more than once.
    """
    table = read_csv(path, needs=IMAGE_COLUMNS)
    require_unique(table["key"], str(path))
    return table


def keys_of(images: pd.DataFrame, *splits: Split) -> list[str]:
    """Return the keys of the images in some splits, in the order of the table.

    Args:
        images: image table.
        splits: splits to include.
    """
    return images.loc[images["split"].isin([str(split) for split in splits]), "key"].tolist()


def read_train_used(path: str | Path) -> list[str]:
    """Read the distinct keys of the images that the generator was trained on, from a table with the column `key`."""
    return list(dict.fromkeys(read_csv(path, needs=("key",))["key"]))


def write_csv(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table to a CSV file.

    Args:
        path: file to write.
        table: columns with a header; the index is not written.
    """
    table.to_csv(path, index=False, lineterminator="\n")
