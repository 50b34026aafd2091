"""Pictures of one scan under two names: held-out or training images that are proved to show what another subject's image shows.

Such pairs would raise the limit and hide copies, so that their subjects are left out of the calibration, and they are a finding
about the data.

Not here: equal pixels and equal names (preflight.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepssim.audit.engine import IMAGE_ENGINE, Engine
from deepssim.audit.preflight import Finding
from deepssim.audit.units import agree, counted
from deepssim.detection.score import transformed
from deepssim.detection.search import Found

_LEAST_KEYPOINTS = 25.0  # on the mean of both levels; hardly any unrelated X-rays or MR slices share more
_QUANTILES = (
    0.5,
    0.75,
)  # of which the tail of unrelated images is extrapolated: a few pairs of one scan leave them alone
_BY_CHANCE = 0.2  # pairs of unrelated images that are mistaken for one scan in a whole audit
_LEAST_IMAGES = 20  # that say what is usual
_ALONE = 1.5  # times as far above the median as that: one similarity proves a scan without the other
# Of local detail in whole scans: the same at another visit has 0.95 and more, unrelated people have 0.3 to 0.7 (virtual patients, made
# heads, MR). Of more than two scans of a patient, the next best does not stand out, and of other contrasts, the correlation is lower.
_LEAST_CORRELATION = 0.8
_STANDS_OUT = 8.0  # standard deviations of the next best; 6 among unrelated people, 20 to 50 at another visit
_IQR = 1.349  # standard deviations between the quartiles of a normal distribution
_SHOWN = 20


@dataclass(frozen=True)
class SameScans:
    """Images that show a scan of another subject.

    Attributes:
        proved: bool (N,).
        suspicious: bool (N,), further ones with many common keypoints, or details of a whole scan in common.
        partners: int64 (N,), training image that each resembles most.
    """

    proved: np.ndarray
    suspicious: np.ndarray
    partners: np.ndarray


def find_same_scans(found: Found, engine: Engine = IMAGE_ENGINE) -> SameScans:
    """Find images that are proved to show the scan of a training image of another subject.

    Args:
        found: candidates of N images of other subjects.
        engine: which of the cues are keypoints, if any, and which similarities.
    """
    count = len(found.partners)
    known = found.partners >= 0
    if not known.any():
        return SameScans(np.zeros(count, bool), np.zeros(count, bool), np.full(count, -1))
    counts = engine.cues.counts
    values = transformed(found.cues, counts)
    similar = [np.where(known, values[..., column], -np.inf) for column in engine.similar]
    keypoints = np.where(known, values[..., :counts].mean(axis=2) if counts else 0.0, -np.inf)
    proved = keypoints.max(axis=1) > max(_LEAST_KEYPOINTS, unusual(keypoints.max(axis=1)))
    # A registered SSIM that no unrelated pair reaches proves as much where an image has few keypoints; both cues must agree.
    best = [part.max(axis=1) for part in similar]
    proved |= np.all([part > unusual(part) for part in best], axis=0)
    # Stripes spoil SSIM and keypoints, saturation spoils the pattern, and such a scan would set a limit that hides copies.
    proved |= np.any([part > unusual(part, times=_ALONE) for part in best], axis=0)
    suspicious = ~proved & (keypoints.max(axis=1) > _LEAST_KEYPOINTS)
    if engine.detail is not None:
        suspicious = ~proved & _of_one_patient(found, values[..., engine.detail], engine.detail)
    rows = np.arange(count)
    most = keypoints if counts else similar[0] + similar[1]
    return SameScans(proved, suspicious, found.partners[rows, most.argmax(axis=1)])


def _of_one_patient(found: Found, detail: np.ndarray, column: int) -> np.ndarray:
    """Return which scans have details in common with their best partner as scans of one patient have, bool (N,).

    Args:
        found: candidates of N scans.
        detail: transformed cue of local detail, float64 (N, K).
        column: the cue's.
    """
    compared = np.where(found.proved, detail, -np.inf)
    correlation = np.where(found.proved, found.cues[..., column], -np.inf).max(axis=1)
    close = correlation > _LEAST_CORRELATION
    if compared.shape[1] < 2:
        return close
    second, best = np.sort(compared, axis=1)[:, -2:].T
    usable = np.isfinite(second)
    if usable.sum() < _LEAST_IMAGES:
        return close
    low, high = np.quantile(second[usable], (0.25, 0.75))
    deviation = (high - low) / _IQR
    return close | (usable & (np.where(usable, best - second, 0) > _STANDS_OUT * deviation))


def unusual(values: np.ndarray, *, times: float = 1.0) -> float:
    """Return what fewer than 0.2 of all unrelated images reach, by the exponential tail between the quartiles.

    Args:
        values: best of each image, float64 (N,); minus infinity where there is none.
        times: factor of the distance from the median.
    """
    usable = values[np.isfinite(values)]
    if len(usable) < _LEAST_IMAGES:
        return float("inf")
    median, upper = np.quantile(usable, _QUANTILES)
    scale = (upper - median) / np.log((1 - _QUANTILES[0]) / (1 - _QUANTILES[1]))
    return float(median + times * scale * np.log((1 - _QUANTILES[0]) * len(usable) / _BY_CHANCE))


def same_scan_findings(
    scans: SameScans,
    what: str,
    keys: Sequence[str],
    train_keys: Sequence[str],
    *,
    calibrates: bool,
    named: bool = True,
    hides: bool = False,
) -> list[Finding]:
    """Say which images show the scan of another subject.

    Args:
        scans: of images.
        what: one of the images in words.
        keys, train_keys: of these images and of the training images.
        calibrates: whether the limit depends on them.
        named: whether subjects are patients; otherwise every image or file counts as one.
        hides: whether so many suspected ones have to do with how scores are made that copies can go unseen.
    """
    findings = []
    another, doubt = (
        ("a training image of another name", "that is one patient under two names")
        if named
        else ("another training image", "both are of one patient")
    )
    for chosen, kind, verb, text in (
        (scans.proved, "one scan under two names",
         ("shows", "show"), f"the same picture or scan as {another}; all images under either name were "
         "left out of the calibration, which they would spoil"),
        (scans.suspicious, "perhaps one scan under two names",
         ("shares", "share"), f"unusually many details with {another}; if {doubt}, the "
         "limit is too high and hides copies"),
    ):  # fmt: skip
        rows = np.flatnonzero(chosen)
        if len(rows):
            pairs = [(keys[row], train_keys[scans.partners[row]]) for row in rows[:_SHOWN]]
            hidden, message = (
                hides and chosen is scans.suspicious,
                f"{counted(len(rows), what)} {agree(len(rows), *verb)} {text}",
            )
            findings.append(Finding(kind, message, pairs, calibrates or hidden, hidden))
    return findings


def without_subjects(chosen: np.ndarray, subjects: Sequence[str]) -> np.ndarray:
    """Return which images are of subjects none of whose images are chosen, bool (N,)."""
    names = np.asarray(subjects, dtype=object).astype(str)
    return ~np.isin(names, np.unique(names[chosen]))
