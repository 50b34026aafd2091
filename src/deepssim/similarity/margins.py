"""How far an estimated score may lie below the exact one, learned from the pairs of which both are known.

Errors are measured in units of an image's own root mean square error: images with fine texture have larger ones. So
normalised, errors on MR slices are hardly heavier in the tail than a normal distribution. Beyond the observed errors, the tail
is continued exponentially, which decreases more slowly.

Not here: the estimates (ssim_grid.py), which pairs are compared (screening.py).
"""

from dataclasses import dataclass, field

import numpy as np

BIN = 0.1  # width of a bin of normalised errors and gaps
BINS = 250  # the last one holds everything beyond
_LEVELS = (1e-2, 1e-3, 1e-4)  # tails of observed errors that are continued
_FEWEST = 50  # errors in a tail that is continued
_LEAST_MARGIN = 40  # bins: four times the root mean square error


@dataclass
class Margins:
    """What is known of the errors so far.

    Attributes:
        errors: int64 (BINS,), number of normalised errors (exact minus estimated) per bin; negative ones are in the first.
        squares, count: sum of squared errors, not normalised, and their number.
    """

    errors: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    squares: float = 0.0
    count: int = 0

    def add(self, errors: np.ndarray, scales: np.ndarray) -> None:
        """Enter the errors of some pairs.

        Args:
            errors: float (N,), exact minus estimated scores.
            scales: float (N,), root mean square error of the images of each pair.
        """
        places = np.clip(errors / scales / BIN, 0, BINS - 1).astype(np.int64)
        self.errors += np.bincount(places, minlength=BINS)
        self.squares += float(np.square(errors, dtype=np.float64).sum())
        self.count += len(errors)

    def exceedance(self) -> np.ndarray:
        """Return an upper estimate of the probability that an error reaches a bin, float64 (BINS,); 1 without data."""
        total = self.errors.sum()
        if total < _FEWEST / _LEVELS[0]:
            return np.ones(BINS)
        beyond = self.errors[::-1].cumsum()[::-1]
        places, found = np.arange(BINS), beyond / total
        for level in _LEVELS:
            start = int(np.argmax(beyond <= level * total))
            if beyond[start] < _FEWEST:
                break
            # The mean excess over the start of the tail, with the upper end of bins and two standard errors added.
            excess = (self.errors[start:] * (places[start:] - start + 1)).sum() / beyond[start]
            excess *= 1 + 2 / np.sqrt(beyond[start])
            continued = beyond[start] / total * np.exp(-(places - start) / excess)
            found[start:] = np.maximum(found, continued)[start:]
        return np.minimum.accumulate(np.minimum(found, 1.0))

    def margin(self, gaps: np.ndarray, allowed: float) -> int:
        """Choose the margin, in bins, so that few pairs beyond it are expected to be missed.

        Args:
            gaps: int64 (BINS,), number of pairs by the normalised distance of their estimate from the least score wanted.
            allowed: expected number of missed pairs.

        Returns:
            At least four times the root mean square error; BINS if only all pairs are enough.
        """
        expected = (gaps * self.exceedance())[::-1].cumsum()[::-1]
        enough = np.flatnonzero(expected[_LEAST_MARGIN:] <= allowed)
        return _LEAST_MARGIN + int(enough[0]) if len(enough) else BINS

    def missed(self, gaps: np.ndarray) -> float:
        """Return the expected number of missed pairs among those that were not compared.

        Args:
            gaps: int64 (BINS,), of these pairs, see `margin`.
        """
        return float((gaps * self.exceedance()).sum())


def image_scales(images: np.ndarray, errors: np.ndarray, count: int) -> np.ndarray:
    """Estimate the root mean square error of each image.

    Args:
        images: int (N,), the image that each error belongs to.
        errors: float (N,).
        count: number of images; each has errors.

    Returns:
        float32 (count,), at least three quarters of the root mean square error of all images: few errors may be small by chance.
    """
    squares = np.square(errors, dtype=np.float64)
    own = np.sqrt(np.bincount(images, squares, count) / np.maximum(1, np.bincount(images, minlength=count)))
    return np.maximum(own, 0.75 * np.sqrt(squares.mean()) + 1e-7).astype(np.float32)
