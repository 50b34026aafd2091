"""What makes an audit's question unclear before any score: repeated images, images and subjects on both sides.

Not here: which files there are (inventory.py), whether the sides can be compared (comparability.py).
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deepssim.audit.comparability import HIDING, SIDE_NAMES, different_sides
from deepssim.audit.inventory import Inventory, parts_in_words
from deepssim.audit.reading import volumes_among
from deepssim.audit.subjects import identifier_findings
from deepssim.audit.units import SUBJECT, Unit, agree, counted, unit_of
from deepssim.config.audit import AuditConfig
from deepssim.config.choices import AuditUnit
from deepssim.images.folders import Collection
from deepssim.images.frames import MAY_HOLD_IMAGES
from deepssim.images.listing import EXCLUDED, HIDDEN_IMAGES
from deepssim.images.volumes import NEARLY_EMPTY

logger = logging.getLogger(__name__)

_SHOWN = 20
SUBJECTS_UNKNOWN = "subjects unknown"  # kind of the finding


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with the data.

    Attributes:
        kind: short name.
        message: one sentence with numbers and what it means for the verdict.
        items: some of the images or subjects concerned, for people.
        qualifies: whether the verdict holds only with a reservation.
        hides: whether copies can go unseen because of it, so that nothing can be cleared.
    """

    kind: str
    message: str
    items: Sequence[tuple[str, ...]]
    qualifies: bool
    hides: bool = False


def preflight(
    inventories: Mapping[str, Inventory], subjects: Mapping[str, list[str]], options: AuditConfig
) -> tuple[list[Finding], np.ndarray | None]:
    """Find what is wrong with the data.

    Args:
        inventories, subjects: images and their subjects, by side.
        options: section `audit`.

    Returns:
        Findings, and which held-out images can be used: bool (H,), None without a holdout.
    """
    collections = {name: item.collection for name, item in inventories.items()}
    real, unit = collections["real"], unit_of(collections, subjects, options, inventories["real"].unit)
    findings = duplicates_within(real.pack.keys, real.pixel_hashes)
    findings += constant(collections)
    if options.skip_unreadable:
        findings += skipped(inventories)
    findings += left_aside(inventories)
    if options.unit is AuditUnit.AUTO:
        findings += sliced_volumes(inventories)
    if options.subjects is None and options.subject_pattern is None:
        findings += [
            Finding("patients not identified", message, [], True)
            for message in identifier_findings(collections, subjects)
        ]
    findings += [Finding(kind, message, [], True, kind in HIDING) for kind, message in different_sides(collections)]
    if inventories["real"].unit is AuditUnit.VOLUME:
        from deepssim.audit.volume_checks import volume_findings  # with libraries that other audits do not need

        found_in = volume_findings(real, collections["synthetic"])
        findings += [Finding(kind, message, [], True, True) for kind, message in found_in]
    usable = None
    if "holdout" in collections:
        sides = [(collections[name].pack.keys, collections[name].pixel_hashes, subjects[name])
                 for name in ("real", "holdout")]  # fmt: skip
        found, usable = overlaps(sides[0], sides[1], unit)
        findings += found
        if not usable.any():
            message = f"no held-out image is left to calibrate on; training images compared with those of other {unit.many} set the limit"
            if not unit.known:
                message = (
                    "no held-out image is left to calibrate on; training images compared with each other set the limit"
                )
            findings.append(Finding("no usable holdout", message, [], True))
    if not unit.known:
        findings.append(unknown_patients(unit, held_out=usable is not None and bool(usable.any())))
    for finding in findings:
        logger.warning("%s", finding.message)
    return findings, usable


def sliced_volumes(inventories: Mapping[str, Inventory]) -> list[Finding]:
    """Name synthetic volumes that were cut into slices, as the training volumes were, since some other file holds images.

    Args:
        inventories: images by side, of an audit whose unit was left open.
    """
    if any(item.unit is AuditUnit.VOLUME for item in inventories.values()):
        return []
    count, training = (volumes_among(inventories[name].collection.files) for name in ("synthetic", "real"))
    if not count or not training:
        return []
    message = (
        f"{counted(count, 'synthetic volume')} and {counted(training, 'training volume')} were cut into slices, since other files hold "
        "single images (the log names the first), and copies that were rotated out of the planes of these slices go unseen: leave "
        "those files out with --exclude, or choose --unit volume or --unit image"
    )
    return [Finding("volumes were cut into slices", message, [], True, True)]


def unknown_patients(unit: Unit, *, held_out: bool) -> Finding:
    """Say what follows where images or files stand for patients.

    Args:
        unit: what is counted instead.
        held_out: whether held-out images set the limit.
    """
    effect = "intervals are too narrow and the limit is too high and hides copies"
    if held_out:
        effect = (
            "intervals are too narrow, the rate of false alarms is higher than promised, and images of one patient, taken for "
            "unrelated, hide copies"
        )
    message = (
        f"patients are not known, so that every {unit.one} counts as one; if patients have several {unit.many}, "
        f"{effect}: name the patients with --subjects or --subject-pattern"
    )
    return Finding(SUBJECTS_UNKNOWN, message, [], True)


def _of(number: int, total: int, one: str) -> str:
    return f"{number:,} of {counted(total, one)}"


def constant(collections: Mapping[str, Collection]) -> list[Finding]:
    """Say which training or synthetic images are constant: a file that was read wrongly can look so."""
    findings = []
    for name in ("real", "synthetic"):
        item = collections[name]
        if item.constant:
            message = (
                f"{_of(len(item.constant), len(item.constant) + len(item.pack.keys), f'{SIDE_NAMES[name]} image')} "
                f"{agree(len(item.constant), 'shows', 'show')} nothing but one grey value and "
                f"{agree(len(item.constant), 'was', 'were')} not judged; if a viewer shows more, the file was read wrongly"
            )
            findings.append(Finding("constant images", message, [(key,) for key in item.constant[:_SHOWN]], True))
    return findings


def skipped(inventories: Mapping[str, Inventory]) -> list[Finding]:
    """Say which files were not read although they could hold images."""
    findings = []
    for name, item in inventories.items():
        if item.unread:
            message = (
                f"{_of(len(item.unread), len(item.entries), f'{SIDE_NAMES[name]} file')} could not be read and "
                f"{agree(len(item.unread), 'was', 'were')} skipped as requested; nothing is known about images in "
                f"{agree(len(item.unread), 'it', 'them')}"
            )
            shown = [(entry.name, entry.reason) for entry in item.unread[:_SHOWN]]
            findings.append(Finding("files skipped", message, shown, True))
        if item.unread_parts:
            message = (
                f"{parts_in_words(sum(item.unread_parts.values()))} of {SIDE_NAMES[name]} files could not be read and were skipped as "
                "requested; nothing is known about images in them"
            )
            findings.append(Finding("files skipped", message, [(text,) for text in item.unread_parts][:_SHOWN], True))
    return findings


def left_aside(inventories: Mapping[str, Inventory]) -> list[Finding]:
    """Say which files that could hold images were left out, by a pattern or because they are hidden, and which parts of files."""
    findings = []
    for reason, what in (
        (EXCLUDED, "left out by --include or --exclude; nothing is known about images there"),
        (HIDDEN_IMAGES, "not looked at, since hidden images and folders are left out; copies there go unseen"),
    ):
        for name, item in inventories.items():
            found = [entry for entry in item.entries if entry.reason == reason]
            if found:
                count = _of(len(found), len(item.entries), f"{SIDE_NAMES[name]} file")
                message = f"{count} {agree(len(found), 'was', 'were')} {what}"
                findings.append(Finding("files left out", message, [(entry.name,) for entry in found[:_SHOWN]], True))
    for name, item in inventories.items():
        reasons = {text: count for text, count in item.collection.left_out.items() if text.startswith(MAY_HOLD_IMAGES)}
        if reasons:
            message = (
                f"{parts_in_words(sum(reasons.values()))} of {SIDE_NAMES[name]} files beside their images "
                f"{agree(sum(reasons.values()), 'was not judged although it', 'were not judged although they')} "
                f"may hold images (the first {next(iter(reasons)).removeprefix(MAY_HOLD_IMAGES)})"
            )
            findings.append(Finding("parts of files not judged", message, [(text,) for text in reasons][:_SHOWN], True))
        empty = item.collection.left_out.get(NEARLY_EMPTY, 0)
        judged = sum(count for count in Counter(item.collection.files).values() if count > 1)
        if empty > judged:  # of a brain, which fills its volume, a third is
            message = (
                f"{counted(empty, 'slice')} of {SIDE_NAMES[name]} volumes {agree(empty, 'was', 'were')} left out as nearly empty, "
                f"more than the {judged:,} that were judged; if there is something to see, set audit.volumes.min_foreground to 0"
            )
            findings.append(Finding("most slices nearly empty", message, [], True))
    return findings


def duplicates_within(keys: Sequence[str], content: Sequence[str]) -> list[Finding]:
    """Find training images that occur more than once, by equal pixels.

    Args:
        keys: of the images.
        content: SHA-256 of their pixels.
    """
    groups: dict[str, list[str]] = {}
    for key, equal in zip(keys, content, strict=True):
        groups.setdefault(equal, []).append(key)
    repeated = [tuple(group) for group in groups.values() if len(group) > 1]
    if not repeated:
        return []
    images = sum(len(group) for group in repeated)
    message = (
        f"{images} of {len(keys)} training images are copies of each other, in {len(repeated)} "
        f"{'group' if len(repeated) == 1 else 'groups'}; duplicates invite "
        "memorization, and a copy of one counts for all of them"
    )
    return [Finding("duplicates in the training set", message, repeated[:_SHOWN], False)]


def overlaps(
    train: tuple[Sequence[str], Sequence[str], Sequence[str]],
    holdout: tuple[Sequence[str], Sequence[str], Sequence[str]],
    unit: Unit = SUBJECT,
) -> tuple[list[Finding], np.ndarray]:
    """Find held-out images that are not held out.

    Args:
        train, holdout: keys, hashes of pixels and subjects of each side.
        unit: what subjects are.

    Returns:
        Findings, and which held-out images can be used: bool (H,). The others would raise the threshold, since a training
        image resembles itself, and so would hide copies.
    """
    keys, content, subjects = holdout
    first_of = dict(zip(reversed(train[1]), reversed(train[0]), strict=True))
    same_image = np.array([equal in first_of for equal in content], bool)
    shared = sorted(set(train[2]) & set(subjects))
    same_subject = (
        np.isin(np.asarray(subjects, dtype=object).astype(str), shared) if shared else np.zeros(len(keys), bool)
    )
    findings = []
    if same_image.any():
        pairs = [(key, first_of[equal]) for key, equal in zip(keys, content, strict=True) if equal in first_of]
        message = (
            f"{_of(len(pairs), len(keys), 'held-out image')} "
            f"{agree(len(pairs), 'is a training image, too; it was', 'are training images, too; they were')} left out of the calibration"
        )
        findings.append(Finding("images in training set and holdout", message, pairs[:_SHOWN], True))
    if shared:
        left = int(same_subject.sum())
        what = f"{unit.count(len(shared))} {agree(len(shared), 'is', 'are')} in the training set and in the holdout"
        if not unit.known:  # equal names of files are all that is known
            what = f"{len(shared):,} {agree(len(shared), 'name of a file is', 'names of files are')} in the training set and in the holdout"
        message = f"{what}; for this reason, {counted(left, 'held-out image')} {agree(left, 'was', 'were')} left out of the calibration"
        findings.append(
            Finding("subjects in training set and holdout", message, [(name,) for name in shared[:_SHOWN]], True)
        )
    return findings, ~(same_image | same_subject)
