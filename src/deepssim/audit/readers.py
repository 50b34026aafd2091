"""What readers say of pairs of images, and how far the audit agrees with them.

Not here: which pairs they see (rating_sample.py), the page on which they rate (rating_page.py).
"""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from deepssim.audit.rating_sample import RatingSample, Stratum
from deepssim.config.audit import AuditConfig
from deepssim.datasets.tables import read_csv
from deepssim.errors import DataError, quoted
from deepssim.evaluation.agreement import cohen_kappa, weighted_share
from deepssim.evaluation.groups import rate_by_group
from deepssim.evaluation.intervals import Interval
from deepssim.images.listing import printable

COLUMNS = ("audit", "number", "pair", "rating")


class Rating(StrEnum):
    """What a reader says of a pair."""

    SAME = "same"
    DIFFERENT = "different"
    UNSURE = "unsure"


def read_ratings(path: str | Path) -> tuple[set[str], dict[str, Rating]]:
    """Read the ratings of one reader.

    Args:
        path: `rating.csv`, filled in; pairs without a rating are left out.

    Returns:
        The ids of the audits that the file names, and ratings by id of the pair.

    Raises:
        DataError: if the file cannot be read, lacks a column, lists a pair twice, or has a value that is no rating.
    """
    table = read_csv(path, needs=("audit", "pair"))
    column = next((name for name in table.columns if str(name).strip().lower() == "rating"), None)
    if column is None:
        raise DataError(f"{path}: has no column 'rating'; fill in the rating.csv that `deepssim audit --rating` writes")
    pairs = table["pair"].astype(str).str.strip().tolist()
    twice = [pair for number, pair in enumerate(pairs) if pair in pairs[:number]]
    if twice:
        raise DataError(f"{path}: {len(twice)} rows repeat a pair, first {quoted(twice[0])}; keep one row for each")
    given = ["" if value != value else str(value).strip() for value in table[column]]  # NaN where empty
    wrong = [(text, pair) for text, pair in zip(given, pairs, strict=True) if text and text.lower() not in set(Rating)]
    if wrong:
        raise DataError(
            f"{path}: {len(wrong)} of {len(given)} ratings are neither same, different nor unsure, first {quoted(wrong[0][0])} of "
            f"{quoted(wrong[0][1])}; correct them, or leave them empty"
        )
    found = {pair: Rating(text.lower()) for pair, text in zip(pairs, given, strict=True) if text}
    return set(table["audit"].astype(str).str.strip()), found


def require_ratings(paths: Sequence[str]) -> None:
    """Check, before hours of computing, that files hold ratings and that none is given twice.

    Args:
        paths: of the readers.

    Raises:
        DataError: as of `read_ratings`, or if one has no rating.
    """
    places = [Path(path).resolve() for path in paths]
    twice = [path for number, path in enumerate(paths) if places[number] in places[:number]]
    if twice:
        raise DataError(
            f"{twice[0]}: is given {places.count(Path(twice[0]).resolve())} times as ratings; name each reader's file once"
        )
    for path in paths:
        if not read_ratings(path)[1]:
            raise DataError(f"{path}: no pair is rated; write same, different or unsure into its column 'rating'")


def require_unrated(path: Path) -> None:
    """Check that a table, which is to be replaced, holds no reader's work.

    Args:
        path: of the table; it need not exist.

    Raises:
        DataError: if it has ratings, or cannot be read, so that nobody knows.
    """
    if path.exists() and (given := read_ratings(path)[1]):
        raise DataError(
            f"{path}: holds {len(given)} ratings, which --rating would replace; move it to another folder first"
        )


def compare_readers(
    sample: RatingSample, paths: Sequence[str], names: Sequence[str], confidence: float
) -> dict[str, Any]:
    """Compare the audit with readers, and readers with each other.

    Args:
        sample: the pairs that this audit gives to readers.
        paths: ratings of each reader.
        names: of the readers in the report.
        confidence: of intervals.

    Returns:
        `readers`, figures of each; `between`, agreement of each two; `missed`, pairs below the limit that at least one reader
        calls the same, of `below_rated` that at least one has rated. Empty without files.

    Raises:
        DataError: as of `read_ratings`, or if ratings are of other pairs.
    """
    if not paths:
        return {}
    ratings = [_of_sample(path, sample) for path in paths]
    above = np.array([stratum is Stratum.ABOVE for stratum in sample.strata], bool)
    same = np.array([given == Rating.SAME for given in ratings])
    rated = np.array([given != "" for given in ratings])
    return {
        "readers": [
            {"name": name} | _one_reader(sample, given, above, confidence)
            for name, given in zip(names, ratings, strict=True)
        ],
        "between": [
            {"readers": [names[first], names[second]]}
            | _two_readers(ratings[first], ratings[second], sample.groups, confidence)
            for first, second in combinations(range(len(ratings)), 2)
        ],
        "missed": int((same.any(axis=0) & ~above).sum()),
        "below_rated": int((rated.any(axis=0) & ~above).sum()),
    }


def reader_names(options: AuditConfig) -> list[str]:
    """Name the readers by number and, unless the report is de-identified, by file."""
    hidden = options.de_identified
    return [
        f"Reader {number}" + ("" if hidden else f" ({printable(Path(path).name)})")
        for number, path in enumerate(options.ratings, start=1)
    ]


def _of_sample(path: str, sample: RatingSample) -> np.ndarray:
    """Return the ratings of one reader in the order of the sample, text (n,), empty where a pair is not rated."""
    audits, given = read_ratings(path)
    if audits != {sample.audit}:
        raise DataError(
            f"{path}: the ratings are of {', '.join(sorted(audits))}, and this is {sample.audit}; name ratings of this audit's own pairs, "
            "or repeat the audit with the images, settings and seed with which rating.html was made"
        )
    unknown = sorted(given.keys() - set(sample.pairs))
    if unknown:
        raise DataError(
            f"{path}: {len(unknown)} of {len(given)} rated pairs are not pairs of this audit, first {quoted(unknown[0])}; use its own "
            "rating.csv, and do not change the column 'pair'"
        )
    return np.array([given.get(pair, "") for pair in sample.pairs], dtype=object).astype(str)


def _one_reader(sample: RatingSample, given: np.ndarray, above: np.ndarray, confidence: float) -> dict[str, Any]:
    """Compare the audit with one reader; what the reader is unsure of is left out, or counted either way."""
    groups = np.asarray(sample.groups, dtype=object).astype(str)
    decided = np.isin(given, (Rating.SAME, Rating.DIFFERENT))
    found = _figures(above[decided], given[decided] == Rating.SAME, groups[decided], confidence)
    rated = given != ""
    either = {
        side.value: {
            name: figure.value
            for name, figure in _figures(
                above[rated], np.isin(given[rated], (side, Rating.UNSURE)) == (side is Rating.SAME), groups[rated], confidence
            ).items()
        }
        for side in (Rating.SAME, Rating.DIFFERENT)
    }  # fmt: skip
    return {
        "rated": int(rated.sum()),
        "counts": _counts(given),
        "strata": [
            {"stratum": stratum.value, "pairs": sample.sizes[stratum], "drawn": int(inside.sum())} | _counts(given[inside])
            for stratum in Stratum
            for inside in [np.array([item is stratum for item in sample.strata], bool)]
        ],
        **found,
        "if_unsure_is": either,
        "of_all_pairs": _of_all_pairs(sample, given, groups, confidence) if decided.all() else None,
    }  # fmt: skip


def _counts(given: np.ndarray) -> dict[str, int]:
    return {rating.value: int((given == rating).sum()) for rating in Rating} | {"not_rated": int((given == "").sum())}


def _figures(above: np.ndarray, same: np.ndarray, groups: np.ndarray, confidence: float) -> dict[str, Interval]:
    """Return kappa, sensitivity and specificity of the audit, bool (n,), among n pairs of which a reader is the judge."""
    return {
        "kappa": cohen_kappa(above, same, list(groups), confidence),
        "sensitivity": rate_by_group(above[same], list(groups[same]), confidence),
        "specificity": rate_by_group(~above[~same], list(groups[~same]), confidence),
    }


def _of_all_pairs(
    sample: RatingSample, given: np.ndarray, groups: np.ndarray, confidence: float
) -> dict[str, Interval]:
    """Estimate sensitivity and specificity among all pairs of the audit.

    Each stratum is a simple random sample of known size, every pair of which is rated, so that rates of the strata may be
    weighted by their sizes.
    """
    same = given == Rating.SAME
    strata = [stratum.value for stratum in sample.strata]
    sizes = {stratum.value: size for stratum, size in sample.sizes.items()}
    found, alarms = (
        weighted_share(which, strata, sizes, Stratum.ABOVE.value, list(groups), confidence) for which in (same, ~same)
    )
    return {
        "sensitivity": found,
        "specificity": replace(alarms, value=1 - alarms.value, low=1 - alarms.high, high=1 - alarms.low),
    }


def _two_readers(first: np.ndarray, second: np.ndarray, groups: Sequence[str], confidence: float) -> dict[str, Any]:
    """Compare two readers on the pairs of which both are sure."""
    both = (first != "") & (second != "")
    sure = both & (first != Rating.UNSURE) & (second != Rating.UNSURE)
    owners = [group for group, used in zip(groups, sure, strict=True) if used]
    one, other = first[sure] == Rating.SAME, second[sure] == Rating.SAME
    return {
        "rated_by_both": int(both.sum()),
        "unsure": int((both & ~sure).sum()),
        "agreement": rate_by_group(one == other, owners, confidence),
        "kappa": cohen_kappa(one, other, owners, confidence),
    }
