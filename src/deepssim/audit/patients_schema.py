"""The published form of what summary.json says of patients: the same patient at another visit, the most copied ones, and groups of them.

Not here: all other entries (summary_schema.py), the statistics (visits.py, worst_case.py, covariates.py).
"""

from deepssim.audit.further_schema import Count, Entry, IntervalEntry, Number, Rate


class SameSubjectEntry(Entry):
    """Training images that are judged like synthetic ones beside other images of their own subject, of which they are no copies."""

    images: Count
    """that were judged"""
    eligible: Count
    """of subjects with images of several visits"""
    called: IntervalEntry | None
    """fraction called copies of another image of their subject"""
    nearest: IntervalEntry | None
    """fraction whose best candidate, above the limit or not, is of their subject"""
    retrieved: IntervalEntry | None
    """fraction with an image of their subject among the candidates"""
    median_score: Number
    reason: str | None
    """why nothing is known"""


class TopEntry(Entry):
    """What the most copied subjects hold."""

    subjects: Count
    copies: Count
    fraction: Rate
    """of all copies"""


class MostCopiedEntry(Entry):
    """One of the most copied subjects."""

    subject: str
    copies: Count
    """synthetic images traced to this subject"""
    fraction_of_copies: Rate
    fraction_of_synthetic: IntervalEntry
    """of all synthetic images; the intervals of all subjects hold together"""


class WorstCaseEntry(Entry):
    """The most copied subjects, and how unevenly copies are distributed."""

    copies: Count
    subjects: Count
    copied: Count
    top: list[TopEntry]
    probability_by_chance: Rate
    """that some subject would have as many copies as the most copied one if each were of a training image drawn at random"""
    most_copied: list[MostCopiedEntry]
    """at most 10"""
    confidence_of_each: float


class LevelEntry(Entry):
    """One value of a covariate, or a range of values."""

    level: str
    """its name; a number in a random order where the report is de-identified"""
    subjects: IntervalEntry
    """fraction of its subjects with a copied image of this value"""
    images: IntervalEntry
    """fraction of its training images that are copied"""
    copies: Count
    """synthetic images traced to them"""
    difference: IntervalEntry | None
    """of the fraction of subjects from that of all other values; null if there are none"""
    differs: bool | None
    """whether that interval, corrected for all comparisons, is on one side of 0"""


class CovariateEntry(Entry):
    """One column of the table of subjects."""

    name: str
    levels: list[LevelEntry]


class CovariatesEntry(Entry):
    """Rates of copied subjects by the values of the columns that the user named."""

    columns: list[CovariateEntry]
    comparisons: Count
    confidence_of_differences: float | None
    """of each, so that all hold together (Bonferroni)"""
    few: Count
    """values with fewer than 20 subjects"""
    reason: str | None
    """why there is nothing"""
