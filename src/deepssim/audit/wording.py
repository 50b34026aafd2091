"""The verdict in words.

Not here: how it is reached (examination.py), where it is shown (tables.py, page.py).
"""

from collections.abc import Mapping

import numpy as np

from deepssim.audit.comparability import SIDE_NAMES
from deepssim.audit.examination import AuditFigures
from deepssim.audit.inventory import Inventory, parts_in_words
from deepssim.audit.swapped import SWAPPED
from deepssim.config.audit import AuditConfig
from deepssim.evaluation.groups import LEAST_GROUPS
from deepssim.evaluation.intervals import percent
from deepssim.evaluation.verdict import Verdict

HIDDEN = "(left out: de-identified)"


def sentence(figures: AuditFigures, inventories: Mapping[str, Inventory], options: AuditConfig) -> str:
    """Say in words what was not looked at and what was found; the limits of it stand beside it in the report.

    Args:
        figures: all results.
        inventories: the files, by side.
        options: section `audit`.
    """
    unread = "" if options.skip_unreadable else _unread(inventories, options)
    return unread + _found(figures, options, complete=not unread)


def _unread(inventories: Mapping[str, Inventory], options: AuditConfig) -> str:
    """Name the files that could hold an image and were not read; empty if there are none."""
    counts, first = [], ""
    for name, item in inventories.items():
        if item.unread:
            counts.append(f"{len(item.unread):,} of {len(item.entries):,} {SIDE_NAMES[name]} files")
            first = first or f"first {item.unread[0].name}: {item.unread[0].reason}"
        if item.unread_parts:
            counts.append(f"{parts_in_words(sum(item.unread_parts.values()))} of {SIDE_NAMES[name]} files")
            first = first or f"first {next(iter(item.unread_parts))}"
    if not counts:
        return ""
    if options.de_identified:
        first = "names and reasons are in the log"
    return f"{' and '.join(counts)} could not be read ({first}), so that copies in them go unseen. "


def _found(figures: AuditFigures, options: AuditConfig, *, complete: bool) -> str:
    copies, estimate, alarms = figures.copies, figures.leakage["synthetic_that_copy"], figures.rule.alarm_rate
    flagged, total = int(copies.flagged.sum()), len(copies.flagged)
    if figures.verdict is Verdict.NONE:
        found = f"None of {total:,} synthetic images was found to copy a training image"
        if not np.isfinite(estimate.high):
            return f"{found}; there is no upper bound of the rate of copies, since {estimate.method}."
        return (
            f"{found}; with {options.confidence:.0%} confidence at most {percent(estimate.high)} of such images are "
            "copies that this test sees."
        )
    if figures.verdict is Verdict.CANNOT_TELL:
        return _cannot_tell(figures, options, complete=complete)
    known = bool(alarms.total)
    beside = f", beside {percent(alarms.value)} of images that cannot be copies" if known else ""
    text = f"{flagged:,} of {total:,} synthetic images ({percent(flagged / total)}) are called copies{beside}"
    if figures.verdict is Verdict.CANDIDATES:
        return f"{text}. Their number alone proves no copying, and none is confirmed: check each of them by eye in the pairs below."
    certain = int(copies.identical.sum())
    extra = f" {certain:,} are identical to a training image in every pixel." if certain else ""
    ends = f"interval {percent(estimate.low)} to {percent(estimate.high)}"
    if not np.isfinite(estimate.low):
        ends = f"no interval: {estimate.method}"
    return f"{text}; without false alarms that is {percent(estimate.value)} ({ends}).{extra}"


def _cannot_tell(figures: AuditFigures, options: AuditConfig, *, complete: bool) -> str:
    """Say why, and what the holdout can and cannot support."""
    limit = figures.rule.limit
    flagged, total = int(figures.copies.flagged.sum()), len(figures.copies.flagged)
    if not complete and (limit is None or limit.groups >= LEAST_GROUPS):
        above = f"{flagged:,} of {total:,}" if flagged else f"none of {total:,}"
        return (
            f"Of the synthetic images that were read, {above} scored above the limit. Restore or replace these files, "
            "leave them out with --exclude, or judge without them with --skip-unreadable."
        )
    if any(item.kind == SWAPPED for item in figures.findings) and limit is not None and limit.groups >= LEAST_GROUPS:
        return (
            f"Synthetic images copy held-out images rather than training images, as if the two folders were swapped; {flagged:,} of "
            f"{total:,} are above the limit. Name the generator's training images first, and as holdout images that it has not seen."
        )
    hiding = next((item.message for item in figures.findings if item.hides), None)
    if hiding is not None and limit is not None and limit.groups >= LEAST_GROUPS:
        above = f"{flagged:,} of {total:,}" if flagged else f"none of {total:,}"
        return f"Of the synthetic images, {above} scored above the limit, but others can be copies that go unseen: {hiding}."
    if figures.doubtful and limit is not None and limit.groups >= LEAST_GROUPS:
        return (
            f"{flagged:,} of {total:,} synthetic images are above the limit, and {figures.doubtful:,} more would be if images that may "
            "show a training image under another name did not set it. Check these images, named in the reservations, and leave them out "
            "with --exclude, or name the patients with --subjects."
        )
    if limit is not None and limit.groups >= LEAST_GROUPS:
        return (
            f"Only {percent(figures.sensitivity)} of the copies that were planted as controls were found, so that {flagged:,} of {total:,} "
            "synthetic images above the limit say little. If patients have several images or appear in two folders, name them "
            "(--subjects or --subject-pattern); see the reservations."
        )
    if limit is None:
        return (
            f"There are no images of other subjects that would show how much {total:,} synthetic images may resemble training images "
            "by chance. Provide held-out images of other subjects, or correct the subjects if all images were taken for those of one."
        )
    whose = "held-out" if figures.rule.held_out else "training"
    people = f"1 {whose} subject" if limit.groups == 1 else f"{limit.groups} {whose} subjects"
    return (
        f"The limit was calibrated on {people}, who support a false-alarm rate of {percent(limit.promised)} at best; "
        f"{flagged:,} of {total:,} synthetic images are above it, which proves neither copies nor their absence. Provide "
        f"held-out images of at least {LEAST_GROUPS} subjects, or of {round(1 / options.false_positive_rate) - 1:,} "
        f"for a rate of {percent(options.false_positive_rate)}."
    )
