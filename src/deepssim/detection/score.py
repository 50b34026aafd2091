"""One score for a pair of images, learned from copies and from pairs of different subjects.

Each cue becomes how far it is above the median of unrelated images, in units of what their highest 2 % reach: a score around 1 is
what chance can do. Cues fail on different copies (noise leaves no keypoints, a replaced quarter no SSIM), so that one strong cue
has to be enough; the score is their 4-norm, between the largest of them and their sum. Each cue has a weight from 0.5 to 1,
chosen so that most copies of the positive controls exceed what unrelated images reach; no cue is ever left out, since the next
copy may have been changed in a way that is not among the controls.

Not here: the cues (registration/proof.py, registration/volume_proof.py), the limit of the score (audit/calibration.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from deepssim.detection.search import Found
from deepssim.registration.proof import CUES
from deepssim.registration.volume_proof import VOLUME_CUES

COSINE = "cosine of embeddings"
_LEAST_DIFFERENCE = 1e-3  # of a similarity from 1
_NORM = 4
_TOP = 0.02  # fraction of unrelated images that tells what chance can do
_LEAST_TOP = 3  # images
_MOST = 12.0  # beyond it, nothing is surer
_WEIGHTS = (0.5, 0.75, 1.0)
_BEST = 20  # settings of the weights that are averaged: neighbours of the best one hardly differ
_MARGIN, _SOFTNESS = 1.1, 0.1  # of the score in units of chance at which half a copy counts as found
_LEAST_IMAGES = 20  # unrelated images, or copies, without which the defaults are used
_LEAST_SCALE = 0.1
_LEAST_KEYPOINTS = (
    3.0  # scale of numbers of keypoints: where unrelated images share none, one in common is still nothing
)


@dataclass(frozen=True)
class CueSet:
    """Cues of one kind of data.

    Attributes:
        names: of all cues, that of an encoder last.
        counts: how many of the first ones are numbers of keypoints; the others are similarities from -1 to 1.
        medians, scales: for collections with too few subjects to learn from, see `Score`.
    """

    names: tuple[str, ...]
    counts: int
    medians: tuple[float, ...]
    scales: tuple[float, ...]


# Of chest X-rays and MR slices, see docs/audit.md.
IMAGES = CueSet((*CUES, COSINE), 2, (7.0, 8.0, 1.4, 2.0, 2.5, 1.2), (15.0, 16.0, 1.0, 1.2, 1.2, 1.0))
# Of MR volumes registered to a common space, as different patients are hardest to tell apart there.
VOLUMES = CueSet((*VOLUME_CUES, COSINE), 0, (1.0, 1.0, 1.5, 1.2, 2.0, 1.2), (1.0, 1.0, 1.0, 1.0, 1.0, 1.0))


@dataclass(frozen=True)
class Score:
    """The score of pairs.

    Attributes:
        names: of the C cues.
        medians: of the best of each cue over the candidates of an unrelated image, float64 (C,).
        scales: of the highest 2 % of them above the median, float64 (C,).
        weights: float64 (C,), 0.5 to 1.
        learned_from: unrelated images and copies; zeros for the defaults.
        counts: how many of the first cues are numbers of keypoints.
    """

    names: tuple[str, ...]
    medians: np.ndarray
    scales: np.ndarray
    weights: np.ndarray
    learned_from: tuple[int, int]
    counts: int = IMAGES.counts

    def of_cues(self, cues: np.ndarray) -> np.ndarray:
        """Return scores of pairs.

        Args:
            cues: float32, shape (..., C).

        Returns:
            float64, shape (...), at least 0; what unrelated images reach is about 1.
        """
        return _norm(self.standardised(cues), self.weights)

    def standardised(self, cues: np.ndarray) -> np.ndarray:
        """Return each cue above that of unrelated images, in units of their highest.

        Args:
            cues: float32, shape (..., C).

        Returns:
            float64, shape (..., C), 0 to 12.
        """
        return np.clip((transformed(cues, self.counts) - self.medians) / self.scales, 0, _MOST)

    def of(self, found: Found) -> np.ndarray:
        """Return the score of each candidate, float64 (N, K); minus infinity where there is none."""
        return np.where(found.partners >= 0, self.of_cues(found.cues), -np.inf)


def transformed(cues: np.ndarray, counts: int = IMAGES.counts) -> np.ndarray:
    """Return cues on scales on which the tails of unrelated images are about exponential.

    Args:
        cues: float32, shape (..., C): numbers of keypoints, then similarities from -1 to 1.
        counts: how many of them are numbers of keypoints.

    Returns:
        float64, shape (..., C).
    """
    values = np.asarray(cues, np.float64)
    return np.concatenate([values[..., :counts], transformed_similarities(values[..., counts:])], axis=-1)


def transformed_similarities(values: np.ndarray) -> np.ndarray:
    """Return similarities from -1 to 1 on a scale on which the tail of unrelated images is about exponential; float64, same shape."""
    return -np.log(np.clip(1 - np.asarray(values, np.float64), _LEAST_DIFFERENCE, 2))


def learn_score(unrelated: Found, copies: Found, originals: Sequence[int] | np.ndarray, cues: CueSet = IMAGES) -> Score:
    """Learn the score.

    Args:
        unrelated: candidates of N images of other subjects.
        copies: candidates of M copies of real images.
        originals: row of the gallery that each copy was made from, int64 (M,).
        cues: what the columns of the candidates' cues are; without an encoder, the last one is absent.
    """
    count = unrelated.cues.shape[2]
    names = cues.names[:count]
    best = _best_of_each(unrelated, cues.counts)
    if len(best) < _LEAST_IMAGES:
        return default_score(count, cues)
    medians = np.median(best, axis=0)
    least = np.where(np.arange(count) < cues.counts, _LEAST_KEYPOINTS, _LEAST_SCALE)
    scales = np.maximum(np.sort(best, axis=0)[-_top(len(best)) :].mean(axis=0) - medians, least)
    score = Score(names, medians, scales, np.ones(count), (len(best), 0), cues.counts)
    right = copies.partners == np.asarray(originals, np.int64).reshape(-1, 1)
    if right.sum() < _LEAST_IMAGES:
        return score
    weights = _weights(score, unrelated, copies.cues[right])
    return Score(names, medians, scales, weights, (len(best), int(right.any(axis=1).sum())), cues.counts)


def default_score(count: int, cues: CueSet = IMAGES) -> Score:
    """Return the score that nothing of this audit has taught, with all weights 1.

    Args:
        count: number of cues, with that of an encoder or without.
        cues: what they are.
    """
    medians, scales = np.array(cues.medians[:count]), np.array(cues.scales[:count])
    return Score(cues.names[:count], medians, scales, np.ones(count), (0, 0), cues.counts)


def _best_of_each(unrelated: Found, counts: int) -> np.ndarray:
    """Return the best of each cue over the candidates of every image that has any, float64 (N, C)."""
    if not unrelated.partners.size:
        return np.zeros((0, unrelated.cues.shape[2]))
    values = np.where(unrelated.partners[..., None] >= 0, transformed(unrelated.cues, counts), -np.inf)
    return values[(unrelated.partners >= 0).any(axis=1)].max(axis=1)


def _top(count: int) -> int:
    return max(_LEAST_TOP, int(np.ceil(_TOP * count)))


def _norm(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.power(np.power(values * weights, _NORM).sum(axis=-1), 1 / _NORM)


def _weights(score: Score, unrelated: Found, copies: np.ndarray) -> np.ndarray:
    """Return the mean of the weights with which most copies are above what chance can do."""
    others = score.standardised(unrelated.cues) * (unrelated.partners >= 0)[..., None]
    positive = score.standardised(copies)
    tried = []
    for setting in product(_WEIGHTS, repeat=len(score.names)):
        weights = np.array(setting)
        chance = np.sort(_norm(others, weights).max(axis=1))[-_top(len(others)) :].mean()
        surplus = (_norm(positive, weights) / max(chance, _LEAST_SCALE) - _MARGIN) / _SOFTNESS
        found = 1 / (1 + np.exp(-np.clip(surplus, -50, 50)))
        tried.append((-float(found.mean()), setting))
    return np.mean([setting for _, setting in sorted(tried)[:_BEST]], axis=0)
