"""Does the model copy? The verdict on registered images, and the sentence that says it.

A copy is defined by exact SSIM, as the images are or after registration. Whether "none" means anything depends on images that
cannot be copies, judged the same way, and on planted copies, which must be found.

Not here: registering images (verification.py), rates by subject (groups.py), the audit's verdict (audit/examination.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from deepssim.evaluation.excess import excess_rate, measured_alarms
from deepssim.evaluation.groups import LEAST_GROUPS, excess_probability, group_codes, rate_by_group, tail_limit
from deepssim.evaluation.intervals import Interval, percent
from deepssim.ground_truth.labels import SSIM_THRESHOLDS
from deepssim.ground_truth.tables import AUTOENCODER

LEAST_SENSITIVITY = 0.5  # fraction of planted copies found without which nothing is cleared
MOST_ERROR = 0.025  # probability of finding copies by chance
_LEAST_SSIM = 1e-3  # lower ones are all alike, and have no logit below 0
HELD_OUT = "real images that the model was not trained on"
OTHER_SUBJECTS = "training images compared with other subjects"


class Verdict(StrEnum):
    """What was found."""

    COPIES = "copies found"
    CANDIDATES = "candidates to check by eye"
    NONE = "no copies found"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class Judged:
    """Images compared with the training images.

    Attributes:
        scores: highest SSIM with a training image, as they are or after registration, float64 (N,).
        subjects: of each image.
        kind: what they are, in words.
    """

    scores: np.ndarray
    subjects: Sequence[str]
    kind: str = "synthetic images"

    @property
    def copies(self) -> np.ndarray:
        """Which images fulfil the definition of a copy, bool (N,)."""
        return np.asarray(self.scores, np.float64) > SSIM_THRESHOLDS.high


@dataclass(frozen=True)
class CopyVerdict:
    """The verdict with what it rests on.

    Attributes:
        verdict: in short.
        sentence: in words.
        reservations: what weakens it, in sentences.
        chance: probability that synthetic images exceed the controls so often by chance; None without controls.
        above_controls: rate of copies when the rate among controls is subtracted; None without controls.
    """

    verdict: Verdict
    sentence: str
    reservations: list[str] = field(default_factory=list)
    chance: float | None = None
    above_controls: Interval | None = None


def judge(
    synthetic: Judged, controls: Judged | None, planted: Mapping[str, Interval], *, encoder: bool, seed: int
) -> CopyVerdict:
    """Reach the verdict.

    Args:
        synthetic: the synthetic images.
        controls: images that cannot be copies; None without any.
        planted: fraction of planted copies found, by the change that they went through.
        encoder: whether an encoder's embeddings were among the sources of candidates.
        seed: of the intervals.

    Returns:
        Copies found: some images fulfil the definition, and images that cannot be copies do not, or do so more seldom. No copies
        found: none does, enough subjects show what is usual, synthetic images are not closer to training images than these, and
        planted copies were found. Else: cannot tell.
    """
    rate = rate_by_group(synthetic.copies, synthetic.subjects)
    above, chance = None, None
    if controls is not None:
        above = excess_rate(
            synthetic.copies, synthetic.subjects, measured_alarms(controls.copies, controls.subjects), seed=seed
        )
        chance = excess_probability(synthetic.scores, synthetic.subjects, controls.scores, controls.subjects, seed)
    reservations = _reservations(controls, planted, encoder=encoder)
    facts = f"{_facts(rate)}{_beside(controls)}"
    if rate.count:
        by_chance = controls is not None and controls.copies.any()
        if by_chance and not _exceeds(above) and not (chance is not None and chance < MOST_ERROR):
            why = "so that chance resemblance explains the number"
            return CopyVerdict(Verdict.CANNOT_TELL, f"Cannot tell: {facts}, {why}.", reservations, chance, above)
        return CopyVerdict(Verdict.COPIES, f"Copies found: {facts}.", reservations, chance, above)
    doubts = _doubts(synthetic, controls, planted, chance)
    if doubts:
        text = f"Cannot tell: {facts}. That does not clear the model: {'; '.join(doubts)}."
        return CopyVerdict(Verdict.CANNOT_TELL, text, reservations, chance, above)
    return CopyVerdict(Verdict.NONE, f"No copies found: {facts}.", reservations, chance, above)


def unverified(copies: Mapping[str, Any]) -> CopyVerdict:
    """Return the verdict where no image was registered: SSIM of images as they are decides nothing.

    Args:
        copies: copy rates of exact SSIM, as in its evaluation.
    """
    part = copies["synthetic_interval"]
    low, high = (float("nan") if part[end] is None else part[end] for end in ("low", "high"))
    count, total = copies["synthetic_copies"], copies["synthetic_images"]
    rate = Interval(copies["share_of_synthetic_that_copy"], low, high, part.get("method", ""), count, total)
    text = (
        f"Cannot tell: {_facts(rate, registered=False)}, but no image was registered, so that flipped, rotated and shifted copies "
        "were not sought and nothing shows what unrelated images reach; set verification.candidates to at least 1."
    )
    return CopyVerdict(Verdict.CANNOT_TELL, text)


def _facts(rate: Interval, *, registered: bool = True) -> str:
    """Say how many images fulfil the definition of a copy."""
    total = rate.total or 0
    how = "as they are or after registration" if registered else "as they are"
    ends = f"no interval: {rate.method}"
    if np.isfinite(rate.low):
        ends = f"95 % interval by subject {percent(rate.low)} to {percent(rate.high)}"
    return (
        f"{rate.count:,} of {total:,} synthetic images copy a training image (copy rate {percent(rate.value)}, {ends}), by an SSIM "
        f"above {SSIM_THRESHOLDS.high:g} {how}"
    )


def _beside(controls: Judged | None) -> str:
    if controls is None:
        return ""
    rate = rate_by_group(controls.copies, controls.subjects)
    return (
        f"; of {rate.total:,} {controls.kind}, which cannot be copies, {rate.count:,} reach it ({percent(rate.value)})"
    )


def _exceeds(above: Interval | None) -> bool:
    return above is not None and above.low > 0


def _doubts(
    synthetic: Judged, controls: Judged | None, planted: Mapping[str, Interval], chance: float | None
) -> list[str]:
    """Say why finding nothing does not mean that there is nothing."""
    doubts = []
    if controls is None:
        doubts.append("there are no images of other subjects that would show what SSIM is usual")
    elif (people := group_codes(controls.subjects)[1]) < LEAST_GROUPS:
        doubts.append(
            f"the {controls.kind} are of {people} subjects, and at least {LEAST_GROUPS} are needed to show what SSIM is usual"
        )
    if chance is not None and controls is not None and chance < MOST_ERROR:
        doubts.append(
            f"synthetic images resemble training images more than {controls.kind} do (p = {chance:.2g}), as imprecise copies would"
        )
    if controls is not None and (closer := _closer(synthetic, controls)):
        doubts.append(
            f"{closer:,} of them {'resembles' if closer == 1 else 'resemble'} a training image more than any of so many "
            f"{controls.kind} would by chance, as {'an imprecise copy' if closer == 1 else 'imprecise copies'} would"
        )
    if not planted:
        doubts.append("no copies were planted to see whether they would be found (verification.controls is 0)")
        return doubts
    through = planted.get(AUTOENCODER)
    if through is None or not _seen([through]):
        found = f"{through.count} of {through.total}" if through else "none"
        doubts.append(
            f"of training images that went through the model's own autoencoder, {found} were found, so that its copies may be missed"
        )
    others = [rate for change, rate in planted.items() if change != AUTOENCODER]
    if not _seen(others):
        doubts.append(f"of the other copies that were planted as controls, only {_count(others)} were found")
    return doubts


def _closer(synthetic: Judged, controls: Judged) -> int:
    """Return how many synthetic images exceed what as many controls would reach, extrapolated on the logit scale of SSIM."""
    from scipy.special import logit

    ours, theirs = (logit(np.clip(np.asarray(item.scores), _LEAST_SSIM, None)) for item in (synthetic, controls))
    return int((ours > tail_limit(theirs, controls.subjects, len(ours), MOST_ERROR)).sum())


def _seen(rates: Sequence[Interval]) -> bool:
    total = sum(rate.total or 0 for rate in rates)
    return total > 0 and sum(rate.count or 0 for rate in rates) / total >= LEAST_SENSITIVITY


def _count(rates: Sequence[Interval]) -> str:
    return f"{sum(rate.count or 0 for rate in rates):,} of {sum(rate.total or 0 for rate in rates):,}"


def _reservations(controls: Judged | None, planted: Mapping[str, Interval], *, encoder: bool) -> list[str]:
    found = [
        "Only copies of a whole image are sought: as it is, or flipped, rotated by quarter turns, inverted or under an affine map. "
        "Copies of a part, or with changed anatomy or texture, are not counted."
    ]
    if controls is None:
        found.append(
            "There are no images of other subjects to compare with, so chance resemblance cannot be told from copying."
        )
    elif controls.kind == OTHER_SUBJECTS:
        found.append(
            "All real images trained the model; training images, each compared with other subjects only, show what SSIM is usual."
        )
    if planted:
        found.append(
            f"Of the copies planted as controls (changed mildly, then misaligned at random), {_count(list(planted.values()))} were found."
        )
    if not encoder:
        found.append("DeepSSIM was not among the sources of candidates, since it was not evaluated.")
    return found
