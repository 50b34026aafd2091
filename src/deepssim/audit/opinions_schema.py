"""The published form of what other seeds and readers say in summary.json.

Not here: all other entries (summary_schema.py), how seeds and readers are compared (stability.py, readers.py).
"""

from typing import Literal

from deepssim.audit.further_schema import Count, Digest, Entry, IntervalEntry, Number, Rate
from deepssim.audit.rating_sample import Stratum
from deepssim.evaluation.verdict import Verdict


class RunEntry(Entry):
    """The audit with one seed."""

    seed: Count
    verdict: Verdict
    flagged: Count
    confirmed: Count
    identical: Count
    synthetic_that_copy: IntervalEntry
    score_above: Number
    encoder_sha256: Literal[""] | Digest


class DisputedEntry(Entry):
    """An image that some seeds call a copy."""

    synthetic: str
    seeds: Count
    """how many call it one"""


class StabilityEntry(Entry):
    """The audit with several seeds, the first of which the report shows."""

    runs: list[RunEntry]
    verdicts_agree: bool
    called_by_all: Count
    called_by_some: Count
    called_by_none: Count
    agreement: Rate
    """fraction of the images that all seeds judge alike"""
    fleiss_kappa: Number
    disputed: list[DisputedEntry]
    """the first 200 images called copies by some seeds only"""


class RatingCounts(Entry):
    """Pairs by what a reader says of them."""

    same: Count
    different: Count
    unsure: Count
    not_rated: Count


class StratumEntry(RatingCounts):
    """The same of pairs on one side of the limit, or close to it."""

    stratum: Stratum
    pairs: Count
    """in the audit"""
    drawn: Count


class AgreementEntry(Entry):
    """The audit against one reader, among the pairs rated same or different."""

    kappa: Number
    sensitivity: Number
    specificity: Number


class EitherEntry(Entry):
    """The same if pairs of which a reader is unsure counted as one of the two."""

    same: AgreementEntry
    different: AgreementEntry


class AllPairsEntry(Entry):
    """Estimates for all pairs of the audit."""

    sensitivity: IntervalEntry
    specificity: IntervalEntry


class ReaderEntry(Entry):
    """What one reader says."""

    name: str
    rated: Count
    counts: RatingCounts
    strata: list[StratumEntry]
    kappa: IntervalEntry
    sensitivity: IntervalEntry
    """pairs called the same that are above the limit"""
    specificity: IntervalEntry
    """pairs called different that are not above the limit"""
    if_unsure_is: EitherEntry
    of_all_pairs: AllPairsEntry | None
    """null unless every drawn pair is rated same or different"""


class TwoReadersEntry(Entry):
    """Two readers, on the pairs that both rated."""

    readers: tuple[str, str]
    rated_by_both: Count
    unsure: Count
    agreement: IntervalEntry
    kappa: IntervalEntry


class ReadersEntry(Entry):
    """What readers say of pairs of images."""

    readers: list[ReaderEntry]
    between: list[TwoReadersEntry]
    missed: Count
    """pairs below the limit that at least one reader calls the same"""
    below_rated: Count
    """pairs below the limit that at least one reader has rated"""
