"""How far a membership attack gets where there is nothing to find: members against members.

A set of few subjects, divided in two at random, already yields an AUROC away from 0.5. An attack whose AUROC lies
within the range of such divisions is explained by the division alone.

Not here: the attack (audit/membership.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepssim.evaluation.groups import group_codes
from deepssim.evaluation.intervals import Interval
from deepssim.evaluation.jackknife import LEAST_SUBJECTS
from deepssim.evaluation.ranking import ranking_samples
from deepssim.seeds import numpy_generator

REPETITIONS = 200


@dataclass(frozen=True)
class SplitBias:
    """AUROC of members against members over random divisions of the training subjects.

    Attributes:
        median: of all divisions, 0 to 1; NaN where there are too few subjects.
        halves_low, halves_high: range of the AUROC of one half against the other, 0 to 1.
        low, high: the same range for as many members and non-members as the attack has.
        repetitions: divisions.
        reason: why there is no range; empty where there is one.
    """

    median: float
    halves_low: float
    halves_high: float
    low: float
    high: float
    repetitions: int
    reason: str = ""


def split_bias(
    scores: np.ndarray,
    subjects: Sequence[str],
    opponents: int,
    *,
    confidence: float = 0.95,
    repetitions: int = REPETITIONS,
    seed: int = 0,
) -> SplitBias:
    """Return the AUROC of one random half of the training subjects against the other half, which plays non-members.

    All images of a subject are in one half. Each image keeps the score that the attack gives it. The range is
    symmetric about 0.5, since the halves can be swapped: 0.5 plus or minus the quantile of the absolute deviations (of
    B divisions, the one of rank 0.95 (B + 1)). The standard deviation of an AUROC under the null hypothesis is
    proportional to sqrt(1 / m + 1 / n) for m against n subjects; `low` and `high` are the range of halves times the
    ratio of these terms for the attack (G training subjects against `opponents`) and for the halves, widened by the
    ratio of Student's t with G - 1 degrees of freedom to the normal quantile, since G subjects say how much subjects
    differ.

    Args:
        scores: of the training images, floating point (T,), similarity to the nearest synthetic image.
        subjects: of these images.
        opponents: subjects that the attack is tested against, those of the holdout.
        confidence: of the range.
        repetitions: divisions.
        seed: of the divisions.

    Returns:
        No range with fewer than ten training subjects or five opponents. Assumes that subjects are independent and
        that the scores of held-out subjects would vary as those of training subjects do.

    Source: permutation test by subject, Good 2005, doi:10.1007/b138696; variance of the Mann-Whitney statistic,
    Lehmann 1975.
    """
    from scipy.stats import norm
    from scipy.stats import t as student

    codes, count = group_codes(subjects)
    nan = float("nan")
    if count < 2 * LEAST_SUBJECTS or opponents < LEAST_SUBJECTS:
        reason = f"needs {2 * LEAST_SUBJECTS} training and {LEAST_SUBJECTS} held-out subjects, there are {count} and {opponents}"
        return SplitBias(nan, nan, nan, nan, nan, 0, reason)
    random, half = numpy_generator(seed, "split bias"), count // 2
    chosen = np.zeros((repetitions, count), np.uint8)
    for division in chosen:
        division[random.permutation(count)[:half]] = 1
    members = chosen[:, codes]
    # Each image is listed as a member and as a non-member; one of the two has no weight.
    values = np.concatenate([scores, scores]).astype(np.float64)
    positives = np.arange(len(values)) < len(scores)
    auroc = ranking_samples(values, positives, np.hstack([members, 1 - members]))["auroc"]
    reach = _quantile(np.abs(auroc - 0.5), confidence)
    factor = np.sqrt((1 / count + 1 / opponents) / (1 / half + 1 / (count - half)))
    tail = (1 + confidence) / 2
    scaled = min(0.5, reach * float(factor * student.ppf(tail, count - 1) / norm.ppf(tail)))
    return SplitBias(
        float(np.median(auroc)), 0.5 - reach, 0.5 + reach, 0.5 - scaled, 0.5 + scaled, repetitions
    )  # fmt: skip


def _quantile(values: np.ndarray, confidence: float) -> float:
    """Return the value that a further draw exceeds with a probability of at most 1 - confidence; the highest of few."""
    return float(np.sort(values)[min(len(values), int(np.ceil(confidence * (len(values) + 1)))) - 1])


def compared_with_chance(auroc: Interval, chance: SplitBias) -> dict[str, object]:
    """Say whether an attack's AUROC exceeds what random divisions of the members reach.

    Args:
        auroc: of members against non-members.
        chance: of members against members.

    Returns:
        `exceeds`: whether the AUROC is above the range, None where there is no range. `warning`: a sentence where the
        interval of the AUROC excludes 0.5 although the AUROC lies within the range, so that a reader would take chance
        for a finding; else None.
    """
    if chance.reason or not np.isfinite(auroc.value):
        return {"exceeds": None, "warning": None}
    exceeds = auroc.value > chance.high
    warning = None
    if not exceeds and np.isfinite(auroc.low) and auroc.low > 0.5:
        warning = (
            f"The AUROC of {auroc.value:.2f} lies within the range that random divisions of the training subjects reach "
            f"({chance.low:.2f} to {chance.high:.2f}): the division into members and non-members alone explains it."
        )
    return {"exceeds": bool(exceeds), "warning": warning}
