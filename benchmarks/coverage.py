"""Do the intervals cover, and does the verdict hold, when images come in groups? Simulations whose truth is known.

    python -m benchmarks.coverage

Scores are normal with an effect of the subject: two images of one subject have the given correlation. Every interval that
the audit or the evaluation prints is computed by the function that prints it, and compared with the value in the
population. `--verdicts` simulates whole audits without copies, `--further` the statistics beside the verdict. The tables go into
docs/audit.md.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import beta, norm

from benchmarks import ROOT, coverage_further
from benchmarks.audit import insert
from deepssim.audit import leakage
from deepssim.audit.calibration import calibrated_rule
from deepssim.audit.evidence import Best
from deepssim.audit.examination import Verdict, _verdict
from deepssim.audit.membership import membership_inference
from deepssim.evaluation import excess
from deepssim.evaluation.excess import alarms_of_limit, excess_rate, rate_with_missed
from deepssim.evaluation.groups import conformal_limit, excess_probability, rate_by_group, tail_limit
from deepssim.evaluation.intervals import Interval
from deepssim.evaluation.labelled_pairs import Sampling, compare_metrics, evaluate_labelled, macro_f1
from deepssim.evaluation.ranking import ranking_samples
from deepssim.evaluation.verdict import MOST_ERROR
from deepssim.ground_truth.labels import Label, Thresholds
from deepssim.seeds import numpy_generator

SUBJECTS = (1, 3, 10, 20, 30, 100, 300)
CLUSTERS = ((1, 0.0), (10, 0.0), (10, 0.5), (10, 0.9), (40, 0.0), (40, 0.5), (40, 0.9))  # images of each, correlation
SLOW_CLUSTERS = ((1, 0.0), (10, 0.5), (40, 0.5), (40, 0.9))  # for statistics that take longer
RATES = (0.005, 0.02, 0.1, 0.3, 0.8)
DRAWS = 2000  # of `excess` here; more change its ends by less than a hundredth of the interval
MOST_PAIRS = 1200  # in a design of labelled pairs
LEAST_PRINTED = 100  # intervals, to speak of their coverage
REFINED = 0.945  # designs that cover less often are simulated anew
MORE = 4  # times as many simulations for these
FALSE_POSITIVES = 0.01
SENSITIVITY = 0.85
# Held-out subjects, slices of each, correlation within subjects, synthetic images.
AUDITS = (
    (1, 40, 0.9, 300), (3, 40, 0.5, 500), (5, 40, 0.9, 1000), (10, 10, 0.9, 500), (20, 10, 0.9, 1500), (20, 40, 0.0, 500),
    (30, 1, 0.0, 1500), (50, 4, 0.5, 1000), (100, 1, 0.0, 1500), (100, 10, 0.9, 500), (200, 10, 0.5, 1000), (200, 40, 0.9, 300),
)  # fmt: skip

Found = dict[str, tuple[Interval, float]]
Coverage = dict[tuple[str, int], list[tuple[float, tuple[float, ...]]]]


def draw(random: np.random.Generator, subjects: int, images: int, correlation: float) -> np.ndarray:
    """Return standard normal scores of all images, subject after subject: float64 (subjects * images,)."""
    shared, own = random.normal(size=(subjects, 1)), random.normal(size=(subjects, images))
    return (np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own).ravel()


def rates(random: np.random.Generator, subjects: int, images: int, correlation: float, rate: float) -> Found:
    """Count images found, as for N_mem and false alarms, and the mean number of copies of copied images."""
    groups: Any = np.repeat(np.arange(subjects), images)
    found = draw(random, subjects, images, correlation) > norm.ppf(1 - rate)
    result = {"rate": (rate_by_group(found, groups), rate)}
    # Further copies are geometric with a mean of 2, or 3 for subjects with high scores.
    popular = draw(random, subjects, images, correlation) > 0
    copies = random.geometric(np.where(popular, 1 / 3, 1 / 2)).astype(np.float64)
    if found.any():
        result["copies per image"] = leakage.mean_copies(copies[found], groups[found], 0.95, 0), 2.5
    return result


def copies(random: np.random.Generator, subjects: int, images: int, correlation: float, rate: float) -> Found:
    """Estimate the rate of copies among 1,000 synthetic images with a limit from the held-out subjects."""
    groups: Any = np.repeat(np.arange(subjects), images)
    synthetic: Any = np.arange(1000)
    limit = conformal_limit(draw(random, subjects, images, correlation), groups, FALSE_POSITIVES)
    copied, alarm = random.random(1000) < rate, random.normal(size=1000) > limit.value
    seen = copied & (random.random(1000) < SENSITIVITY)
    controls = (float(random.binomial(200, SENSITIVITY)), 200.0)
    alarms, seed = alarms_of_limit(limit), int(random.integers(2**31))
    none = np.zeros(1000, bool)
    missed = rate_with_missed(none, seen | alarm & ~copied, synthetic, alarms, controls, seed=seed)
    return {
        "N_copies": (excess_rate(copied | alarm, synthetic, alarms, seed=seed), rate),
        "with missed copies": (missed, rate),
    }


def pairs(random: np.random.Generator, subjects: int, images: int, correlation: float, rate: float) -> Found:
    """Evaluate two metrics on labelled pairs, of which a rate are duplicates, and membership inference."""
    groups: Any = np.repeat(np.arange(subjects), images)
    first, second, labels = _labelled(random, subjects, images, correlation, rate)
    if len(np.unique(labels)) < len(Label):
        return {}
    thresholds, truth = _thresholds(rate), _truth(rate)
    found = evaluate_labelled(first, labels, groups, thresholds, Sampling(repetitions=100))
    (compared,) = compare_metrics(
        {"a": first, "b": second}, {"a": thresholds, "b": thresholds}, labels, groups, Sampling()
    )
    names = {"macro-F1": "macro_f1", "AUROC": "auroc", "AUPRC": "auprc", "precision at recall": "precision_at_recall",
             "false positives at recall": "fpr_at_recall"}  # fmt: skip
    result = {name: (found[key], truth[0][key]) for name, key in names.items()}
    for name, key in (("difference of macro-F1", "macro_f1"), ("difference of AUROC", "auroc")):
        result[name] = compared[f"{key}_difference"], truth[0][key] - truth[1][key]
    members = draw(random, subjects, images, correlation) + 0.5
    others = draw(random, subjects, images, correlation)
    both: Any = np.concatenate([groups, groups + subjects])
    attack = membership_inference(members, others, both, confidence=0.95, repetitions=50, seed=0)
    result["AUROC of membership"] = attack["auroc"], float(norm.cdf(0.5 / np.sqrt(2)))
    return result


def _thresholds(rate: float) -> Thresholds:
    return Thresholds(float(norm.ppf((1 - rate) / 2)), float(norm.ppf(1 - rate)))


def _labelled(
    random: np.random.Generator, subjects: int, images: int, correlation: float, rate: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return scores of two metrics, the second with more noise, and labels; the rest is half different, half similar."""
    latent = draw(random, subjects, images, correlation)
    labels = _thresholds(rate).classify(latent)
    width = norm.ppf(1 - rate) - norm.ppf((1 - rate) / 2)
    first, second = (latent + noise * width * draw(random, subjects, images, correlation) for noise in (0.2, 0.35))
    return first, second, labels


_TRUTH: dict[float, list[dict[str, float]]] = {}


def _truth(rate: float) -> list[dict[str, float]]:
    """Return the statistics of both metrics in a population of a million pairs."""
    if rate not in _TRUTH:
        *scores, labels = _labelled(numpy_generator(0, "population", str(rate)), 1_000_000, 1, 0.0, rate)
        weights, _TRUTH[rate] = np.ones((1, len(labels)), np.uint8), []
        for values in scores:
            curves = ranking_samples(values, labels == Label.DUPLICATE, weights)
            _TRUTH[rate].append(
                {"macro_f1": float(macro_f1(labels, _thresholds(rate).classify(values), weights)[0])}
                | {name: float(curves[name][0]) for name in ("auroc", "auprc")}
                | {f"{name}_at_recall": float(curves[name][0]) for name in ("precision", "fpr")}
            )
    return _TRUTH[rate]


def simulate(study: Callable[..., Found], design: tuple[float, ...], count: int, start: int) -> dict[str, np.ndarray]:
    """Return for each interval how many were printed, missed the truth below it and above it."""
    counted: dict[str, np.ndarray] = {}
    for repetition in range(start, start + count):
        random = numpy_generator(repetition, "coverage", *map(str, design))
        for name, (interval, truth) in study(random, *design).items():
            tally = counted.setdefault(name, np.zeros(3, np.int64))
            if np.isfinite(interval.low):
                tally += 1, interval.low > truth + 1e-12, interval.high < truth - 1e-12
    return counted


def coverage(study: Callable[..., Found], count: int) -> Coverage:
    """Simulate all designs of one study.

    Args:
        study: `rates`, `copies` or `pairs`.
        count: simulations of each; designs that then cover less than 94.5 % are simulated anew, four times as often, so that
            the lowest of many is not merely the unluckiest.

    Returns:
        For each interval and number of subjects the coverage in each design that prints at least 100 intervals.
    """
    excess._DRAWS = DRAWS
    found: Coverage = {}
    for design in _designs(study):
        counted = simulate(study, design, count, 0)
        doubtful = [name for name, tally in counted.items() if tally[0] and 1 - tally[1:].sum() / tally[0] < REFINED]
        if doubtful:
            again = simulate(study, design, MORE * count, count)
            counted |= {name: again[name] for name in doubtful}
        for name, (printed, below, above) in counted.items():
            if printed >= LEAST_PRINTED:
                found.setdefault((name, int(design[0])), []).append((1 - (below + above) / printed, design))
    return found


def _designs(study: Callable[..., Found]) -> Iterator[tuple[float, ...]]:
    for subjects, (images, correlation), rate in product(
        SUBJECTS, CLUSTERS if study is rates else SLOW_CLUSTERS, RATES
    ):
        small = 10 <= subjects <= 100 and subjects * images <= MOST_PAIRS and rate >= 0.1
        if study is not pairs or small:
            yield subjects, images, correlation, rate


def coverage_table(found: Coverage, count: int) -> list[str]:
    """Return the lowest and the mean coverage by interval and number of subjects as a Markdown table."""
    names = list(dict.fromkeys(name for name, _ in found))
    lines = [
        f"| interval | {' | '.join(str(number) for number in SUBJECTS)} |",
        f"| --- |{' --- |' * len(SUBJECTS)}",
    ]
    for name in names:
        cells = []
        for number in SUBJECTS:
            shares = [share for share, _ in found.get((name, number), [])]
            cells.append(f"{min(shares):.1%} ({np.mean(shares):.1%})" if shares else "none")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lowest, (name, _), design = min((share, key, where) for key, shares in found.items() for share, where in shares)
    lines += [
        "",
        f"Lowest coverage of a 95 % interval over all designs, and its mean, by number of subjects; {count:,} simulations of "
        f"{sum(len(shares) for shares in found.values()):,} intervals, and {MORE * count:,} new ones where those covered less than "
        f"{REFINED:.1%}. The lowest of all, {lowest:.1%}, is that of {name} with {design[0]} subjects, {design[1]} images of "
        f"each, correlation {design[2]:g} and a rate of {design[3]:.1%}. *none*: no interval is printed, or in fewer than "
        f"{LEAST_PRINTED} simulations.",
    ]
    return lines


def audit_verdict(design: tuple[int, int, float, int], repetition: int) -> tuple[Verdict, float, float]:
    """Audit synthetic images without copies, of which only scores are simulated.

    The audit's score is on a scale on which the tail of unrelated images is about exponential; it is simulated as -log(1 - SSIM)
    of an SSIM that is beta-distributed with a mean of 0.7 and a standard deviation of 0.08.

    Args:
        design: held-out subjects, slices of each, correlation, synthetic images.
        repetition: seed.

    Returns:
        The verdict, the fraction of synthetic images above the limit, and the rate that was promised.
    """
    subjects, images, correlation, count = design
    random = numpy_generator(repetition, "verdict", *map(str, design))
    held_out = _best(
        draw(random, subjects, images, correlation), [f"p{row // images}" for row in range(subjects * images)]
    )
    synthetic = _best(random.normal(size=count), [str(row) for row in range(count)])
    rule = calibrated_rule(held_out, held_out=True, rate=FALSE_POSITIVES, confidence=0.95, seed=repetition)
    copies = leakage.find_copies(synthetic, rule, ["t"], synthetic.subjects)
    above = max(rule.threshold, tail_limit(held_out.scores, held_out.subjects, count, MOST_ERROR))
    chance = excess_probability(synthetic.scores, synthetic.subjects, held_out.scores, held_out.subjects, repetition)
    verdict = _verdict(copies, copies.scores > above, chance, rule, complete=True)
    return verdict, float(copies.flagged.mean()), float(rule.promised_rate or 0)


def _best(normal_scores: np.ndarray, subjects: list[str]) -> Best:
    mean, variance = 0.7, 0.08**2
    size = mean * (1 - mean) / variance - 1
    similarity = beta.ppf(norm.cdf(normal_scores), mean * size, (1 - mean) * size)
    count = len(normal_scores)
    return Best(-np.log(1 - similarity), np.zeros(count, np.int64), np.zeros((count, 1), np.float32), subjects)


def verdict_table(count: int) -> list[str]:
    """Return false verdicts and alarms of audits without copies as a Markdown table."""
    lines = [
        "| held-out subjects | slices of each | correlation | synthetic images | *copies found* | *cannot tell* | alarms (promised) |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for design in AUDITS:
        found = [audit_verdict(design, repetition) for repetition in range(count)]
        verdicts = [verdict for verdict, _, _ in found]
        alarms = np.array([share for _, share, _ in found])
        lines.append(
            f"| {design[0]} | {design[1]} | {design[2]:g} | {design[3]:,} | {verdicts.count(Verdict.COPIES) / count:.1%} "
            f"| {verdicts.count(Verdict.CANNOT_TELL) / count:.1%} "
            f"| {alarms.mean():.2%} ± {alarms.std() / np.sqrt(count):.2%} ({found[0][2]:.2%}) |"
        )
    return [
        *lines,
        "",
        f"{count} audits of each design; ± is the standard error of the simulation.",
    ]


def main() -> None:
    """Parse the command line, simulate and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--verdicts", action="store_true", help="simulate verdicts only, not intervals")
    parser.add_argument("--further", action="store_true", help="simulate the statistics beside the verdict only")
    parser.add_argument("--only", choices=("rates", "copies", "pairs"), help="one of the three tables of intervals")
    parser.add_argument("--simulations", type=int, default=400, help="of each design (default: %(default)s)")
    parser.add_argument("--audits", type=int, default=200, help="of each design (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "audit.md", help="default: %(default)s")
    options = parser.parse_args()
    start = time.process_time()
    if options.verdicts:
        insert(options.out, "verdicts", verdict_table(options.audits))
    elif options.further:
        for name, table in coverage_further.tables(options.simulations).items():
            insert(options.out, name, table)
    else:
        for study in (rates, copies, pairs):
            if options.only in (None, study.__name__):
                table = coverage_table(coverage(study, options.simulations), options.simulations)
                insert(options.out, f"coverage of {study.__name__}", table)
    print(f"written to {options.out} after {time.process_time() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
