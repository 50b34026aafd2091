"""Sentences of the report beside the verdict: on the page, and at the head of keep.txt. Each follows from what this audit did.

Not here: the verdict and its reservations (wording.py), where sentences are shown (page.py, tables.py).
"""

import numpy as np

from deepssim.audit.examination import AuditFigures
from deepssim.audit.scan_words import said
from deepssim.audit.units import agree, counted, over
from deepssim.audit.visits import SameSubject
from deepssim.audit.wording import FEW, Circumstances, HoldoutUse
from deepssim.config.choices import AuditUnit
from deepssim.evaluation.intervals import Interval, percent
from deepssim.evaluation.verdict import Verdict

_MOSTLY = 0.5  # fraction of images of the same subjects called copies, from which a copy means the patient
_RARELY = 0.2  # upper end of its interval, up to which a copy means the picture
COMMENT = "#"  # begins the first line of keep.txt


def keep_header(verdict: Verdict, called: np.ndarray, constant: int, what: AuditUnit = AuditUnit.IMAGE) -> str:
    """Return the first line of keep.txt: what the list does not promise.

    Args:
        verdict: of the report.
        called: bool (S,), which synthetic images are called copies and therefore not in the list.
        constant: synthetic images that were not judged.
        what: was judged, images or volumes.
    """
    total, kept = len(called), int((~called).sum())
    judged = f"{kept:,} of {counted(total, 'synthetic image')} that this audit does not call {agree(kept, 'a copy', 'copies')}"
    doubt = f"it does not promise that {agree(kept, 'this is none', 'none of them is one')}, nor that the generator makes none"
    if verdict is Verdict.CANNOT_TELL:
        doubt = f"the audit cannot tell whether {agree(kept, 'it is one', 'they are')}"
    left = f"; {counted(constant, 'constant image')} {agree(constant, 'was', 'were')} not judged" if constant else ""
    return said(f"{COMMENT} {judged}; {doubt}{left}; reservations are in summary.json", what)


def fraction(interval: Interval) -> str:
    """Return a fraction in per cent, or its counts where they are few: `1 of 1` says less than `100 %` seems to."""
    if not interval.total:
        return "not known"
    if interval.total < FEW and interval.count is not None:
        return f"{interval.count:,} of {interval.total:,}"
    return percent(interval.value)


def page_phrases(figures: AuditFigures, case: Circumstances, *, hidden: bool = False) -> dict[str, str]:
    """Return the sentences of the page that depend on what the audit was given.

    Args:
        figures: all results.
        case: what the sentences depend on.
        hidden: whether names are left out.

    Returns:
        `confidential`: how to treat the report; `judged`: what the audit is of; `controls`: what limits the positive ones;
        `same_subject`: how often images are called copies of another image of their subject, with what follows for the meaning of a
        copy; `limit`: when an image is a copy; `calibration`: how the limit was set; `false_alarms`: of the negative controls;
        `intervals`: what they count; `confirmation`: why none can be confirmed, or how many were; `without_tests`: why tests of the
        whole set are missing; `uncalled`: what a pair below the limit is called; `one` and `many`: names of what counts once;
        `patients`: why no number of patients is given, empty if they are known.
    """
    total = len(figures.copies.flagged)
    judged = "Only this image was" if total == 1 else f"Only these {total:,} images were"
    phrases = {
        "confidential": "This report shows images of patients"
        + (", without their names" if hidden else f" and names {'them' if case.unit.known else 'their files'}")
        + ": treat it as patient data.",
        "judged": f"{judged} judged. The generator may produce others.",
        "controls": "" if case.promised is not None else "Without a limit, only copies equal in every pixel are found.",
        "same_subject": same_subject_phrase(figures.same_subject, case),
        "limit": _limit(figures, case),
        "calibration": _calibration(case),
        "false_alarms": _false_alarms(figures, case),
        "intervals": _intervals(case),
        "confirmation": _confirmation(figures, case),
        "without_tests": f"These tests need held-out images, and {case.no_holdout}." if case.no_holdout else "",
        "uncalled": "not above the limit" if figures.verdict is Verdict.CANNOT_TELL else "not called a copy",
        "one": case.unit.one,
        "many": case.unit.many,
        "patients": ""
        if case.unit.known
        else f"Patients are not known: every {case.unit.one} counts as one, and no number of patients is given.",
    }
    return {name: said(text, case.what) for name, text in phrases.items()}


def same_subject_phrase(control: SameSubject, case: Circumstances) -> str:
    """Say whether a copy is a picture or a patient: how often another image of the same subject is called a copy.

    Args:
        control: the result.
        case: what the sentence depends on.
    """
    called, one = control.called, case.unit.one
    if called is None or called.count is None:
        return f"Whether a new image of a training patient would be called a copy is not known, since {control.reason}."
    ends = f"no interval: {over(called.method, one, case.unit.many)}"
    if np.isfinite(called.low):
        ends = f"{percent(called.low)} to {percent(called.high)}"
    judged = f"{counted(control.images, 'training image')}, judged as if {agree(control.images, 'it was', 'they were')} synthetic"
    verb = agree(called.count, "is called a copy", "are called copies")
    found = (
        f"Of {judged}, {called.count:,} {verb} of another image of the same {one} ({percent(called.value)}; {ends})."
    )
    if called.low > (case.promised or 0):
        if called.value >= _MOSTLY:
            return f"{found} So a copy means the patient rather than the picture: most new images of a training patient would be copies."
        return f"{found} That is more than chance explains: an image called a copy can also be a new image of the same patient."
    if called.high <= _RARELY:
        return f"{found} So a copy means the picture: a new image of a training patient is rarely called one, and goes unseen."
    return f"{found} These are too few to say whether a copy means the picture or the patient."


def _limit(figures: AuditFigures, case: Circumstances) -> str:
    if case.promised is None:
        return "No limit could be set, since there are no images of others to compare with: only identical images are called copies."
    if case.unit.known:
        whom = "images of further subjects exceed this limit"
    else:
        whom = f"images of further patients exceed this limit, if every {case.unit.one} is of another patient,"
    text = (
        f"A copy is an image whose score exceeds {figures.rule.threshold:.2f}. By calibration, {whom} in at most "
        f"{percent(case.promised)} of cases."
    )
    if case.holdout is HoldoutUse.USED:
        return text
    given = f"{case.no_holdout[0].upper()}{case.no_holdout[1:]}"
    doubt = ""
    if not case.unit.known:
        doubt = f" If patients have several {case.unit.many}, the limit is too high and hides copies."
    return f"{text} {given}: the limit was set on training images, each compared with {case.others}.{doubt}"


def _calibration(case: Circumstances) -> str:
    if case.promised is None:
        return "There is no limit of the score."
    images = "held-out images" if case.holdout is HoldoutUse.USED else f"training images compared with {case.others}"
    return (
        f"The limit is the conformal quantile of the best scores of {images}, judged as if they were synthetic; false alarms are measured "
        f"on {case.unit.many} that did not set the limit."
    )


def _false_alarms(figures: AuditFigures, case: Circumstances) -> str:
    alarms = figures.rule.alarm_rate
    if not alarms.total:
        return "not known, since there are no negative controls."
    which = f"{counted(alarms.total, f'{case.side} image')}, judged as if {agree(alarms.total, 'it was', 'they were')} synthetic"
    if case.holdout is not HoldoutUse.USED:
        which += f" and compared with {case.others}"
    ends = f"no interval: {over(alarms.method, case.unit.one, case.unit.many)}"
    if np.isfinite(alarms.low):
        ends = f"{percent(alarms.low)} to {percent(alarms.high)}"
    return f"{alarms.count or 0:,} of {which} ({percent(alarms.value)}; {ends})."


def _intervals(case: Circumstances) -> str:
    if case.unit.known:
        return (
            "Intervals of fractions are exact over subjects (Clopper-Pearson, with the effective number of images where subjects have "
            "several; rule of three for zero counts), others from the jackknife over subjects."
        )
    return (
        f"Intervals of fractions are exact over {case.unit.many}, since patients are not known (Clopper-Pearson; rule of three for zero "
        f"counts), others from the jackknife over {case.unit.many}."
    )


def _confirmation(figures: AuditFigures, case: Circumstances) -> str:
    if not np.isfinite(figures.confirmed_above):
        return f"No single copy can be confirmed: that needs images of more {case.unit.many if case.unit.known else 'patients'}"
    number = int(figures.confirmed.sum())
    return (
        f"{counted(number, 'further copy', 'further copies')} {agree(number, 'is', 'are')} confirmed: a score above "
        f"{figures.confirmed_above:.2f}, which none of so many unrelated images would reach"
    )
