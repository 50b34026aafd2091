"""Top-k lists and copies without the exact score of every pair.

Of all pairs the score is estimated. The exact one is computed of those whose estimate, plus a margin, reaches what a list
or the limit requires. The margin follows from the errors of the pairs computed before, so that the expected number of
missed pairs stays below `PROMISE`; the sum over the whole run, from all errors, stands in the file (search_record.py).

Not here: estimates and exact scores (ssim_screening.py), the statistics of errors (margins.py), what is done where the promise
is not kept (top_search.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import prange

from deepssim.runtime.compilation import compiled
from deepssim.seeds import numpy_generator
from deepssim.similarity.lanes import numba_threads
from deepssim.similarity.margins import BIN, BINS, Margins, image_scales
from deepssim.similarity.search_record import PROMISE, SearchRecord
from deepssim.similarity.ssim_screening import SsimScreening, can_screen
from deepssim.similarity.tiles import Comparison, PreparedTile, Tile, prepared_tiles, tile_shape
from deepssim.similarity.topk import TopK, update_columns, update_rows

_FEWEST_PAIRS = 2_000_000  # below, all pairs take seconds
_FEWEST_IN_TILE = 300  # images of each side; in smaller tiles the random pairs of each image would be too many
_MOST_COMPUTED = 0.3  # fraction of pairs; a pair of a list takes 2.5 times as long as one of the whole matrix
_LEAST_BEST = 3  # best estimates of each image whose errors are looked at
_LEARNED = 10_000  # errors that are known before a margin is chosen
_FAR = 0.05  # an estimate this much below the least score of a row's list is not looked at for its error
_SAMPLED = 16  # random pairs of each image and tile, from which the size of its errors is estimated


@dataclass
class Wanted:
    """The pairs whose exact scores are wanted.

    Attributes:
        of_rows: lists of all rows, which the caller updates after each tile; None if not wanted.
        of_columns: the same of all columns, among the rows of `trained`.
        trained: bool (R,).
        pair_rows, pair_columns: int (P,), pairs in any case.
        limit: all pairs with at least this score; infinity if not wanted.
    """

    of_rows: TopK | None
    of_columns: TopK | None
    trained: np.ndarray
    pair_rows: np.ndarray
    pair_columns: np.ndarray
    limit: float = np.inf


def screening_of(comparison: Comparison, max_memory_gb: float) -> SsimScreening | None:
    """Return how a comparison is screened; None if it cannot be, or if that would not be faster than computing all pairs.

    Args:
        comparison: real and synthetic items.
        max_memory_gb: memory limit of the process.
    """
    rows, columns = comparison.shape
    if rows * columns < _FEWEST_PAIRS or not can_screen(comparison):
        return None
    screening = SsimScreening(comparison)  # type: ignore[arg-type]
    return screening if min(tile_shape(screening, max_memory_gb)) >= _FEWEST_IN_TILE else None  # type: ignore[arg-type]


class Screener:
    """One run over all tiles.

    Args:
        screening: estimates and exact scores.
        wanted: which pairs matter.
        seed: the config's seed; it chooses the pairs that show the errors.
    """

    def __init__(self, screening: SsimScreening, wanted: Wanted, seed: int) -> None:
        self._screening, self._wanted, self._seed = screening, wanted, seed
        self._margins, self._gaps = Margins(), np.zeros(BINS, np.int64)
        self._computed, self._margin, self._given_up = 0, 0, False

    @property
    def record(self) -> SearchRecord:
        """What was computed so far."""
        rows, columns = self._screening.shape
        deviation = float(np.sqrt(self._margins.squares / max(1, self._margins.count)))
        missed = self._margins.missed(self._gaps)
        return SearchRecord(rows * columns, self._computed, deviation, self._margin * BIN, missed, PROMISE)

    @property
    def kept_promise(self) -> bool:
        """Whether all tiles were screened and the expected number of missed pairs is small enough."""
        return not self._given_up and self._margins.missed(self._gaps) <= PROMISE

    def tiles(self, *, max_memory_gb: float) -> Iterator[Tile]:
        """Yield exact scores tile by tile, minus infinity where they were not computed.

        Stops if so many exact scores are needed that computing all is faster; `kept_promise` is then false.

        Args:
            max_memory_gb: memory limit of the process.

        Raises:
            ConfigError, DataError: as `tiles.prepared_tiles`.
        """
        passed, total = 0, self._screening.shape[0] * self._screening.shape[1]
        for part in prepared_tiles(self._screening, max_memory_gb=max_memory_gb):  # type: ignore[arg-type]
            tile = Tile(part.place[0].start, part.place[1].start, self._screened(part))
            passed += tile.scores.size
            # The lists of the first tiles are short of good partners, so that much has to be computed.
            if self._computed > (_MOST_COMPUTED if passed > total / 4 else 2 * _MOST_COMPUTED) * passed:
                self._given_up = True
                return
            yield tile

    def _screened(self, part: PreparedTile) -> np.ndarray:
        estimates = self._screening.estimate(part.rows, part.columns)
        exact = np.full(estimates.shape, -np.inf, np.float32)
        errors = self._compute(part, self._sample(part), estimates, exact)
        known = np.nonzero(exact > -np.inf)
        scales = [image_scales(known[axis], errors, estimates.shape[axis]) for axis in (0, 1)]
        best = self._best_estimates(part, estimates, exact)
        self._learn(best, self._compute(part, best, estimates, exact), scales)
        gaps, bins = self._measured_gaps(part, estimates, exact, scales)
        rows, columns = self._screening.shape
        margin = self._margins.margin(gaps, PROMISE / 2 * estimates.size / (rows * columns))
        chosen = np.nonzero(bins < margin)
        self._learn(chosen, self._compute(part, chosen, estimates, exact), scales)
        gaps[:margin] = 0
        self._gaps += gaps
        self._margin = max(self._margin, margin)
        return exact

    def _compute(self, part: PreparedTile, pairs: Any, estimates: np.ndarray, exact: np.ndarray) -> np.ndarray:
        """Compute the exact scores of pairs of a tile, given in increasing order, and return the errors of their estimates."""
        exact[pairs] = self._screening.compare_pairs(part.rows, part.columns, *pairs)
        self._computed += len(pairs[0])
        return exact[pairs] - estimates[pairs]

    def _learn(self, pairs: Any, errors: np.ndarray, scales: list[np.ndarray]) -> None:
        self._margins.add(errors, np.maximum(scales[0][pairs[0]], scales[1][pairs[1]]))

    def _sample(self, part: PreparedTile) -> tuple[np.ndarray, ...]:
        """Return the pairs of a tile that are wanted in any case, and some random ones of each image."""
        rows, columns = part.place
        shape = rows.stop - rows.start, columns.stop - columns.start
        chosen = np.zeros(shape, bool)
        of_rows, of_columns = self._wanted.pair_rows - rows.start, self._wanted.pair_columns - columns.start
        inside = (of_rows >= 0) & (of_rows < shape[0]) & (of_columns >= 0) & (of_columns < shape[1])
        chosen[of_rows[inside], of_columns[inside]] = True
        random = numpy_generator(self._seed, "screening", rows.start, columns.start)
        for axis in (1, 0):  # the pairs of all columns are pairs of rows, too, and usually enough
            lacking = np.maximum(0, _SAMPLED - np.count_nonzero(chosen, axis=1 - axis))
            images = np.repeat(np.arange(shape[axis]), lacking)
            partners = random.integers(0, shape[1 - axis], len(images))
            chosen[(partners, images) if axis else (images, partners)] = True
        return np.nonzero(chosen)

    def _best_estimates(self, part: PreparedTile, estimates: np.ndarray, exact: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the pairs with the best estimates of each image, of which the exact score is not known."""
        rows, wanted = part.place[0], self._wanted
        chosen = np.zeros(estimates.shape, bool)
        lists = [one.scores.shape[1] for one in (wanted.of_rows, wanted.of_columns) if one is not None]
        size = max(_LEAST_BEST, *lists, -(-max(0, _LEARNED - self._margins.count) // sum(estimates.shape)))
        of_rows = TopK.empty(len(estimates), min(size, estimates.shape[1]))
        update_rows(of_rows, Tile(0, 0, estimates), self._screening.threads)
        if wanted.of_rows is not None:  # what is far below a list's least score teaches nothing
            near = of_rows.scores >= wanted.of_rows.scores[rows, -1:] - _FAR
        else:
            near = np.ones(of_rows.scores.shape, bool)
        chosen[np.nonzero(near)[0], of_rows.partners[near]] = True
        trained = np.flatnonzero(wanted.trained[rows])
        of_columns = TopK.empty(estimates.shape[1], min(size, len(trained)))
        if len(trained):
            update_columns(of_columns, Tile(0, 0, estimates[trained]), self._screening.threads)
            chosen[trained[of_columns.partners], np.arange(estimates.shape[1])[:, None]] = True
        return np.nonzero(chosen & (exact == -np.inf))

    def _measured_gaps(
        self, part: PreparedTile, estimates: np.ndarray, exact: np.ndarray, scales: list[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Count the pairs of a tile by how far their estimate lies below the least score wanted; and the bin of each."""
        (rows, columns), wanted = part.place, self._wanted
        trained = wanted.trained[rows]
        least = [np.full(side, np.inf, np.float32) for side in estimates.shape]
        if wanted.of_rows is not None:
            best = TopK(wanted.of_rows.scores[rows].copy(), wanted.of_rows.partners[rows].copy())
            update_rows(best, Tile(0, columns.start, exact), self._screening.threads)
            least[0] = best.scores[:, -1].copy()
        if wanted.of_columns is not None:
            best = TopK(wanted.of_columns.scores[columns].copy(), wanted.of_columns.partners[columns].copy())
            update_columns(best, Tile(0, 0, exact[trained]), self._screening.threads)
            least[1] = best.scores[:, -1].copy()
        bins, counts = np.empty(estimates.shape, np.uint8), np.zeros((len(estimates), BINS), np.int64)
        with numba_threads(self._screening.threads):
            _measure(estimates, exact, *least, trained, np.float32(wanted.limit), *scales, bins, counts)
        return counts.sum(axis=0), bins


@compiled(parallel=True)
def _measure(  # type: ignore[no-untyped-def]
    estimates, exact, row_least, column_least, trained, limit, row_scales, column_scales, bins, counts
) -> None:
    """Sort pairs into bins of (least score wanted - estimate) / error; those with exact scores get bin 255."""
    for row in prange(len(estimates)):
        for column in range(estimates.shape[1]):
            if exact[row, column] != -np.inf:
                bins[row, column] = 255
                continue
            least = min(row_least[row], limit)
            if trained[row]:
                least = min(least, column_least[column])
            gap = (least - estimates[row, column]) / max(row_scales[row], column_scales[column]) / BIN
            place = int(min(max(gap, 0.0), BINS - 1.0))
            bins[row, column] = place
            counts[row, place] += 1
