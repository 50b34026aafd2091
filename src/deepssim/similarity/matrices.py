"""Score files (HDF5), written tile by tile and memory-mapped for reading.

A file holds the dense matrix or, if that is too large, the best partners of each image and the scores of some pairs.

Not here: joining the files of shards (gathering.py), queries on scores (scores.py, top_scores.py), computing them (ssim.py,
fsim.py, embedding_scores.py).
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from deepssim.config.choices import Layout
from deepssim.config.evaluation import SimilarityConfig
from deepssim.errors import ConfigError, DataError, readable
from deepssim.images.keys import require_unique
from deepssim.runtime.hdf5 import (
    dataset,
    open_hdf5,
    read_keys,
    read_number_attribute,
    read_text_attribute,
    write_keys,
    write_text_attribute,
)
from deepssim.runtime.stored_arrays import StoredArray, StoredKeys
from deepssim.seeds import numpy_generator
from deepssim.similarity.scores import ScoreMatrix, look_up
from deepssim.similarity.search_record import SearchRecord
from deepssim.similarity.tiles import Comparison, Tile, score_tiles
from deepssim.similarity.top_scores import StoredTopK, TopScores
from deepssim.similarity.top_search import Search, find_top
from deepssim.similarity.topk import TopK

logger = logging.getLogger(__name__)

_TOP = {  # datasets of top-k lists and their kinds of dtype
    "of_rows/scores": "f", "of_rows/partners": "iu", "of_columns/scores": "f", "of_columns/partners": "iu",
    "pairs/codes": "iu", "pairs/scores": "f",
}  # fmt: skip
_SAMPLED_PER_COLUMN = 32  # random pairs of each synthetic image that a top-k file keeps besides the best ones


@dataclass(frozen=True)
class Shard:
    """Number of the column shard that a file holds, and how many shards there are."""

    number: int = 0
    count: int = 1


def choose_layout(rows: int, columns: int, options: SimilarityConfig) -> Layout:
    """Choose whether a matrix is stored densely or as top-k lists.

    Args:
        rows, columns: size of the matrix.
        options: section `similarity`.

    Raises:
        ConfigError: if the dense layout is requested and exceeds `dense_limit`.
    """
    if options.layout is Layout.TOP_K or rows * columns <= options.dense_limit:
        return Layout.TOP_K if options.layout is Layout.TOP_K else Layout.DENSE
    if options.layout is Layout.DENSE:
        raise ConfigError(
            f"a matrix of {rows:,} x {columns:,} = {rows * columns:,} scores exceeds similarity.dense_limit "
            f"{options.dense_limit:,}; set similarity.layout to top_k (or auto) to store the best {options.top_k} of "
            "each image and the labelled pairs, or raise the limit"
        )
    return Layout.TOP_K


def write_dense(
    path: str | Path,
    comparison: Comparison,
    real_keys: Sequence[str],
    synth_keys: Sequence[str],
    metric: str,
    *,
    max_memory_gb: float,
    shard: Shard | None = None,
) -> None:
    """Compute all scores and write the dense matrix tile by tile.

    Args:
        max_memory_gb: memory limit.
        path, comparison, real_keys, synth_keys, metric, shard: as for `write_top`.

    Raises:
        DataError: if an item cannot be compared, a score is not finite or a key occurs twice.
    """
    with _create_file(path, metric, real_keys, synth_keys, shard) as file:
        scores = new_dataset(file, "scores", comparison.shape)
        for tile in score_tiles(comparison, max_memory_gb=max_memory_gb):
            _require_finite(tile, real_keys, synth_keys, metric)
            scores[tile.place] = tile.scores


def write_top(
    path: str | Path,
    comparison: Comparison,
    real_keys: Sequence[str],
    synth_keys: Sequence[str],
    metric: str,
    *,
    train_keys: Sequence[str],
    labelled: tuple[Sequence[str], Sequence[str]],
    options: SimilarityConfig,
    seed: int,
    threads: int = 1,
    shard: Shard | None = None,
) -> None:
    """Write the best scores of each item, those of labelled pairs and those of some random pairs.

    All scores are computed, or those that estimates show to matter (top_search.py).

    Args:
        path: HDF5 file to write.
        comparison: real and synthetic items.
        real_keys, synth_keys: their keys.
        metric: name of the metric.
        train_keys: images that the generator was trained on.
        labelled: real and synthetic keys of pairs to keep; those of other shards are ignored.
        options: section `similarity`.
        seed: the config's seed; the choice of random pairs depends only on it and the synthetic key.
        threads: CPU threads.
        shard: which part of the columns this is.

    Raises:
        DataError: as `write_dense`, or if a training image is not among the real ones.
    """
    row_of = {key: row for row, key in enumerate(real_keys)}
    train_rows = np.sort(look_up(train_keys, row_of, "real"))
    pairs = _pairs_to_keep(row_of, synth_keys, train_rows, labelled, seed)
    search = Search(
        options.top_k,
        train_rows,
        pairs,
        exact=options.exact,
        max_memory_gb=options.max_memory_gb,
        seed=seed,
        threads=threads,
    )
    best = find_top(comparison, search, lambda tile: _require_finite(tile, real_keys, synth_keys, metric))
    logger.info("%s: %s", metric, best.record)
    found = TopScores(
        *(list(real_keys), list(synth_keys), metric, best.of_rows),
        *(TopK(best.of_columns.scores, train_rows[best.of_columns.partners]), pairs, best.scores),
        train_images=len(train_rows),
        top_k=options.top_k,
        record=best.record,
    )
    _write_top(path, found, shard)


def read_scores(path: str | Path) -> ScoreMatrix | TopScores:
    """Open a score file of either layout; what grows with the number of synthetic images is read on access.

    A dense matrix is memory-mapped; top-k lists and synthetic keys are read block by block.

    Raises:
        DataError: if the file is damaged or does not hold scores.
    """
    with open_hdf5(path, needs=("real_keys", "synth_keys")) as file, readable(path, "scores"):
        if "scores" not in file and "of_rows" not in file:
            raise DataError(f"{path}: holds neither a score matrix nor top-k lists; rerun the step that writes it")
        if "scores" not in file:
            return _read_top(file)
        scores = dataset(file, "scores", ndim=2, kinds="f")
        keys = _read_keys(file, *scores.shape)
        offset = scores.id.get_offset()
        if offset is None or scores.dtype != np.float32:  # a chunked matrix written by other software
            values = scores[:].astype(np.float32)
        else:
            values = np.memmap(path, np.float32, "r", offset, scores.shape)
        return ScoreMatrix(*keys, read_text_attribute(file, "metric"), values)


def _read_top(file: Any) -> TopScores:
    """Open top-k lists and check that the rows and columns they refer to exist."""
    stored = {
        name: StoredArray.of(file, name, ndim=2 if "of_" in name else 1, kinds=kinds) for name, kinds in _TOP.items()
    }
    of_columns = StoredTopK(stored["of_columns/scores"], stored["of_columns/partners"])
    of_rows = TopK(stored["of_rows/scores"][:], stored["of_rows/partners"][:])
    found = TopScores(
        *_read_keys(file, len(of_rows.scores), len(of_columns.scores)),
        read_text_attribute(file, "metric"),
        of_rows,
        of_columns,
        stored["pairs/codes"],
        stored["pairs/scores"],
        train_images=int(read_number_attribute(file, "train_images")),
        top_k=int(read_number_attribute(file, "top_k")),
        record=SearchRecord.of_attributes(file.attrs),
    )
    unequal = any(one.scores.shape != one.partners.shape for one in (of_rows, of_columns))
    if unequal or len(found.pairs) != len(found.pair_values) or not _in_bounds(found):
        raise DataError(f"{file.filename}: its lists refer to images that it lacks; rerun the step that writes it")
    return found


def _in_bounds(found: TopScores) -> bool:
    """Return whether all partners and pairs exist and the codes of pairs increase; reads them block by block."""
    rows, columns = len(found.real_keys), len(found.synth_keys)
    partners = [(found.of_rows.partners, columns)]
    if any(part.size and not 0 <= part.min() <= part.max() < count for part, count in partners):
        return False
    for _, lists in found.column_lists():
        if lists.partners.size and not 0 <= lists.partners.min() <= lists.partners.max() < rows:
            return False
    last = -1
    for _, codes in found.pair_blocks():
        if codes[0] <= last or (np.diff(codes) <= 0).any():
            return False
        last = int(codes[-1])
    return last < rows * columns


def _pairs_to_keep(
    row_of: dict[str, int],
    synth_keys: Sequence[str],
    train_rows: np.ndarray,
    labelled: tuple[Sequence[str], Sequence[str]],
    seed: int,
) -> np.ndarray:
    """Return the sorted codes of the labelled pairs in these columns and of some random pairs of each column."""
    column_of = {key: column for column, key in enumerate(synth_keys)}
    inside = [place for place, key in enumerate(labelled[1]) if key in column_of]
    rows = look_up([labelled[0][place] for place in inside], row_of, "real")
    columns = look_up([labelled[1][place] for place in inside], column_of, "synthetic")
    count = min(_SAMPLED_PER_COLUMN, len(train_rows))
    drawn = [
        numpy_generator(seed, "sampled pairs", key).choice(train_rows, count, replace=False) * len(column_of) + column
        for key, column in column_of.items()
    ]
    return np.unique(np.concatenate([rows * len(column_of) + columns, *drawn]))


def _write_top(path: str | Path, content: TopScores, shard: Shard | None) -> None:
    with _create_file(path, content.metric, content.real_keys, content.synth_keys, shard) as file:
        for side in ("of_rows", "of_columns"):
            best: TopK = getattr(content, side)
            file.create_dataset(f"{side}/scores", data=best.scores)
            file.create_dataset(f"{side}/partners", data=best.partners)
        file.create_dataset("pairs/codes", data=content.pairs)
        file.create_dataset("pairs/scores", data=content.pair_values)
        record = content.record.attributes() if content.record else {}
        file.attrs.update({"train_images": content.train_images, "top_k": content.top_k, **record})


@contextmanager
def new_file(path: str | Path, metric: str, real_keys: Sequence[str], shard: Shard) -> Iterator[Any]:
    """Create a score file without its synthetic keys and scores; it is deleted if the caller cannot finish it.

    Args:
        path: HDF5 file to write.
        metric: name of the metric.
        real_keys: keys of the rows.
        shard: which part of the columns it is.

    Yields:
        The open `h5py.File`.
    """
    require_unique(list(real_keys), "real images")
    try:
        with h5py.File(path, "w") as file:
            write_text_attribute(file, "metric", metric)
            file.attrs.update({"shard": shard.number, "shards": shard.count})
            write_keys(file, "real_keys", real_keys)
            yield file
    except BaseException:
        Path(path).unlink(missing_ok=True)  # an incomplete file would look complete
        raise


@contextmanager
def _create_file(
    path: str | Path, metric: str, real_keys: Sequence[str], synth_keys: Sequence[str], shard: Shard | None
) -> Iterator[Any]:
    require_unique(synth_keys, "synthetic images")
    with new_file(path, metric, real_keys, shard or Shard()) as file:
        write_keys(file, "synth_keys", synth_keys)
        yield file


def new_dataset(file: Any, name: str, shape: tuple[int, ...], kind: Any = np.float32) -> Any:
    """Create a dataset of which every value will be written; contiguous, so that readers can memory-map it.

    Args:
        file: `h5py.File` open for writing.
        name, shape: of the dataset.
        kind: type of its values.
    """
    return file.create_dataset(name, shape, kind, fill_time="never")


def _read_keys(file: Any, rows: int, columns: int) -> tuple[list[str], StoredKeys]:
    return read_keys(file, "real_keys", expected=rows), StoredKeys(file, "synth_keys", expected=columns)


def _require_finite(tile: Tile, real_keys: Sequence[str], synth_keys: Sequence[str], metric: str) -> None:
    if np.isfinite(tile.scores.sum(dtype=np.float64)):  # fast: infinity and NaN propagate into sums
        return
    bad = np.argwhere(~np.isfinite(tile.scores))
    row, column = bad[0] + (tile.first_row, tile.first_column)
    raise DataError(
        f"{metric}: {len(bad)} scores are not finite, first of {real_keys[row]!r} and {synth_keys[column]!r}; "
        "check these images"
    )
