"""Conditions of the diffusion model: the covariates of a record, or the embedding of its caption.

Not here: cross-attention to the condition (diffusion.py), computing embeddings of captions (captions.py).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from deepssim.config.choices import Conditioning
from deepssim.datasets.tables import CAPTION_COLUMN
from deepssim.errors import ConfigError, DataError, readable
from deepssim.runtime.npz import read_npz

_MAX_BYTES = 1_000_000  # of the file of a caption's embedding; 512 numbers take 4,096
_LIMIT = 10.0  # larger ones would dominate the others, since keys and values of attention are linear in them


def read_conditions(
    images: pd.DataFrame, conditioning: Conditioning, columns: Sequence[str], *, source: str | Path
) -> np.ndarray | None:
    """Read the condition of every image.

    Args:
        images: image table with the columns that the conditioning needs.
        conditioning: nothing, covariates or captions.
        columns: names of the covariates, for `variables`.
        source: name of the table, for messages.

    Returns:
        float32 (N, 1, D), one token of D values per image; None without conditioning.

    Raises:
        ConfigError: if a column is not in the table.
        DataError: if a value is missing, not a number, not finite or too large, or embeddings differ in length.
    """
    if conditioning is Conditioning.NONE:
        return None
    values = _captions(images, source) if conditioning is Conditioning.TEXT else _variables(images, columns, source)
    wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(wrong):
        raise DataError(
            f"{source}: the conditions of {len(wrong)} of {len(images)} images are missing or not finite, first that of "
            f"{images['key'].iloc[wrong[0]]!r}; fill them in or remove these images"
        )
    return values[:, None].astype(np.float32)


def _variables(images: pd.DataFrame, columns: Sequence[str], source: str | Path) -> np.ndarray:
    _require_columns(images, columns, source, "ldm.condition_columns")
    values = images[list(columns)].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    large = [
        name for name, column in zip(columns, values.T, strict=True) if np.nanmax(np.abs(column), initial=0) > _LIMIT
    ]
    if large:
        raise DataError(
            f"{source}: {len(large)} of {len(columns)} columns of ldm.condition_columns have values beyond {_LIMIT:g}, first "
            f"{large[0]!r}; scale them to about 0 to 1, or they dominate the others"
        )
    return values


def _captions(images: pd.DataFrame, source: str | Path) -> np.ndarray:
    _require_columns(images, (CAPTION_COLUMN,), source, "ldm.conditioning 'text'")
    absent = [str(path) for path in images[CAPTION_COLUMN] if not Path(str(path)).exists()]
    if absent:
        raise DataError(
            f"{source}: {len(absent)} of {len(images)} caption embeddings do not exist, first {absent[0]}; {CAPTION_COLUMN} is "
            "looked for beside the dataset's table and below the working directory"
        )
    rows: list[np.ndarray] = []
    for key, path in zip(images["key"], images[CAPTION_COLUMN], strict=True):
        advice = (
            f"the caption embedding of {key!r} must be an npz whose `data` holds numbers (`deepssim embed-captions`)"
        )
        with readable(path, "npz", advice):  # of numbers
            values = np.asarray(read_npz(path, "data", max_bytes=_MAX_BYTES, advice=advice), np.float64).ravel()
        if rows and len(values) != len(rows[0]):
            raise DataError(
                f"{path}: has {len(values)} numbers, the first caption embedding {len(rows[0])}; embed all captions with one model"
            )
        rows.append(values)
    return np.stack(rows)


def _require_columns(images: pd.DataFrame, columns: Sequence[str], source: str | Path, setting: str) -> None:
    absent = [name for name in columns if name not in images.columns]
    if absent:
        raise ConfigError(
            f"{source}: has no column {absent[0]!r}, which {setting} needs ({len(absent)} of {len(columns)} are missing); "
            f"it has {', '.join(map(str, images.columns))}"
        )
