"""Read npz files; damaged and malicious files are refused with a one-sentence message.

Not here: the npz files of the reference code (reference/npz.py), HDF5 (hdf5.py).
"""

import io
import zipfile
from pathlib import Path

import numpy as np

from deepssim.errors import DataError, readable

_ALWAYS_ALLOWED = 1_000_000  # bytes that any array may have, however small its file
_MAX_COMPRESSION = 100  # uncompressed to compressed size; images and scores stay far below
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npz(
    path: str | Path,
    name: str,
    *,
    max_bytes: int | None = None,
    advice: str = "it must be an npz file as written by `np.savez`",
) -> np.ndarray:
    """Read one array of an npz file; pickled objects are refused, so that no code in the file is executed.

    Args:
        path: npz file.
        name: name of the array in the file.
        max_bytes: largest size of the uncompressed array; default: 1 MB plus 100 times the file size.
        advice: end of each message, saying what the user can do.

    Returns:
        The array, any shape and any dtype except object.

    Raises:
        DataError: if the file is absent or damaged, or the array is missing, larger than `max_bytes`, shorter than its
            header declares, or an array of objects.
    """
    if not Path(path).exists():
        raise DataError(f"{path}: does not exist; {advice}")
    if max_bytes is None:
        max_bytes = _ALWAYS_ALLOWED + _MAX_COMPRESSION * Path(path).stat().st_size
    with readable(path, repr(name), advice, verdict="holds no array"):
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
            content = member.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise DataError(f"{path}: {name!r} is larger than the limit of {max_bytes:,} bytes; {advice}")
        file = io.BytesIO(content)
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"unknown version {version} of the npy format")
        shape, _, kind = _HEADERS[version](file)
        if int(np.prod([int(side) for side in shape], dtype=object)) * kind.itemsize > len(content):
            raise DataError(f"{path}: {name!r} declares shape {shape}, but is only {len(content):,} bytes; {advice}")
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
