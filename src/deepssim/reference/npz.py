"""Score matrices, index files and embeddings as npz files of the DeepSSIM reference code: read and write them.

Not here: this project's own files (matrices.py, encoders/embeddings.py).

Source: file formats of the reference code (arXiv:2509.16582).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepssim.errors import DataError
from deepssim.images.keys import checked_keys, require_unique
from deepssim.runtime.npz import read_npz
from deepssim.similarity.scores import ScoreMatrix


def read_array(path: str | Path, name: str = "data") -> np.ndarray:
    """Read one array of an npz file; no code in the file is run.

    Args:
        path: of the file.
        name: of the array.

    Returns:
        The array with its own shape and dtype.

    Raises:
        DataError: if it has no such array.
    """
    return read_npz(path, name)


def read_index(path: str | Path) -> list[str]:
    """Read the keys of a matrix's rows or columns.

    Raises:
        DataError: if it holds something else, a key twice, or one that could lead out of an images folder.
    """
    values = read_array(path)
    if values.ndim != 1 or values.dtype.kind not in "US" or not len(values):
        raise DataError(f"{path}: `data` is {values.dtype} of shape {values.shape}, expected a list of image keys")
    keys = checked_keys([str(key) for key in values.astype(str)], str(path))
    require_unique(keys, str(path))
    return keys


def read_matrix(path: str | Path, real_keys: list[str], synth_keys: list[str], metric: str) -> ScoreMatrix:
    """Read a score matrix.

    Args:
        path: of the file.
        real_keys, synth_keys: keys of rows and columns, from the index files.
        metric: name of the metric.

    Returns:
        Scores with the stored dtype, usually float16; they are compared in float64 (`Scores.pair_scores`).

    Raises:
        DataError: if its shape is not that of the index files, or its dtype is not floating point.
    """
    scores = read_array(path)
    if scores.shape != (len(real_keys), len(synth_keys)) or scores.dtype.kind != "f":
        raise DataError(
            f"{path}: holds {scores.dtype} of shape {scores.shape}, but the index files name {len(real_keys)} real and "
            f"{len(synth_keys)} synthetic images; name the files that belong together"
        )
    return ScoreMatrix(real_keys, synth_keys, metric, scores)


def write_matrix(path: str | Path, scores: np.ndarray) -> None:
    """Write scores in the reference code's float16: three digits, so a score next to a threshold may change class.

    Args:
        path: npz to write.
        scores: floating point, shape (R, S).
    """
    np.savez(path, data=scores.astype(np.float16))


def write_index(path: str | Path, keys: Sequence[str]) -> None:
    """Write the keys of rows or columns.

    Args:
        path: npz to write.
        keys: in the order of the matrix.
    """
    np.savez(path, data=np.array(keys))


def write_embeddings(folder: Path, keys: Sequence[str], values: np.ndarray) -> None:
    """Write one file per image, `<key>.npz`, each complete or not at all; other files in the folder stay.

    Args:
        folder: to write into.
        keys: N image keys.
        values: float32, shape (N, D).
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / ".part.npz"
    try:
        for key, row in zip(keys, values, strict=True):
            np.savez(part, row)
            part.replace(folder / f"{key}.npz")
    finally:
        part.unlink(missing_ok=True)
