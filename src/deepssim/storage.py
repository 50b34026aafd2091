"""The one way HDF5 files are opened, so that a damaged or foreign file gives one sentence instead of a traceback.

Not here: what the files hold (images/packs.py, encoders/embeddings.py, similarity/matrices.py, generative/latents.py).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from deepssim.errors import DataError

_TEXT = h5py.string_dtype("utf-8")


@contextmanager
def open_hdf5(path: str | Path, *, needs: Sequence[str]) -> Iterator[Any]:
    """Open an HDF5 file for reading and check that it holds the datasets `needs`.

    Raises:
        DataError: if the file is absent, truncated, not HDF5 or lacks a dataset.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        reason = "does not exist" if not Path(path).exists() else f"is damaged or not HDF5 ({error})"
        raise DataError(f"{path}: {reason}; make it again") from None
    with file:
        missing = [name for name in needs if name not in file]
        if missing:
            raise DataError(f"{path}: lacks dataset {missing[0]!r}; it is not the kind of file that this step reads")
        yield file


def write_keys(file: Any, name: str, keys: Sequence[str]) -> None:
    """Store a list of keys under `name`."""
    file.create_dataset(name, data=np.array(keys, dtype=object), dtype=_TEXT)


def read_keys(file: Any, name: str, *, expected: int) -> list[str]:
    """Read a list of keys that must have `expected` entries."""
    keys = [str(key) for key in file[name].asstr()[:]]
    if len(keys) != expected:
        raise DataError(f"{file.filename}: {len(keys)} {name} for {expected} rows of data; make the file again")
    return keys
