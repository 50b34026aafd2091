"""Put the score files of all shards together in one file, in the memory that one shard takes.

The file is the same as if all columns had been scored at once.

Not here: the files of single shards (matrices.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deepssim.errors import DataError, readable
from deepssim.runtime.hdf5 import open_hdf5, read_number_attribute, read_text_attribute, write_key_blocks
from deepssim.runtime.stored_arrays import StoredKeys
from deepssim.similarity.matrices import Shard, new_dataset, new_file, read_scores
from deepssim.similarity.scores import ScoreMatrix
from deepssim.similarity.search_record import SearchRecord
from deepssim.similarity.top_scores import TopScores
from deepssim.similarity.topk import TopK, merge

_BLOCK = 1_000_000  # scores or pairs copied together
_MOST_HASHES = 10_000_000  # of keys that are compared at a time


@dataclass(frozen=True)
class _Part:
    """One shard: its scores, without what all shards share, and the number of its first column among all."""

    path: str
    scores: ScoreMatrix | TopScores
    keys: StoredKeys
    start: int

    @property
    def columns(self) -> int:
        return len(self.keys)


@dataclass
class _Shared:
    """What is known of all shards: keys of the rows, and best columns of each row among all shards so far."""

    real_keys: list[str]
    of_rows: TopK | None


def gather(path: str | Path, shards: Sequence[str | Path], metric: str) -> None:
    """Concatenate the column shards of a score matrix, one shard and one block at a time.

    Args:
        path: HDF5 file to write.
        shards: files of all shards, in order.
        metric: metric that all must hold.

    Raises:
        DataError: if a shard is missing, occurs twice, or has another metric, layout or set of real images.
    """
    _require_all_shards(shards, metric)
    parts, shared = _open(shards)
    _require_distinct_keys(parts)
    total = parts[-1].start + parts[-1].columns
    with new_file(path, metric, shared.real_keys, Shard()) as file:
        blocks = (block for part in parts for block in part.keys.blocks())
        write_key_blocks(file, "synth_keys", blocks, count=total, length=max(part.keys.width for part in parts))
        if shared.of_rows is None:
            matrix = new_dataset(file, "scores", (len(shared.real_keys), total))
            for part in parts:
                _copy(part.scores.scores, matrix, part.start)  # type: ignore[union-attr]
            return
        _write_lists(file, [part.scores for part in parts], shared.of_rows, total)  # type: ignore[misc]
        _write_pairs(file, parts, len(shared.real_keys), total)


def _open(shards: Sequence[str | Path]) -> tuple[list[_Part], _Shared]:
    """Open all shards, check that they belong together, and merge the lists of rows on the way."""
    parts: list[_Part] = []
    shared = _Shared([], None)
    start = 0
    for path in shards:
        scores = read_scores(path)
        if not parts:
            shared = _Shared(scores.real_keys, None)
        elif scores.real_keys != shared.real_keys or type(scores) is not type(parts[0].scores):
            raise DataError(f"{path}: has other real images or another layout than {shards[0]}; rerun both")
        keys = scores.synth_keys
        assert isinstance(keys, StoredKeys)  # of every file
        scores = replace(scores, real_keys=shared.real_keys)  # one list for all shards
        if isinstance(scores, TopScores):
            of_rows = TopK(scores.of_rows.scores, scores.of_rows.partners + start)
            if shared.of_rows is not None:
                of_rows = merge([shared.of_rows, of_rows], scores.top_k)
            shared.of_rows = of_rows
            scores = replace(scores, of_rows=TopK.empty(0, 0))
        parts.append(_Part(str(path), scores, keys, start))
        start += len(keys)
    return parts, shared


def _require_all_shards(shards: Sequence[str | Path], metric: str) -> None:
    found = {}
    for path in shards:
        with open_hdf5(path, needs=("real_keys", "synth_keys")) as file, readable(path, "a shard of scores"):
            if (stored := read_text_attribute(file, "metric")) != metric:
                raise DataError(f"{path}: holds scores of {stored}, not {metric}; name shards of the same metric")
            found[int(read_number_attribute(file, "shard"))] = int(read_number_attribute(file, "shards"))
    count = max(found.values())
    missing = next(
        (number for number in range(count) if number not in found), None
    )  # the count may be corrupt and huge
    if missing is not None or len(found) != len(shards):
        what = "a shard occurs twice" if missing is None else f"shard {missing} of {count} is missing"
        raise DataError(f"{shards[0]}: {what} among the {len(shards)} files given; name each shard once")


def _require_distinct_keys(parts: Sequence[_Part]) -> None:
    """Check that no synthetic key occurs twice: by 64-bit hashes of all keys, then exactly where hashes are equal."""
    width = -(-max(part.keys.width for part in parts) // 8) * 8
    passes = 1 + sum(part.columns for part in parts) // _MOST_HASHES
    for number in range(passes):
        hashes = []
        for part in parts:
            of_part = [_hashes(block, width) for block in part.keys.blocks()]
            hashes += [values[values % np.uint64(passes) == number] for values in of_part]
        ordered = np.sort(np.concatenate(hashes))
        repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
        if len(repeated):
            _require_distinct_among(parts, width, repeated)


def _require_distinct_among(parts: Sequence[_Part], width: int, hashes: np.ndarray) -> None:
    """Compare the keys with some hashes; keys of equal hash need not be equal."""
    owner: dict[bytes, str] = {}
    for part in parts:
        for block in part.keys.blocks():
            for key in block[np.isin(_hashes(block, width), hashes)].tolist():
                if key in owner:
                    raise DataError(
                        f"{part.path}: overlaps with {owner[key]}, first in {key.decode()!r}; recompute the shards"
                    )
                owner[key] = part.path


def _hashes(keys: np.ndarray, width: int) -> np.ndarray:
    """Return a hash of each key, uint64 (n,), of text of fixed width that is padded to `width` bytes, a multiple of 8."""
    words = keys.astype(f"S{width}").view(np.uint64).reshape(len(keys), -1)
    found = np.zeros(len(keys), np.uint64)
    for word in words.T:
        found = (found ^ word) * np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio (Fibonacci hashing)
        found ^= found >> np.uint64(29)
    return found


def _copy(source: np.ndarray, target: Any, start: int) -> None:
    """Copy a shard into its columns, block by block."""
    step = max(1, _BLOCK // max(1, source.shape[1]))
    for row in range(0, len(source), step):
        target[row : row + step, start : start + source.shape[1]] = source[row : row + step]


def _write_lists(file: Any, parts: Sequence[TopScores], of_rows: TopK, total: int) -> None:
    """Write the lists of rows and, shard by shard, those of columns."""
    file.create_dataset("of_rows/scores", data=of_rows.scores)
    file.create_dataset("of_rows/partners", data=of_rows.partners)
    shape = (total, parts[0].of_columns.scores.shape[1])
    scores = new_dataset(file, "of_columns/scores", shape)
    partners = new_dataset(file, "of_columns/partners", shape, np.int64)
    place = 0
    for part in parts:
        for _, lists in part.column_lists():
            end = place + len(lists.scores)
            scores[place:end], partners[place:end] = lists.scores, lists.partners
            place = end
    record = SearchRecord.joined([part.record for part in parts])
    file.attrs.update({"train_images": parts[0].train_images, "top_k": parts[0].top_k})
    file.attrs.update(record.attributes() if record else {})


def _write_pairs(file: Any, parts: Sequence[_Part], rows: int, total: int) -> None:
    """Write the pairs of all shards in increasing order of their codes, row by row of the whole matrix."""
    opened: list[tuple[_Part, TopScores, np.ndarray]] = []
    for part in parts:
        scores = part.scores
        assert isinstance(scores, TopScores)  # as `_open` has checked
        ends = np.searchsorted(scores.pairs[0 : len(scores.pairs)], np.arange(rows + 1) * part.columns)
        opened.append((part, scores, ends))
    of_row = np.sum([np.diff(ends) for _, _, ends in opened], axis=0)
    codes = new_dataset(file, "pairs/codes", (int(of_row.sum()),), np.int64)
    values = new_dataset(file, "pairs/scores", (int(of_row.sum()),))
    place = 0
    for first, last in _row_ranges(of_row):
        pieces = _pieces(opened, first, last, total)
        # Pieces of one row follow one another as they are; it may be too long for memory.
        for piece in pieces if last - first == 1 else [_sorted_together(list(pieces))]:
            end = place + len(piece[0])
            codes[place:end], values[place:end] = piece
            place = end


def _row_ranges(of_row: np.ndarray) -> Iterator[tuple[int, int]]:
    """Divide rows into ranges of at most a block of pairs, or of a single row."""
    first, held = 0, 0
    for row, count in enumerate(of_row.tolist()):
        if row > first and held + count > _BLOCK:
            yield first, row
            first, held = row, 0
        held += count
    yield first, len(of_row)


def _pieces(
    opened: Sequence[tuple[_Part, TopScores, np.ndarray]], first: int, last: int, total: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield codes in the whole matrix and scores of the pairs of some rows, shard by shard."""
    for part, scores, ends in opened:
        inside = slice(int(ends[first]), int(ends[last]))
        row, column = np.divmod(scores.pairs[inside].astype(np.int64), part.columns)
        yield row * total + column + part.start, scores.pair_values[inside]


def _sorted_together(pieces: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    codes, values = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    order = np.argsort(codes, kind="stable")
    return codes[order], values[order]
