"""Which columns of a table name files and patients, in the workflow's tables and in metadata of Hugging Face's `imagefolder`.

Not here: reading tables (tables.py), what an audit takes from them (audit/subjects.py, audit/metadata.py).

Source: https://huggingface.co/docs/datasets/image_load, `metadata.csv` or `metadata.jsonl` with a column `file_name`.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from deepssim.datasets.tables import read_csv, read_json_lines
from deepssim.errors import DataError

METADATA = ("metadata.csv", "metadata.jsonl")
FILE_COLUMNS = ("image_path", "path", "file_name")
PATIENT_COLUMNS = ("subject", "subject_id", "patient", "patient_id", "participant_id")


def read_table(path: str | Path, *, needs: Iterable[str] = (), as_text: Iterable[str] = ()) -> pd.DataFrame:
    """Read a CSV file, or one with JSON objects one a line (`.jsonl`); identifiers remain text.

    Args:
        path: the file.
        needs: required columns; capital letters in their names do not matter.
        as_text: further columns that remain text, if they are there.

    Raises:
        DataError: if the file cannot be read, lacks a required column or has an empty entry in one.
    """
    if Path(path).suffix.lower() == ".jsonl":
        return read_json_lines(path, needs=tuple(needs))
    return read_csv(path, needs=tuple(needs), as_text=(*PATIENT_COLUMNS, *FILE_COLUMNS, *as_text))


def patient_column(table: pd.DataFrame, path: str | Path) -> str | None:
    """Return the name of the only column that names patients, in small letters; None if there is none.

    Args:
        table: with any columns.
        path: of the table, for messages.

    Raises:
        DataError: if several columns could.
    """
    there = {str(name).strip().lower() for name in table.columns}
    found = [name for name in PATIENT_COLUMNS if name in there]
    if len(found) > 1:
        raise DataError(
            f"{path}: {len(found)} of its columns may name patients, {' and '.join(map(repr, found))}; keep one of them"
        )
    return found[0] if found else None
