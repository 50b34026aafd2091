"""The published form of the statistics beside the verdict in summary.json, and of intervals.

Not here: all other entries (summary_schema.py), the statistics (further.py).
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Number = float | None
Rate = Annotated[float, Field(ge=0, le=1)] | None
Count = Annotated[int, Field(ge=0)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Entry(BaseModel):
    """Entries of one object; there are no others."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class IntervalEntry(Entry):
    """A value with its confidence interval; null where it is not known, for the reason in `method`."""

    value: Number
    low: Number
    high: Number
    method: str
    """how the ends were found, or why there are none"""
    count: Count | None
    total: Count | None


class NotComputed(Entry):
    """A result that was not computed."""

    reason: str
    """why"""


class SplitBiasEntry(Entry):
    """AUROC of members against members."""

    median: Number
    halves_low: Number
    halves_high: Number
    low: Number
    high: Number
    repetitions: Count
    reason: str


class DisclosureEntry(Entry):
    """Membership disclosure; a value that is not above the line clears nobody."""

    f1: IntervalEntry
    naive_f1: float
    relative_f1: IntervalEntry
    prevalence: float
    line: float
    position: Literal["above", "not above", "not known"]


class TruePositiveRate(Entry):
    """At one false-positive rate."""

    false_positive_rate: float
    rate: IntervalEntry


class FurtherMembership(Entry):
    """Membership inference beside what chance explains of it."""

    members_against_non_members: IntervalEntry
    members_against_members: SplitBiasEntry
    exceeds: bool | None
    warning: str | None
    disclosure: DisclosureEntry
    true_positive_rates: list[TruePositiveRate]
    reason: None


class ImagesPerSubject(Entry):
    """Of both sides."""

    training: float
    holdout: float


class PhantomsEntry(Entry):
    """Training subjects who look copied, beside held-out ones, who cannot be."""

    training: IntervalEntry | None
    holdout: IntervalEntry | None
    difference: IntervalEntry | None
    ratio: IntervalEntry | None
    expected_by_chance: Number
    exceeds: bool | None
    images_per_subject: ImagesPerSubject | None
    images: Count
    images_compared: Count
    reason: str | None


class RankedEntry(Entry):
    """Bound on epsilon from ranked subjects."""

    epsilon: Number
    confidence: float
    guesses: Count
    correct: Count
    subjects: Count
    inclusion: float


class CountedEntry(Entry):
    """Bound on epsilon from subjects who look copied."""

    epsilon: Number
    guesses: Count
    correct: Count


class EpsilonEntry(Entry):
    """Lower bounds on epsilon; indicative unless valid."""

    ranked: RankedEntry | None
    counted: CountedEntry | None
    inclusion: Number
    valid: bool
    reason: str | None


class IndexEntry(Entry):
    """Distribution of the memorization index."""

    null: str
    mean: IntervalEntry | None
    null_mean: Number
    excess: Number
    percentiles: dict[str, float] | None
    reason: str | None


class FidelityValue(Entry):
    """One statistic, and the same of real images."""

    value: float
    lowest: float
    highest: float
    floor: float
    floor_lowest: float
    floor_highest: float


class FidelityEntry(Entry):
    """How good and varied the images are."""

    precision: FidelityValue | None
    recall: FidelityValue | None
    density: FidelityValue | None
    coverage: FidelityValue | None
    kernel_distance: FidelityValue | None
    images: Count
    reason: str | None


class FurtherEntry(Entry):
    """Statistics beside the verdict."""

    membership: FurtherMembership | NotComputed
    phantoms: PhantomsEntry | NotComputed
    epsilon: EpsilonEntry | NotComputed
    memorization_index: IndexEntry
    fidelity: FidelityEntry
