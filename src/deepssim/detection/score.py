"""One score for a pair of images, learned from copies and from pairs of different subjects.

Each cue becomes how far it is above the median of unrelated images, in units of the mean excess above their upper fifth, so that
under an exponential tail one unit is the same surprise for each cue. The score is a weighted sum of what is positive: one
strong cue is enough, since keypoints, SSIM in place and SSIM after registration fail on different copies. Weights are those
of a logistic regression, none negative, because no cue speaks against a copy.

Not here: the cues (registration/proof.py), the limit of the score (audit/calibration.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepssim.detection.search import Found
from deepssim.registration.proof import CUES

COSINE = "cosine of embeddings"
_COUNTS = 2  # the first cues are numbers of keypoints
_LEAST_DIFFERENCE = 1e-3  # of an SSIM from 1
_UPPER = 0.8  # quantile above which the tail of unrelated images begins
_MOST = 25.0  # units: beyond it, nothing is surer
_PENALTY = 1e-3  # of squared weights, so that perfectly separable copies give finite ones
_LEAST_IMAGES = 20  # unrelated images, or copies, without which the defaults are used
_LEAST_SCALE = 0.05

# Of chest X-rays and MR slices (benchmarks/copies.py), for collections with too few subjects to learn from.
_DEFAULT_MEDIANS = (7.0, 8.0, 1.4, 2.0, 2.5, 1.2)
_DEFAULT_SCALES = (4.0, 4.5, 0.2, 0.3, 0.3, 0.3)
_DEFAULT_WEIGHT = 0.5


@dataclass(frozen=True)
class Score:
    """The score of pairs.

    Attributes:
        names: of the C cues.
        medians, scales: of the best of each cue over the candidates of an unrelated image, float64 (C,).
        weights: float64 (C,), none negative.
        learned: whether from these images; else the defaults.
    """

    names: tuple[str, ...]
    medians: np.ndarray
    scales: np.ndarray
    weights: np.ndarray
    learned: bool

    def of_cues(self, cues: np.ndarray) -> np.ndarray:
        """Return scores, float64 (...), at least 0, of cues, float32 (..., C)."""
        return np.maximum(self.standardised(cues), 0) @ self.weights

    def standardised(self, cues: np.ndarray) -> np.ndarray:
        """Return cues above those of unrelated images, in units of their tails, float64 (..., C)."""
        return np.minimum((transformed(cues) - self.medians) / self.scales, _MOST)

    def of(self, found: Found) -> np.ndarray:
        """Return the score of each candidate, float64 (N, K); minus infinity where there is none."""
        return np.where(found.partners >= 0, self.of_cues(found.cues), -np.inf)


def transformed(cues: np.ndarray) -> np.ndarray:
    """Return cues on scales on which the tails of unrelated images are about exponential, float64 (..., C)."""
    values = np.asarray(cues, np.float64)
    counts = values[..., :_COUNTS]
    similarities = -np.log(np.clip(1 - values[..., _COUNTS:], _LEAST_DIFFERENCE, 2))
    return np.concatenate([counts, similarities], axis=-1)


def learn_score(unrelated: Found, copies: Found, originals: Sequence[int] | np.ndarray) -> Score:
    """Learn the score.

    Args:
        unrelated: candidates of N images of other subjects.
        copies: candidates of M copies of real images.
        originals: row of the gallery that each copy was made from.
    """
    count = unrelated.cues.shape[2]
    names = (*CUES, COSINE)[:count]
    known = unrelated.partners[:, 0] >= 0 if unrelated.partners.shape[1] else np.zeros(len(unrelated.partners), bool)
    right = (copies.partners == np.asarray(originals)[:, None]) if len(copies.partners) else np.zeros((0, 0), bool)
    if known.sum() < _LEAST_IMAGES:
        return _default(names)
    values = np.where(unrelated.partners[..., None] >= 0, transformed(unrelated.cues), -np.inf)
    best = values[known].max(axis=1)
    medians = np.median(best, axis=0)
    start = np.quantile(best, _UPPER, axis=0)
    above = best > start
    scales = np.where(above, best - start, 0).sum(axis=0) / np.maximum(above.sum(axis=0), 1)
    score = Score(names, medians, np.maximum(scales, _LEAST_SCALE), np.full(count, _DEFAULT_WEIGHT), True)
    if right.sum() < _LEAST_IMAGES:
        return score
    positive = score.standardised(copies.cues[right])
    negative = score.standardised(unrelated.cues[unrelated.partners >= 0])
    return Score(names, score.medians, score.scales, _weights(positive, negative), True)


def _weights(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Fit a logistic regression with non-negative weights, both classes counting alike."""
    from scipy.optimize import minimize

    features = np.maximum(np.concatenate([positive, negative]), 0)
    sign = np.repeat([1.0, -1.0], [len(positive), len(negative)])
    share = np.repeat([0.5 / len(positive), 0.5 / len(negative)], [len(positive), len(negative)])

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weights, intercept = parameters[:-1], parameters[-1]
        margin = sign * (features @ weights + intercept)
        slope = -sign * share / (1 + np.exp(np.minimum(margin, 500)))
        gradient = np.append(features.T @ slope + 2 * _PENALTY * weights, slope.sum())
        return float(share @ np.logaddexp(0, -margin) + _PENALTY * weights @ weights), gradient

    count = features.shape[1]
    bounds = [(0, None)] * count + [(None, None)]
    found = minimize(loss, np.append(np.full(count, 0.1), 0.0), jac=True, bounds=bounds, method="L-BFGS-B")
    return found.x[:-1]


def _default(names: tuple[str, ...]) -> Score:
    count = len(names)
    medians, scales = np.array(_DEFAULT_MEDIANS[:count]), np.array(_DEFAULT_SCALES[:count])
    return Score(names, medians, scales, np.full(count, _DEFAULT_WEIGHT), False)
