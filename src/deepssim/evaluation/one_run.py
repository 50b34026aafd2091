"""Empirical lower bound on epsilon of differential privacy from one generator whose members were drawn at random.

Not here: the scores (audit/phantoms.py), how members are drawn (datasets/splits.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepssim.seeds import numpy_generator

FRACTIONS = (0.02, 0.1, 0.25, 0.5)
"""Fractions of the subjects whose membership is guessed: few for copies of few subjects, many for a weak signal of all."""


@dataclass(frozen=True)
class EpsilonBound:
    """A lower bound on epsilon.

    Attributes:
        epsilon: at least 0, natural logarithm; no (epsilon, 0)-differentially private generator with a smaller epsilon
            gives so many correct guesses, except with probability 1 - confidence. NaN where there is nobody to guess.
        confidence: of the bound, one-sided.
        guesses, correct: for the number of guesses that gives the highest bound.
        subjects: that were drawn.
        inclusion: probability with which each of them was drawn as a member.
    """

    epsilon: float
    confidence: float
    guesses: int
    correct: int
    subjects: int
    inclusion: float


def epsilon_bound(correct: int, guesses: int, *, inclusion: float = 0.5, confidence: float = 0.95) -> float:
    """Return the lower bound on epsilon from a number of correct guesses.

    Each subject is a member with probability p, independently. For an (epsilon, 0)-differentially private generator
    the odds that a subject is a member are at most exp(epsilon) p / (1 - p), whatever it has made and whoever else is
    a member. So the number of correct guesses "member" is stochastically at most Binomial(guesses, q) with logit(q) =
    epsilon + logit(p). The bound is the smallest epsilon for which so many correct guesses have a probability of more
    than 1 - confidence: epsilon = logit(q_low) - logit(p), with q_low Clopper-Pearson's one-sided lower limit.

    Args:
        correct: correct guesses.
        guesses: subjects whose membership was guessed; the others do not count. The guesses may depend on all that the
            generator made, but on nobody's membership. All are "member", or of either kind where `inclusion` is 0.5.
        inclusion: p, between 0 and 1.
        confidence: of the bound.

    Returns:
        At least 0. delta is 0: for delta above 0, the bound can be too high by the effect of an event of that
        probability.

    Raises:
        ValueError: if the counts or `inclusion` are impossible.

    Source: Steinke, Nasr and Jagielski 2023, arXiv:2305.08846, theorem 5.2 with delta = 0, there for p = 1/2.
    """
    from scipy.special import logit
    from scipy.stats import beta

    if not 0 <= correct <= guesses or not 0 < inclusion < 1:
        raise ValueError(f"{correct} of {guesses} correct guesses with an inclusion of {inclusion} are impossible")
    if correct == 0:
        return 0.0
    lowest = beta.ppf(1 - confidence, correct, guesses - correct + 1)
    return max(0.0, float(logit(lowest) - logit(inclusion)))


def one_run_bound(
    scores: np.ndarray,
    members: np.ndarray,
    *,
    inclusion: float = 0.5,
    confidence: float = 0.95,
    seed: int = 0,
    fractions: Sequence[float] = FRACTIONS,
) -> EpsilonBound:
    """Guess that the subjects with the highest scores are members, and return the bound on epsilon that follows.

    Several numbers of guesses are fixed beforehand and corrected for (Bonferroni); the highest bound is returned.
    Equal scores are ordered at random.

    Args:
        scores: of subjects, floating point (M,), one each. They may depend on all that the generator made, but not on
            who is a member.
        members: bool (M,), whom the draw made a member.
        inclusion: probability with which each subject was drawn, independently.
        confidence: of the bound.
        seed: orders equal scores.
        fractions: of the subjects whose membership is guessed, 0 to 1.
    """
    count = len(scores)
    if not count:
        return EpsilonBound(float("nan"), confidence, 0, 0, 0, inclusion)
    mixed = numpy_generator(seed, "one run").permutation(count)  # so that the order of subjects does not tell members
    correct = np.cumsum(np.asarray(members, bool)[mixed][np.argsort(-np.asarray(scores)[mixed], kind="stable")])
    tried = sorted({int(np.ceil(fraction * count)) for fraction in fractions})
    each = 1 - (1 - confidence) / len(tried)
    bounds = [epsilon_bound(int(correct[size - 1]), size, inclusion=inclusion, confidence=each) for size in tried]
    best = int(np.argmax(bounds))
    return EpsilonBound(bounds[best], confidence, tried[best], int(correct[tried[best] - 1]), count, inclusion)
