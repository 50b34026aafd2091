"""The verdict in words: what was not looked at, what was found, and what the audit cannot promise.

Not here: how it is reached (examination.py), other sentences of the report (phrases.py), where they are shown (tables.py, page.py).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from deepssim.audit.comparability import SIDE_NAMES
from deepssim.audit.examination import AuditFigures
from deepssim.audit.inventory import Inventory, parts_in_words
from deepssim.audit.preflight import SUBJECTS_UNKNOWN
from deepssim.audit.scan_words import said
from deepssim.audit.swapped import SWAPPED
from deepssim.audit.traces import traced_to_scans
from deepssim.audit.units import FILE, SUBJECT, Unit, agree, counted, over, stand_in
from deepssim.config.audit import AuditConfig
from deepssim.config.choices import AuditUnit
from deepssim.evaluation.groups import LEAST_GROUPS
from deepssim.evaluation.intervals import percent
from deepssim.evaluation.verdict import Verdict

HIDDEN = "(left out: de-identified)"
FEW = 20  # images or subjects, of which a percentage would say more than is known
NOT_SOUGHT = (
    "copies of a part of a scan (half of it, a block, a lesion) and copies whose grey values were inverted within the body are not sought "
    "among whole scans, so that such copies go unseen"
)
_GENERATED = ("file", "files")  # by which synthetic images are counted: slices of a volume belong together
_SAME_RATE = 1 + 1e-9  # rates that differ by less are equal


class HoldoutUse(StrEnum):
    """What became of held-out images."""

    NOT_GIVEN = "not given"
    UNUSABLE = "given, but none could be used"
    USED = "used"


@dataclass(frozen=True)
class Circumstances:
    """What the sentences of a report depend on, beside its figures.

    Attributes:
        holdout: what became of held-out images.
        unit: what training and held-out images are counted by.
        rate: of false alarms that was requested, 0 to 1.
        promised: that the calibration can promise; None without a limit.
        calibrating: how many units set the limit.
        what: is compared, images or volumes.
    """

    holdout: HoldoutUse
    unit: Unit
    rate: float
    promised: float | None
    calibrating: int
    what: AuditUnit = AuditUnit.IMAGE

    @property
    def side(self) -> str:
        """The images that set the limit, as an adjective."""
        return "held-out" if self.holdout is HoldoutUse.USED else "training"

    @property
    def others(self) -> str:
        """What a training image is compared with where there is no holdout."""
        return f"those of other {self.unit.many}" if self.unit.known else "each other"

    @property
    def shortfall(self) -> str:
        """Why the requested rate cannot be promised; empty if it can."""
        if self.promised is None:
            return f"no rate of false alarms can be promised without images of other {self.unit.many}"
        if self.promised <= self.rate * _SAME_RATE:
            return ""
        return (
            f"{self.unit.count(self.calibrating, self.side)} {agree(self.calibrating, 'promises', 'promise')} a false-alarm rate of "
            f"{percent(self.promised)} at best, not the requested {self.requested}"
        )

    @property
    def requested(self) -> str:
        """The requested rate of false alarms, as it was given."""
        return f"{100 * self.rate:g} %"

    @property
    def no_holdout(self) -> str:
        """That held-out images did not set the limit; empty if they did."""
        return {
            HoldoutUse.NOT_GIVEN: "no held-out images were given",
            HoldoutUse.UNUSABLE: "none of the held-out images could be used",
            HoldoutUse.USED: "",
        }[self.holdout]

    @property
    def needed(self) -> int:
        """How many units with held-out images the requested rate needs."""
        return max(LEAST_GROUPS, math.ceil(1 / self.rate / _SAME_RATE) - 1)


def circumstances(figures: AuditFigures, inventories: Mapping[str, Inventory], options: AuditConfig) -> Circumstances:
    """Return what the sentences of a report depend on."""
    limit, holdout = figures.rule.limit, HoldoutUse.NOT_GIVEN
    if "holdout" in inventories:
        holdout = HoldoutUse.USED if figures.rule.held_out and limit is not None else HoldoutUse.UNUSABLE
    unit = SUBJECT
    if any(item.kind == SUBJECTS_UNKNOWN for item in figures.findings):
        files = [item.collection.files for name, item in inventories.items() if name != "synthetic"]
        unit = stand_in(files, inventories["real"].unit)
    promised = None if limit is None else limit.promised
    calibrating = 0 if limit is None else limit.groups
    return Circumstances(holdout, unit, options.false_positive_rate, promised, calibrating, inventories["real"].unit)


def sentence(figures: AuditFigures, inventories: Mapping[str, Inventory], options: AuditConfig) -> str:
    """Say in words what was not looked at and what was found; a rate that cannot be promised is in the first sentence.

    Args:
        figures: all results.
        inventories: the files, by side.
        options: section `audit`.
    """
    case = circumstances(figures, inventories, options)
    unread = "" if options.skip_unreadable else _unread(inventories, options)
    limits = [case.shortfall] if case.shortfall and figures.verdict is not Verdict.CANNOT_TELL else []
    if figures.verdict is Verdict.NONE and case.no_holdout:
        limits.append(case.no_holdout)
        if not case.unit.known:  # images of one patient may then have set the limit, too high for copies
            limits.append("patients are not known")
    if unread:  # which quotes names
        found = _found(figures, options, case, "", complete=False)
        return f"{'; '.join([unread, *(said(text, case.what) for text in limits)])}. {said(found, case.what)}"
    found = _found(figures, options, case, ", but " + _enumerated(limits) if limits else "", complete=True)
    if figures.verdict in (Verdict.COPIES, Verdict.CANDIDATES):
        found = f"{found} {traced_to_scans(figures.copies, inventories['real'].collection.pack.keys)}".strip()
    return said(found, case.what)


def _enumerated(parts: Sequence[str]) -> str:
    return ", and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def reservations(figures: AuditFigures, inventories: Mapping[str, Inventory], options: AuditConfig) -> list[str]:
    """Return what weakens the verdict, the most important first, each as a sentence without a full stop.

    Args:
        figures: all results.
        inventories: the files, by side.
        options: section `audit`.
    """
    case = circumstances(figures, inventories, options)
    found = [case.shortfall] if case.shortfall else []
    if case.holdout is HoldoutUse.NOT_GIVEN:
        found.append(f"{case.no_holdout}; {_without_holdout(case)}")
    elif case.holdout is HoldoutUse.UNUSABLE and figures.rule.held_out:  # else preflight.py has said so
        found.append(f"{case.no_holdout}; no limit could be set")
    images = len(figures.copies.copied)
    if images < FEW:
        found.append(
            f"only {counted(images, 'training image')} {agree(images, 'was', 'were')} given, so that fractions of the training images say "
            "little; if the generator was trained on more, copies of the others go unseen"
        )
    found += [item.message for item in figures.findings if item.qualifies]
    if case.what is AuditUnit.VOLUME:
        found.append(NOT_SOUGHT)
    return [said(text, case.what) for text in found]


def _without_holdout(case: Circumstances) -> str:
    if case.promised is None:
        return "no limit could be set"
    return f"training images compared with {case.others} set the limit, which can differ from that of images unknown to the generator"


def _unread(inventories: Mapping[str, Inventory], options: AuditConfig) -> str:
    """Name the files that could hold an image and were not read; empty if there are none."""
    counts, first = [], ""
    for name, item in inventories.items():
        if item.unread:
            counts.append(f"{len(item.unread):,} of {counted(len(item.entries), f'{SIDE_NAMES[name]} file')}")
            first = first or f"first {item.unread[0].name}: {item.unread[0].reason}"
        if item.unread_parts:
            counts.append(f"{parts_in_words(sum(item.unread_parts.values()))} of {SIDE_NAMES[name]} files")
            first = first or f"first {next(iter(item.unread_parts))}"
    if not counts:
        return ""
    if options.de_identified:
        first = "names and reasons are in the log"
    return f"{' and '.join(counts)} could not be read ({first}), so that copies in them go unseen"


def _found(figures: AuditFigures, options: AuditConfig, case: Circumstances, limits: str, *, complete: bool) -> str:
    """Say what was found; `limits` is what the audit cannot promise, as a clause of the first sentence."""
    if figures.verdict is Verdict.NONE:
        return _nothing(figures, options, limits)
    if figures.verdict is Verdict.CANNOT_TELL:
        return _cannot_tell(figures, case, complete=complete)
    copies, estimate = figures.copies, figures.leakage["synthetic_that_copy"]
    flagged, total = int(copies.flagged.sum()), len(copies.flagged)
    # One rate in a sentence: where the estimate follows, a fraction of those above the limit would be taken for the same thing.
    estimated = figures.verdict is Verdict.COPIES and figures.rule.limit is not None
    text = (
        f"{_of_synthetic(flagged, total, share=not estimated)} {agree(flagged, 'is called a copy', 'are called copies')}"
        f"{_beside(figures, case, share=not estimated)}{limits}."
    )
    if figures.verdict is Verdict.CANDIDATES:
        alone = "That alone" if flagged == 1 else "Their number alone"
        check = "check it by eye" if flagged == 1 else "check each of them by eye"
        return f"{text} {alone} proves no copying, and none is confirmed: {check} in the pairs of the report."
    if estimated:
        ends = f"interval {percent(estimate.low)} to {percent(estimate.high)}"
        if not np.isfinite(estimate.low):
            ends = f"no interval: {over(estimate.method, *_GENERATED)}"
        text += f" Without false alarms, {percent(estimate.value)} ({ends}) of the synthetic images are copies."
    certain = int(copies.identical.sum())
    if certain:
        text += f" {certain:,} {agree(certain, 'is', 'are')} identical to a training image in every pixel."
    return text


def _nothing(figures: AuditFigures, options: AuditConfig, limits: str) -> str:
    estimate, total = figures.leakage["synthetic_that_copy"], len(figures.copies.flagged)
    whole = "The only synthetic image was not" if total == 1 else f"None of {total:,} synthetic images was"
    found = f"{whole} found to copy a training image{limits}."
    if not np.isfinite(estimate.high):
        return f"{found} There is no upper bound of the rate of copies, since {over(estimate.method, *_GENERATED)}."
    return (
        f"{found} With {100 * options.confidence:g} % confidence, at most {percent(estimate.high)} of such images are copies that this "
        "test sees."
    )


def _of_synthetic(count: int, total: int, *, share: bool) -> str:
    ending = f" ({percent(count / total)})" if share and total > 1 else ""
    return f"{count:,} of {counted(total, 'synthetic image')}{ending}"


def _beside(figures: AuditFigures, case: Circumstances, *, share: bool) -> str:
    """Say how many of the images that set the limit are called copies as well, where any do."""
    alarms = figures.rule.alarm_rate
    if not alarms.total:
        return ""
    of = f"{counted(alarms.total, f'{case.side} image')}"
    compared = "" if case.holdout is HoldoutUse.USED else f" compared with {case.others}"
    ending = f" ({percent(alarms.value)})" if share else ""
    return f", beside {alarms.count or 0:,} of {of}{compared}{ending}"


def _cannot_tell(figures: AuditFigures, case: Circumstances, *, complete: bool) -> str:
    """Say why, and what the holdout can and cannot support."""
    flagged, total = int(figures.copies.flagged.sum()), len(figures.copies.flagged)
    enough = figures.rule.limit is not None and figures.rule.limit.groups >= LEAST_GROUPS
    above = f"{flagged:,} of {counted(total, 'synthetic image')}"
    are_above = f"{above} {agree(flagged, 'is', 'are')} above the limit"
    if not complete and (enough or case.promised is None):
        found = f"{above} scored above the limit" if flagged else "none scored above the limit"
        if not enough:  # only identical images could be called copies
            found = "none is identical to a training image"
        return (
            f"Of the synthetic images that were read, {found}. Restore or replace these files, leave them out "
            "with --exclude, or judge without them with --skip-unreadable."
        )
    if enough and any(item.kind == SWAPPED for item in figures.findings):
        return (
            f"Synthetic images copy held-out images rather than training images, as if the two folders were swapped; {are_above}. "
            "Name the generator's training images first, and as holdout images that it has not seen."
        )
    hiding = next((item.message for item in figures.findings if item.hides), None)
    if enough and hiding is not None:
        return f"{are_above}, but others can be copies that go unseen: {hiding}."
    if enough and figures.doubtful:
        return (
            f"{are_above}, but {figures.doubtful:,} more would be above a limit that is set without the images that may show a training "
            "image under another name. Check these images, listed in the report's section Data, and leave them out (--exclude) or name "
            "the patients (--subjects)."
        )
    if enough:
        return (
            f"Only {percent(figures.sensitivity)} of the copies that were planted as controls were found, so that it says little that "
            f"{are_above}.{_name_patients(case)} See the reservations."
        )
    return _too_few(case, are_above, total)


def _name_patients(case: Circumstances) -> str:
    if case.unit.known:
        return ""
    return " If patients have several images or appear in two folders, name them (--subjects or --subject-pattern)."


def _too_few(case: Circumstances, are_above: str, total: int) -> str:
    """Say that too few images of others set the limit, or none."""
    if case.promised is None:
        given = (
            "None of the held-out images could be used, and there" if case.holdout is HoldoutUse.UNUSABLE else "There"
        )
        kind = case.unit.many if case.unit.known else "patients"
        correct = (
            ", or correct the subjects if all images were taken for those of one"
            if case.unit.known or case.unit is FILE
            else ""
        )
        return (
            f"{given} are no images of other {kind} that would show how much {counted(total, 'synthetic image')} may resemble training "
            f"images by chance. Provide held-out images of other {kind}{correct}."
        )
    rate = "" if case.promised <= case.rate * _SAME_RATE else f", not the requested {case.requested}"
    wanted = f"at least {LEAST_GROUPS} patients"
    if case.needed > LEAST_GROUPS:
        wanted = f"{wanted}, or of {case.needed:,} for a rate of {case.requested}"
    return (
        f"The limit was calibrated on {case.unit.count(case.calibrating, case.side)}, which "
        f"{agree(case.calibrating, 'supports', 'support')} a false-alarm rate of {percent(case.promised)} at best{rate}; {are_above}, "
        f"which proves neither copies nor their absence. Provide held-out images of {wanted}."
    )
