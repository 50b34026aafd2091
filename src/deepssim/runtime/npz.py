"""Read npz files; damaged and hostile files are refused in one sentence.

Not here: which npz files the reference code writes (reference/npz.py), HDF5 (hdf5.py).
"""

import io
import zipfile
from pathlib import Path

import numpy as np

from deepssim.errors import DataError, readable

_ALWAYS_ALLOWED = 1_000_000  # bytes that an array may have in any case
_MAX_COMPRESSION = 100  # uncompressed to compressed size; images and scores stay far below
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npz(
    path: str | Path,
    name: str,
    *,
    most_bytes: int | None = None,
    advice: str = "it must be an npz as `np.savez` writes it",
) -> np.ndarray:
    """Read one array of an npz file; pickled objects are refused, so that no code in the file is run.

    Args:
        path: npz file.
        name: of the array in the file.
        most_bytes: largest size of the uncompressed array; 1 MB plus 100 times the size of the file unless given.
        advice: end of each message, saying what the user can do.

    Returns:
        The array, of any shape and of any type but object.

    Raises:
        DataError: if the file is absent or damaged, or the array is missing, larger than `most_bytes`, shorter than its
            header declares, or an array of objects.
    """
    if not Path(path).exists():
        raise DataError(f"{path}: does not exist; {advice}")
    if most_bytes is None:
        most_bytes = _ALWAYS_ALLOWED + _MAX_COMPRESSION * Path(path).stat().st_size
    with readable(path, repr(name), advice, verdict="holds no array"):
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
            content = member.read(most_bytes + 1)
        if len(content) > most_bytes:
            raise DataError(f"{path}: {name!r} is larger than the limit of {most_bytes:,} bytes; {advice}")
        file = io.BytesIO(content)
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"unknown version {version} of the npy format")
        shape, _, kind = _HEADERS[version](file)
        if int(np.prod([int(side) for side in shape], dtype=object)) * kind.itemsize > len(content):
            raise DataError(f"{path}: {name!r} declares shape {shape}, but is only {len(content):,} bytes; {advice}")
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
