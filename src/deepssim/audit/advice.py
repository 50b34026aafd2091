"""What to do next, as it follows from the verdict and from what the audit was given.

Not here: the verdict in words (wording.py), other sentences of the report (phrases.py).
"""

from collections.abc import Mapping

from deepssim.audit.context import MISSING_IMAGES
from deepssim.audit.examination import AuditFigures
from deepssim.audit.inventory import Inventory
from deepssim.audit.scan_words import said
from deepssim.audit.second_opinions import READERS_DISAGREE
from deepssim.audit.units import agree, counted
from deepssim.audit.wording import Circumstances, HoldoutUse
from deepssim.config.audit import AuditConfig
from deepssim.evaluation.groups import LEAST_GROUPS
from deepssim.evaluation.verdict import LEAST_SENSITIVITY, Verdict


def next_steps(
    figures: AuditFigures, inventories: Mapping[str, Inventory], options: AuditConfig, case: Circumstances
) -> list[str]:
    """Return what to do next, the most important first, each as one or more sentences.

    Args:
        figures: all results.
        inventories: the files, by side.
        options: section `audit`.
        case: what the sentences depend on.
    """
    steps = {
        Verdict.COPIES: _copies,
        Verdict.CANDIDATES: _candidates,
        Verdict.NONE: _none,
        Verdict.CANNOT_TELL: _cannot_tell,
    }[figures.verdict](figures, case)
    if figures.verdict is Verdict.CANNOT_TELL and not options.skip_unreadable:
        unread = sum(len(item.unread) + sum(item.unread_parts.values()) for item in inventories.values())
        if unread:
            steps.append("Restore or replace the files that could not be read, listed in files.csv.")
    if any(item.kind == READERS_DISAGREE for item in figures.findings):
        steps.append(
            "Look at the pairs below the limit that readers call the same image; images in keep.txt can be more of them."
        )
    if any(item.kind == MISSING_IMAGES for item in figures.findings):
        steps.append(
            "Repeat the audit with all images that the generator was trained on before anything is released: nothing is known about copies "
            "of those that are missing here."
        )
    if figures.verdict is Verdict.CANNOT_TELL:
        steps.append("Then repeat the audit.")
    return [said(text, case.what) for text in steps]


def _copies(figures: AuditFigures, case: Circumstances) -> list[str]:
    certain = int((figures.copies.identical | figures.confirmed).sum())
    others = int(figures.copies.flagged.sum()) - certain
    steps = [
        "Do not release the images in drop.txt. Those in keep.txt were not called copies, which does not prove that they are none."
    ]
    if others:
        steps.append(
            f"{counted(others, 'image')} in drop.txt {agree(others, 'is', 'are')} neither identical nor confirmed: compare "
            f"{agree(others, 'it', 'them')} by eye with the training images beside {agree(others, 'it', 'them')}."
        )
    steps.append(
        "A generator that has made these images can make more: do not release it either, but train it anew, for example with fewer epochs, "
        "more images or without duplicates, and repeat the audit."
    )
    whom = (
        f"the {case.unit.many} in the table of copied {case.unit.many}"
        if case.unit.known
        else "the patients in these images"
    )
    steps.append(
        f"If such images have been released already, recall them, and settle with your data-protection officer what is owed to {whom}."
    )
    return steps


def _candidates(figures: AuditFigures, case: Circumstances) -> list[str]:
    return ["Look at each image in drop.txt beside its training image. Until then, this result clears nothing."]


def _none(figures: AuditFigures, case: Circumstances) -> list[str]:
    return [
        "Look at the pairs closest to the limit, and weigh the limits above before images or the generator are released."
    ]


def _cannot_tell(figures: AuditFigures, case: Circumstances) -> list[str]:
    steps = ["This result clears nothing: release neither the images nor the generator on it."]
    few = figures.rule.limit is None or figures.rule.limit.groups < LEAST_GROUPS
    if case.holdout is not HoldoutUse.USED or few:
        people = case.unit.many if case.unit.known else "patients"
        steps.append(
            f"Give images of {max(LEAST_GROUPS, case.needed):,} or more other {people}, from the same source and not used for training, as "
            "held-out images (--holdout)."
        )
    if not case.unit.known:
        steps.append(
            "Say which images are of one patient (a table for --subjects, or --subject-pattern if file names tell)."
        )
    if figures.doubtful:
        steps += [
            f"Compare the pairs with the highest scores by eye: {counted(figures.doubtful, 'synthetic image')} would be called "
            f"{agree(figures.doubtful, 'a copy', 'copies')} by a limit that is set without images of doubtful origin.",
            "Find out whether the images listed in the section Data under “perhaps one scan under two names” are of one patient; leave "
            "them out (--exclude) or name the patients (--subjects).",
        ]
    steps += [
        f"Settle this (the images are listed in the section Data): {item.message}."
        for item in figures.findings
        if item.hides
    ]
    if figures.sensitivity < LEAST_SENSITIVITY and not few:
        steps.append(
            "Look at the controls that were not found: held-out images of the same kind as the training images, and named "
            "patients, lower the limit."
        )
    return steps
