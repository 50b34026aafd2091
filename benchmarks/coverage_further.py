"""Do the statistics beside the verdict warn where nobody is copied, and do they see copies? Simulations whose truth is known.

    python -m benchmarks.coverage --further

Scores of the membership attack are normal with an effect of the subject. Evidence of pairs consists of numbers of
keypoints, which are exponential for unrelated images. A copied subject has one image with a high score and a synthetic
image with many keypoints in common. Everything that is concluded is the audit's own code. The tables go into
docs/audit.md.

Not here: intervals of rates, copies and pairs (coverage.py).
"""

from typing import Any, NamedTuple

import numpy as np

from deepssim.audit.calibration import Rule, calibrated_rule
from deepssim.audit.evidence import Best
from deepssim.audit.further import epsilon_figures
from deepssim.audit.membership import membership_inference
from deepssim.audit.phantoms import Phantoms, phantom_figures
from deepssim.audit.random_draw import RandomDraw
from deepssim.detection.score import default_score
from deepssim.detection.search import Found
from deepssim.evaluation.disclosure import membership_disclosure
from deepssim.evaluation.memorization import memorization_index, memorization_summary, standardised_excess
from deepssim.evaluation.one_run import epsilon_bound
from deepssim.evaluation.split_bias import compared_with_chance, split_bias
from deepssim.seeds import numpy_generator

SYNTHETIC, CANDIDATES, KEYPOINTS = (
    300,
    6,
    8.0,
)  # images, candidates of each, mean number of keypoints of unrelated pairs
COPIED_ABOVE = 6.0  # standard deviations by which a copied image's similarity exceeds the mean
MOST_KEYPOINTS = 200  # of a copy
SCORE = default_score(5)
EPSILONS = (0.0, 0.5, 1.0, 2.0, 4.0)
GUESSES = (10, 50, 200, 1000)


class Design(NamedTuple):
    """Subjects of both sides, images of each, and the correlation between images of one subject."""

    train: int
    holdout: int
    images: int
    correlation: float


DESIGNS = (
    Design(20, 20, 1, 0.0), Design(30, 10, 10, 0.5), Design(30, 100, 10, 0.5), Design(60, 60, 10, 0.9), Design(100, 30, 4, 0.5),
    Design(200, 200, 1, 0.0), Design(300, 50, 4, 0.5),
)  # fmt: skip
RATES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5)  # of training subjects that are copied


def similarities(random: np.random.Generator, subjects: int, design: Design) -> np.ndarray:
    """Return scores of all images of one side, subject after subject: float64 (subjects * images,)."""
    shared, own = random.normal(size=(subjects, 1)), random.normal(size=(subjects, design.images))
    return (np.sqrt(design.correlation) * shared + np.sqrt(1 - design.correlation) * own).ravel()


def phantoms(random: np.random.Generator, members: np.ndarray, copied: int, synthetic: int = SYNTHETIC) -> Phantoms:
    """Return evidence between synthetic images and one image of each subject.

    Args:
        random: generator.
        members: bool (M,), which subjects are training subjects.
        copied: how many of these are copied, the first ones.
        synthetic: images, at least as many.
    """
    count = len(members)
    partners = np.argsort(random.random((synthetic, count)), axis=1)[:, :CANDIDATES]
    cues = np.zeros((synthetic, partners.shape[1], 5), np.float32)
    cues[..., 0] = random.exponential(KEYPOINTS, partners.shape)
    rows = np.flatnonzero(members)[:copied]
    partners[: len(rows), 0], cues[: len(rows), 0, 0] = rows, MOST_KEYPOINTS
    blank = np.zeros(partners.shape, np.float32)
    names = [f"{'train' if member else 'holdout'} {row:04d}" for row, member in enumerate(members)]
    return Phantoms(Found(partners, cues, blank, blank > 0), np.zeros(count, bool), names, members)


def limit(random: np.random.Generator, subjects: int) -> tuple[Rule, Best]:
    """Return the rule that held-out subjects set, one image each, with their best candidates."""
    cues = np.zeros((subjects, CANDIDATES, 5), np.float32)
    cues[..., 0] = random.exponential(KEYPOINTS, (subjects, CANDIDATES))
    scores = SCORE.of_cues(cues).max(axis=1)
    names = [str(row) for row in range(subjects)]
    held_out = Best(scores, np.zeros(subjects, np.int64), cues[:, 0], names)
    return calibrated_rule(held_out, held_out=True, rate=0.05, confidence=0.95, seed=0), held_out


def audit(design: Design, rate: float, repetition: int) -> dict[str, float]:
    """Compute the statistics of one simulated audit.

    Args:
        design: subjects and images.
        rate: fraction of the training subjects that are copied.
        repetition: seed.

    Returns:
        Whether each of them speaks for copies (0 or 1), and the memorization index, by name.
    """
    random = numpy_generator(
        repetition, "further", *map(str, design)
    )  # the same for all rates, which are then compared in pairs
    copied = round(rate * design.train)
    train, holdout = (similarities(random, subjects, design) for subjects in (design.train, design.holdout))
    train[: copied * design.images : design.images] = COPIED_ABOVE
    subjects = [f"p{row // design.images}" for row in range(len(train) + len(holdout))]
    attack = membership_inference(train, holdout, subjects, confidence=0.95, repetitions=20, seed=repetition)["auroc"]
    chance = split_bias(train, subjects[: len(train)], design.holdout, seed=repetition)
    compared = compared_with_chance(attack, chance)
    disclosure = membership_disclosure(train, holdout, subjects, prevalence=0.1, seed=repetition)
    rule, held_out = limit(random, design.holdout)
    members = np.arange(design.train + design.holdout) < design.train
    evidence = phantoms(random, members, copied)
    excess = phantom_figures(evidence, SCORE, rule, confidence=0.95)
    drawn = random.random(design.train + design.holdout) < 0.5
    bound = epsilon_figures(
        phantoms(random, drawn, round(rate * drawn.sum())), SCORE, rule, RandomDraw(0.5), encoder=False, confidence=0.95,
        seed=repetition,
    )  # fmt: skip
    index = memorization_summary(*indices(evidence, held_out, repetition))["excess"]
    within = chance.low <= attack.value <= chance.high
    found: dict[str, Any] = {
        "AUROC within the range of divisions": within,
        "AUROC above the range": bool(compared["exceeds"]),
        "warning of chance": compared["warning"] is not None,
        "disclosure above 0.09": disclosure.position == "above",
        "more copies than phantoms": excess["exceeds"],
        "epsilon above 0": bound["ranked"]["epsilon"] > 0,
        "memorization index": np.nan if index is None else index,
    }
    warns = ("AUROC above the range", "warning of chance", "disclosure above 0.09", "more copies than phantoms")
    found["any warning"] = any(found[name] for name in warns)
    return {name: float(value) for name, value in found.items()}


def indices(evidence: Phantoms, held_out: Best, seed: int) -> tuple[np.ndarray, list[str], np.ndarray, list[str]]:
    """Return the memorization index of the synthetic images and of the held-out ones, with the groups of both."""
    best = SCORE.of(evidence.found).max(axis=1)
    own, null = (
        memorization_index(standardised_excess(scores, held_out.scores, held_out.subjects))
        for scores in (best, held_out.scores)
    )
    return own, [str(row) for row in range(len(best))], null, held_out.subjects


def chance_table(count: int) -> list[str]:
    """Return how often the statistics warn where nobody is copied, as a Markdown table."""
    names = (
        "AUROC within the range of divisions", "AUROC above the range", "warning of chance", "disclosure above 0.09",
        "more copies than phantoms", "any warning", "epsilon above 0",
    )  # fmt: skip
    lines = [
        f"| training and held-out subjects | images of each | correlation | {' | '.join(names)} |",
        f"| --- | --- | --- |{' --- |' * len(names)}",
    ]
    for design in DESIGNS:
        runs = [audit(design, 0.0, repetition) for repetition in range(count)]
        cells = [f"{np.mean([run[name] for run in runs]):.1%}" for name in names]
        lines.append(
            f"| {design.train} and {design.holdout} | {design.images} | {design.correlation:g} | {' | '.join(cells)} |"
        )
    return [*lines, "", f"{count:,} audits of each design without copies."]


def planted_table(count: int, design: Design = DESIGNS[4]) -> list[str]:
    """Return how often the statistics speak for copies, by the fraction of training subjects copied."""
    names = (
        "AUROC above the range", "disclosure above 0.09", "more copies than phantoms", "epsilon above 0", "memorization index",
    )  # fmt: skip
    lines = [f"| subjects copied | {' | '.join(names)} |", f"| --- |{' --- |' * len(names)}"]
    for rate in RATES:
        runs = [audit(design, rate, repetition) for repetition in range(count)]
        cells = [
            f"{np.nanmean([run[name] for run in runs]):{'.3f' if name == 'memorization index' else '.0%'}}"
            for name in names
        ]
        lines.append(f"| {rate:.0%} | {' | '.join(cells)} |")
    return [
        *lines,
        "",
        f"{count:,} audits of each row: {design.train} training and {design.holdout} held-out subjects, {design.images} images of each, "
        f"correlation {design.correlation:g}, {SYNTHETIC} synthetic images, one for each copied subject. The memorization index is the "
        "mean of the synthetic images less that of the held-out ones.",
    ]


def bound_table(count: int) -> list[str]:
    """Return how often the bound is at most the epsilon of randomized response, and its median, as a Markdown table."""
    lines = [
        f"| epsilon | {' | '.join(f'{guesses:,} guesses' for guesses in GUESSES)} |",
        f"| --- |{' --- |' * len(GUESSES)}",
    ]
    for epsilon in EPSILONS:
        cells = []
        for guesses in GUESSES:
            random = numpy_generator(0, "randomized response", str(epsilon), guesses)
            correct = random.binomial(guesses, 1 / (1 + np.exp(-epsilon)), count)
            numbers, places = np.unique(correct, return_inverse=True)
            bounds = np.array([epsilon_bound(int(number), guesses) for number in numbers])[places]
            cells.append(f"{np.mean(bounds <= epsilon + 1e-12):.1%} ({np.median(bounds):.2f})")
        lines.append(f"| {epsilon:g} | {' | '.join(cells)} |")
    return [
        *lines,
        "",
        f"Fraction of bounds that are at most epsilon, and their median; {count:,} simulations of each.",
    ]


def tables(simulations: int) -> dict[str, list[str]]:
    """Return all tables by the name of their place in docs/audit.md.

    Args:
        simulations: of each design.
    """
    return {
        "further statistics by chance": chance_table(simulations),
        "further statistics of copies": planted_table(max(1, simulations // 4)),
        "bounds on epsilon": bound_table(10 * simulations),
    }
