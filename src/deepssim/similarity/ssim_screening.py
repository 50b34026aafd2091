"""SSIM of 8-bit images for screening: an estimate of all pairs, exact scores of those that matter.

Not here: which pairs matter (screening.py), the arithmetic (ssim_grid.py, ssim_pairs.py).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepssim.similarity.ssim import SsimComparison
from deepssim.similarity.ssim_constants import WINDOW
from deepssim.similarity.ssim_grid import GridFeatures, estimate_all_pairs, on_grid
from deepssim.similarity.ssim_pairs import BandedFeatures, in_bands, score_pairs


@dataclass(frozen=True)
class ScreenedImages:
    """Features of N images, for estimates and for exact scores."""

    grid: GridFeatures
    banded: BandedFeatures


class SsimScreening:
    """Estimates and exact scores between two image packs; see `screening.Screenable`.

    Args:
        comparison: packs of 8-bit images; real images of it scale the constants of SSIM.

    Raises:
        ValueError: if `comparison` cannot be screened.
    """

    def __init__(self, comparison: SsimComparison) -> None:
        if not can_screen(comparison):
            raise ValueError("only SSIM of 8-bit images, scaled by the range of the real image, can be screened")
        self._comparison, self.threads = comparison, comparison.threads
        self.shape, self.bytes_held = comparison.shape, comparison.bytes_held
        self._windows = comparison.real.images.shape[1] - WINDOW + 1
        # Features as for the dense matrix, which are dropped; pixels and windows in bands; pixels, twice, and the grid.
        self.bytes_per_item = math.prod(comparison.real.images.shape[1:]) * (12 + 13 + 3)

    def prepare_rows(self, rows: Any) -> ScreenedImages:
        """Prepare some real images."""
        return self._arranged(self._comparison.prepare_rows(rows))

    def prepare_columns(self, columns: Any) -> ScreenedImages:
        """Prepare some synthetic images."""
        return self._arranged(self._comparison.prepare_columns(columns))

    def estimate(self, rows: ScreenedImages, columns: ScreenedImages) -> np.ndarray:
        """Estimate SSIM of all pairs of prepared images; float32 (r, s)."""
        return estimate_all_pairs(rows.grid, columns.grid, self.threads)

    def compare_pairs(
        self, rows: ScreenedImages, columns: ScreenedImages, row_of: np.ndarray, column_of: np.ndarray
    ) -> np.ndarray:
        """Compute exact SSIM of a list of pairs; bitwise equal to the dense matrix.

        Args:
            rows, columns: prepared images.
            row_of, column_of: integer (N,), the images of each pair.

        Returns:
            float32 (N,).
        """
        return score_pairs(rows.banded, columns.banded, row_of, column_of, self._windows, self.threads)

    def _arranged(self, features: Any) -> ScreenedImages:
        return ScreenedImages(on_grid(features), in_bands(features, self.threads))


def can_screen(comparison: Any) -> bool:
    """Return whether a comparison is SSIM of 8-bit images on the processor, scaled by the range of the real image."""
    if type(comparison) is not SsimComparison or comparison.symmetric:
        return False
    return bool(comparison.real.images.dtype == comparison.synthetic.images.dtype == np.uint8)
