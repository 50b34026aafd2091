"""Does the verdict depend on chance? The audit repeated with other seeds.

A seed chooses the controls, which of them teach the score, the vocabulary of keypoints, folds and bootstrap samples, and the
weights of an encoder that the audit trains. What differs between seeds is therefore no property of the images.

Not here: one audit (examination.py), what the verdict becomes (second_opinions.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepssim.audit.examination import AuditFigures
from deepssim.config.settings import Config
from deepssim.evaluation.agreement import fleiss_kappa
from deepssim.evaluation.intervals import Interval
from deepssim.evaluation.verdict import Verdict

MOST_LISTED = 200  # images called copies by some seeds only that the summary names


@dataclass(frozen=True)
class Repetition:
    """The result of one seed.

    Attributes:
        seed: of the audit.
        verdict: of this seed.
        flagged, confirmed, identical: bool (S,), which synthetic images are called copies, and which of these for certain.
        rate: N_copies, the fraction of copies less false alarms.
        limit: of the score.
        encoder: SHA-256 of the encoder; empty without one.
    """

    seed: int
    verdict: Verdict
    flagged: np.ndarray
    confirmed: np.ndarray
    identical: np.ndarray
    rate: Interval
    limit: float
    encoder: str = ""


def reseeded(config: Config) -> Iterator[Config]:
    """Yield the settings with each of `audit.seeds` seeds, the config's own first, then the numbers that follow it."""
    for number in range(config.audit.seeds):
        yield config.with_changes(seed=config.seed + number)


def repetition(seed: int, figures: AuditFigures, encoder: str) -> Repetition:
    """Keep of one audit what is compared between seeds.

    Args:
        seed: of the audit.
        figures: what it found.
        encoder: SHA-256 of its encoder.
    """
    copies = figures.copies
    return Repetition(
        seed, figures.verdict, copies.flagged, figures.confirmed, copies.identical,
        figures.leakage["synthetic_that_copy"], figures.rule.threshold, encoder,
    )  # fmt: skip


def stability(repetitions: Sequence[Repetition], names: Sequence[str]) -> dict[str, Any]:
    """Compare the results of several seeds.

    Args:
        repetitions: of each seed; the report is that of the first.
        names: of the synthetic images, as in the report.

    Returns:
        `runs`, one for each seed; `verdicts_agree`; `called_by_all`, `called_by_some` and `called_by_none`, numbers of images;
        `agreement`, the fraction of images that all seeds judge alike; `fleiss_kappa`, NaN where all calls are the same;
        `disputed`, the first images called copies by some seeds only. Empty for one seed.
    """
    if len(repetitions) < 2:
        return {}
    calls = np.stack([item.flagged for item in repetitions], axis=1)
    by = calls.sum(axis=1)
    some = (by > 0) & (by < len(repetitions))
    disputed = np.flatnonzero(some)[np.argsort(-by[some], kind="stable")][:MOST_LISTED]
    return {
        "runs": [_run(item) for item in repetitions],
        "verdicts_agree": len({item.verdict for item in repetitions}) == 1,
        "called_by_all": int((by == len(repetitions)).sum()),
        "called_by_some": int(some.sum()),
        "called_by_none": int((by == 0).sum()),
        "agreement": float((~some).mean()),
        "fleiss_kappa": fleiss_kappa(calls),
        "disputed": [{"synthetic": names[row], "seeds": int(by[row])} for row in disputed],
    }


def _run(item: Repetition) -> dict[str, Any]:
    return {
        "seed": item.seed,
        "verdict": item.verdict.value,
        "flagged": int(item.flagged.sum()),
        "confirmed": int(item.confirmed.sum()),
        "identical": int(item.identical.sum()),
        "synthetic_that_copy": item.rate,
        "score_above": item.limit,
        "encoder_sha256": item.encoder,
    }
