"""Image tables and pair tables: the CSV files that list the images and the labelled pairs.

Not here: pixels (images/), the choice of pairs (ground_truth/pairs.py).
"""

import io
import json
import logging
import warnings
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

import pandas as pd

from deepssim.errors import DataError, readable
from deepssim.images.keys import require_unique
from deepssim.images.listing import printable

logger = logging.getLogger(__name__)


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
CANARY_COLUMN = "canary"  # 1 for subjects whose split was drawn by the toss of a coin, else 0
CAPTION_COLUMN = "caption_emb_path"  # npz file whose `data` holds the embedding of the image's caption

_SEPARATORS = (",", ";", "\t")  # the first wins a tie
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


def read_csv(path: str | Path, *, needs: Sequence[str], as_text: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV file with a header; identifiers remain text, so that `007` is not read as 7.

    Args:
        path: CSV file with commas, semicolons or tabs, in UTF-8 or UTF-16.
        needs: required columns; capital letters in the header do not matter.
        as_text: further columns that remain text, if they are there.

    Raises:
        DataError: if the file cannot be read, lacks a required column or has an empty entry in one; only `path` may be empty.
    """
    try:
        # pandas would also download URLs and unpack archives, so it gets the content.
        content = Path(path).read_bytes()
        with readable(path, "CSV", "correct it, and save it as UTF-8"), warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows that are longer than the header
            text = content.decode("utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
            header = text.lstrip("\n").partition("\n")[0].rstrip("\r")
            separator = max(_SEPARATORS, key=header.count)
            names = [_plain(name) for name in header.split(separator)]
            table = pd.read_csv(
                io.StringIO(text), sep=separator, keep_default_na=True, index_col=False,
                dtype={name: str for name in names if name.lower() in {*_TEXT_COLUMNS, *map(str.lower, as_text)}},
            )  # fmt: skip
            table = table.rename(columns=_known_names(table.columns, needs))
    except FileNotFoundError:
        raise DataError(f"{path}: does not exist; name an existing CSV file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read as CSV ({error.strerror}); name a CSV file") from None
    return _checked(table, path, needs)


def read_json_lines(path: str | Path, *, needs: Sequence[str]) -> pd.DataFrame:
    """Read a file with one JSON object a line as a table of text; lists and objects inside of the objects are left out.

    Args:
        path: the file, in UTF-8.
        needs: required names; capital letters do not matter.

    Raises:
        DataError: as for `read_csv`.
    """
    with readable(path, "JSON lines", "correct it, and save it as UTF-8"):
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
        rows = [json.loads(line).items() for line in lines if line.strip()]
    table = pd.DataFrame(
        [{name: str(value) for name, value in row if isinstance(value, (str, int, float))} for row in rows]
    )
    return _checked(table.rename(columns=_known_names(table.columns, needs)), path, needs)


def _checked(table: pd.DataFrame, path: str | Path, needs: Sequence[str]) -> pd.DataFrame:
    missing = [name for name in needs if name not in table.columns]
    if missing:
        raise DataError(
            f"{path}: lacks {len(missing)} of {len(needs)} required columns, first {missing[0]!r}; "
            f"it has {', '.join(map(str, table.columns))}"
        )
    for name in needs:
        if name != "path":  # virtual patients have no file
            require_filled(table, name, path)
    return table


def _plain(name: str) -> str:
    return name.strip().strip('"')


def _known_names(columns: Sequence[str], needs: Sequence[str]) -> dict[str, str]:
    """Return new names for columns that are known but for capital letters and spaces around them."""
    known = {*_TEXT_COLUMNS, *needs}
    found = {name: str(name).strip().lower() for name in columns if name not in known}
    return {name: lower for name, lower in found.items() if lower in known and lower not in columns}


def require_filled(table: pd.DataFrame, column: str, path: str | Path) -> None:
    """Raise a DataError if a column has empty entries."""
    empty = table.index[table[column].isna()]
    if len(empty):
        raise DataError(
            f"{path}: column {column!r} is empty in {len(empty)} of {len(table)} rows, first in line {empty[0] + 2}; "
            "fill it in or remove these rows"
        )


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


def canaries_of(images: pd.DataFrame) -> dict[str, bool]:
    """Return for each subject whose split was drawn at random whether the draw made it a training subject.

    Args:
        images: image table; without a column `canary`, there are none.
    """
    if CANARY_COLUMN not in images:
        return {}
    drawn = images[images[CANARY_COLUMN] == 1].drop_duplicates("subject")
    return dict(zip(drawn["subject"], drawn["split"] == str(Split.TRAIN), strict=True))


def read_train_used(path: str | Path) -> list[str]:
    """Read the distinct keys of the images that the generator was trained on, from a table with the column `key`."""
    return list(dict.fromkeys(read_csv(path, needs=("key",))["key"]))


def locate_files(names: Sequence[str], table: Path, *, required: bool = True) -> list[Path]:
    """Find the files that a table names, beside the table or else below the working directory.

    Args:
        names: paths as the table gives them.
        table: path of the table.
        required: whether all must exist; otherwise a missing file has the path that it would have beside the table.

    Returns:
        Path of each file. One that exists in both places is that beside the table, and a message says so.

    Raises:
        DataError: if files are required and missing.
    """
    beside, here = [table.parent / name for name in names], [Path(name) for name in names]
    rows = {row for row, path in enumerate(beside) if _exists(path)}
    elsewhere = {row for row, path in enumerate(here) if path != beside[row] and _exists(path)}
    missing = [row for row in range(len(names)) if row not in rows | elsewhere]
    if required and missing:
        first = dict.fromkeys((str(beside[missing[0]]), str(here[missing[0]].absolute())))
        raise DataError(
            f"{table}: {len(missing)} of {len(names)} files cannot be used, first {' or '.join(map(printable, first))}, which "
            f"{'do not' if len(first) > 1 else 'does not'} exist; paths are relative to the folder of the table or to the working "
            "directory"
        )
    twice = [row for row in sorted(rows & elsewhere) if not beside[row].samefile(here[row])]
    if twice:
        logger.warning(
            "%s: %d of %d files exist both beside the table and below the working directory, first %s; those beside the "
            "table are read", table, len(twice), len(names), printable(names[twice[0]]),
        )  # fmt: skip
    return [here[row] if row in elsewhere - rows else beside[row] for row in range(len(names))]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name longer than any file's
        return False


def write_csv(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table to a CSV file.

    Args:
        path: file to write.
        table: columns with a header; the index is not written.
    """
    table.to_csv(path, index=False, lineterminator="\n")
