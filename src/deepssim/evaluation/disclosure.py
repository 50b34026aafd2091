"""Membership disclosure: F1 of an attacker who claims membership of everyone with a similar synthetic image.

Source: El Emam, Mosquera and Fang 2022, doi:10.1093/jamiaopen/ooac083, for F1 of a distance-based attack and for t as
the sampling fraction. Their records are tables and match at a Hamming distance up to a fixed number; images have no
such number, hence the chosen threshold. The authors' package synthprivacy takes t itself, the F1 of guessing at random
at rate t, as the naive F1; 2 t / (1 + t) is the highest that guessing reaches. The line of 0.09 is one of
identification (El Emam et al. 2020, doi:10.2196/23139), not of membership; later work compares membership attacks with
it (arXiv:2601.12124). F1 of guessing alone exceeds it for t above 0.047, so the relative F1 is compared here.

Not here: ranking statistics of the same attack (audit/membership.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepssim.evaluation.groups import group_codes
from deepssim.evaluation.intervals import Interval
from deepssim.evaluation.jackknife import LEAST_SUBJECTS, jackknife_interval, leave_one_out
from deepssim.seeds import numpy_generator

LINE = 0.09
"""Probability of identification that the European Medicines Agency (Policy 0070) and Health Canada accept: 1 in 11."""
_DIVISIONS = 10  # on whose halves thresholds are chosen and applied


@dataclass(frozen=True)
class MembershipDisclosure:
    """F1 of a distance-based membership attack.

    Attributes:
        f1: 0 to 1.
        naive_f1: of the claim that everyone is a member.
        relative_f1: (f1 - naive_f1) / (1 - naive_f1), at most 1, below 0 where the attack is worse than that claim.
        prevalence: fraction of members among the people attacked.
        line: that `relative_f1` is compared with.
        position: of `relative_f1` and its interval: "above", "below" or "on both sides"; "not known" without an
            interval.
    """

    f1: Interval
    naive_f1: float
    relative_f1: Interval
    prevalence: float
    line: float
    position: str


def membership_disclosure(
    train: np.ndarray,
    holdout: np.ndarray,
    subjects: Sequence[str],
    *,
    prevalence: float = 0.5,
    confidence: float = 0.95,
    seed: int = 0,
) -> MembershipDisclosure:
    """Return the F1 with which an attacker recognises members by the similarity to the nearest synthetic image.

    With t the prevalence, F1 = 2 t TPR / (t + t TPR + (1 - t) FPR), which is 2 precision recall / (precision + recall)
    for attacked people of whom a fraction t are members. The claim that everyone is a member reaches 2 t / (1 + t), so
    that F1 depends on t most of all; the relative F1 does not reward it: 0 for guessing, 1 for a perfect attack. The
    attacker's threshold is the one with the highest F1 on a random half of the subjects of both sides, applied to the
    other half, and vice versa, averaged over ten divisions: a threshold chosen and tested on the same images would
    find members where there are none. Images count equally; intervals are by subject, given the thresholds.

    **A value below the line clears nobody.** F1 is about all members: with t = 0.5, an attacker who recognises a fifth
    of the members without error has an F1 of 0.33, less than the 0.67 of claiming everyone. So there is no position
    "below".

    Args:
        train, holdout: each image's best score with a synthetic image, floating point (T,) and (H,).
        subjects: of all T + H images.
        prevalence: fraction of members among the people attacked, between 0 and 1: training subjects divided by the
            people of the population they were sampled from, where that is known. With 0.5, the usual default, F1 is
            higher than in smaller fractions.
        confidence: of the intervals.
        seed: of the divisions.

    Returns:
        F1 and relative F1 with intervals; none below five subjects on a side.

    Raises:
        ValueError: if `prevalence` is not between 0 and 1.

    Source: El Emam, Mosquera and Fang 2022, doi:10.1093/jamiaopen/ooac083, adapted to images, see the module.
    """
    if not 0 < prevalence < 1:
        raise ValueError(f"the prevalence is {prevalence}; it must lie between 0 and 1")
    scores = np.concatenate([train, holdout]).astype(np.float64)
    members = np.arange(len(scores)) < len(train)
    naive = 2 * prevalence / (1 + prevalence)
    fewest = min(group_codes(part)[1] if len(part) else 0 for part in (subjects[: len(train)], subjects[len(train) :]))
    if fewest < LEAST_SUBJECTS:
        nan = float("nan")
        unknown = Interval(nan, nan, nan, f"fewer than {LEAST_SUBJECTS} subjects in a class")
        return MembershipDisclosure(unknown, naive, unknown, prevalence, LINE, "not known")
    claimed = _claims(scores, members, subjects, prevalence, seed)
    left_out = leave_one_out(subjects, seed)
    parts = np.stack([claimed * members, members, claimed * ~members, ~members], axis=1)
    sums = np.array([row @ parts for row in (np.ones(len(scores)), *left_out)])  # one row at a time saves memory
    values = _f1(sums[:, 0] / sums[:, 1], sums[:, 2] / sums[:, 3], prevalence)
    f1 = jackknife_interval(float(values[0]), values[1:], fewest, confidence)
    value, low, high = (float((end - naive) / (1 - naive)) for end in (f1.value, f1.low, f1.high))
    relative = Interval(value, low, high, f1.method)
    return MembershipDisclosure(f1, naive, relative, prevalence, LINE, _position(relative))


def _f1(tpr: np.ndarray, fpr: np.ndarray, prevalence: float) -> np.ndarray:
    return 2 * prevalence * tpr / (prevalence + prevalence * tpr + (1 - prevalence) * fpr)


def _claims(
    scores: np.ndarray, members: np.ndarray, subjects: Sequence[str], prevalence: float, seed: int
) -> np.ndarray:
    """Return in which fraction of the divisions each image's membership is claimed, float64 (N,), 0 to 1."""
    codes, count = group_codes(subjects)
    side = np.zeros(count, bool)
    side[codes[members]] = True
    random, claimed = numpy_generator(seed, "membership disclosure"), np.zeros(len(scores))
    for _ in range(_DIVISIONS):
        first = np.zeros(count, bool)
        for people in (np.flatnonzero(side), np.flatnonzero(~side)):
            first[random.permutation(people)[: (len(people) + 1) // 2]] = True
        inside = first[codes]
        for chosen in (inside, ~inside):
            claimed[~chosen] += scores[~chosen] >= _best_threshold(scores[chosen], members[chosen], prevalence)
    return claimed / _DIVISIONS


def _best_threshold(scores: np.ndarray, members: np.ndarray, prevalence: float) -> float:
    """Return the score from which on membership is claimed with the highest F1; minus infinity to claim it of everyone."""
    order = np.argsort(-scores, kind="stable")
    tpr, fpr = (np.cumsum(which[order]) / max(1, which.sum()) for which in (members, ~members))
    last = np.append(scores[order][:-1] > scores[order][1:], True)  # ends of groups of equal scores
    f1 = np.where(last, _f1(tpr, fpr, prevalence), -1.0)
    place = int(len(f1) - 1 - np.argmax(f1[::-1]))  # of equal ones the lowest threshold
    return -np.inf if place == len(f1) - 1 else float(scores[order][place])


def _position(relative: Interval) -> str:
    if not np.isfinite(relative.low):
        return "not known"
    return "above" if relative.low > LINE else "not above"
