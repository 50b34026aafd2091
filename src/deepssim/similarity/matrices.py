"""Score matrices: real x synthetic scores with both key lists, in one HDF5 file.

Not here: computing scores (ssim.py, embeddings.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from deepssim.errors import DataError
from deepssim.images.keys import require_unique
from deepssim.storage import open_hdf5, read_keys, write_keys


@dataclass(frozen=True)
class ScoreMatrix:
    """Scores of one metric.

    Attributes:
        scores: float32 (R, S), [i, j] is real i against synthetic j; higher is more similar.
        real_keys: R keys of the rows.
        synth_keys: S keys of the columns.
        metric: name of the metric.
    """

    scores: np.ndarray
    real_keys: list[str]
    synth_keys: list[str]
    metric: str

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.real_keys)}

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {key: column for column, key in enumerate(self.synth_keys)}

    def rows(self, real_keys: Sequence[str]) -> np.ndarray:
        """Return the row numbers of real keys."""
        return _look_up(real_keys, self._rows, "real")

    def pair_scores(self, real_keys: Sequence[str], synth_keys: Sequence[str]) -> np.ndarray:
        """Return the scores of N pairs, float64 (N,).

        Raises:
            DataError: if a key is not in the matrix.
        """
        rows, columns = self.rows(real_keys), _look_up(synth_keys, self._columns, "synthetic")
        return self.scores[rows, columns].astype(np.float64)


def write_matrix(path: str | Path, matrix: ScoreMatrix) -> None:
    """Write a score matrix.

    Raises:
        DataError: if a score is not finite, naming the pair, or a key occurs twice.
    """
    bad = np.argwhere(~np.isfinite(matrix.scores))
    if len(bad):
        row, column = bad[0]
        raise DataError(
            f"{matrix.metric}: {len(bad)} scores are not finite, first of {matrix.real_keys[row]!r} and "
            f"{matrix.synth_keys[column]!r}; check these images"
        )
    require_unique(matrix.real_keys, "real images")
    require_unique(matrix.synth_keys, "synthetic images")
    with h5py.File(path, "w") as file:
        file.create_dataset("scores", data=matrix.scores.astype(np.float32))
        file.attrs["metric"] = matrix.metric
        write_keys(file, "real_keys", matrix.real_keys)
        write_keys(file, "synth_keys", matrix.synth_keys)


def read_matrix(path: str | Path) -> ScoreMatrix:
    """Read a score matrix.

    Raises:
        DataError: if the file is damaged or not a score matrix.
    """
    with open_hdf5(path, needs=("scores", "real_keys", "synth_keys")) as file:
        scores = file["scores"][:]
        return ScoreMatrix(
            scores,
            read_keys(file, "real_keys", expected=scores.shape[0]),
            read_keys(file, "synth_keys", expected=scores.shape[1]),
            str(file.attrs["metric"]),
        )


def join_columns(shards: Sequence[ScoreMatrix]) -> ScoreMatrix:
    """Put column shards side by side.

    Raises:
        DataError: if they are not of the same metric and real images.
    """
    first = shards[0]
    for number, shard in enumerate(shards):
        if shard.real_keys != first.real_keys or shard.metric != first.metric:
            raise DataError(f"shard {number} is of other real images or another metric than shard 0; make it again")
    return ScoreMatrix(
        np.concatenate([shard.scores for shard in shards], axis=1),
        first.real_keys,
        [key for shard in shards for key in shard.synth_keys],
        first.metric,
    )


def _look_up(keys: Sequence[str], index: dict[str, int], side: str) -> np.ndarray:
    absent = [key for key in keys if key not in index]
    if absent:
        raise DataError(
            f"{len(absent)} of {len(keys)} {side} images are not in the score matrix, first {absent[0]!r}; "
            "make the matrix again or remove these rows"
        )
    return np.array([index[key] for key in keys], dtype=np.int64)
