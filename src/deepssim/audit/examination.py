"""One audit: from the images of three folders to a verdict, its figures and its controls.

Not here: reading and embedding images (run.py), how it is shown (tables.py, page.py).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from deepssim.audit import leakage, membership
from deepssim.audit.cache import AuditCache
from deepssim.audit.calibration import Rule, calibrated_rule
from deepssim.audit.comparability import unlike_any
from deepssim.audit.controls import Control, Copied, make_controls, positive_controls, teaching
from deepssim.audit.evidence import Best, Detective, best_of, best_of_many
from deepssim.audit.further import FurtherFigures, further_figures
from deepssim.audit.partial import find_partial_copies, partial_findings
from deepssim.audit.phantoms import Phantoms, find_phantoms
from deepssim.audit.preflight import Finding
from deepssim.audit.random_draw import RandomDraw
from deepssim.audit.retrieval import Neighbours, find_neighbours, nearest_two_ratios
from deepssim.audit.same_scans import SameScans, find_same_scans, same_scan_findings, without_subjects
from deepssim.audit.sides import AuditTools, Sides
from deepssim.audit.swapped import swapped_findings
from deepssim.audit.visits import SameSubject, Visited, make_visits, same_subject
from deepssim.config.audit import AuditConfig
from deepssim.detection.gallery import single_threaded_libraries
from deepssim.detection.score import CueSet, Score, learn_score
from deepssim.detection.search import Found
from deepssim.evaluation.groups import LEAST_GROUPS, conformal_limit, excess_probability, tail_limit
from deepssim.evaluation.verdict import LEAST_SENSITIVITY, MOST_ERROR, Verdict
from deepssim.images.dicom import is_hashed_patient
from deepssim.images.distort import UNCHANGED
from deepssim.seeds import derive_seed

_MOST_SUSPICIOUS = 0.1  # fraction of training images that may be left out of what is usual


@dataclass(frozen=True)
class AuditFigures:
    """All that an audit found.

    Attributes:
        verdict: in short.
        chance: probability that so many of the highest scores are of synthetic images by chance; 1 without controls.
        doubtful: synthetic images that would also be called copies if images that may show a training image's scan under
            another name did not set the limit.
        sensitivity: fraction of the positive controls that are found.
        score: of pairs.
        rule, copies, leakage: when an image is a copy, which are, and what that tells for images and subjects.
        confirmed: bool (S,), candidates whose score no unrelated image would reach.
        partial: bool (S,), copies of a part of an image.
        confirmed_above: the score that they must exceed; infinity where too few subjects allow no limit.
        negative: best candidates of the images that cannot be copies, those that calibrate the limit.
        controls: positive controls.
        same_subject: what became of images whose subject has others.
        membership: what the synthetic images say as a whole; empty without a holdout.
        findings: what is wrong with the data.
        borderline: synthetic images closest to the limit.
        further: statistics beside the verdict.
        own_verdict: of this seed, where that of other seeds or readers is worse; else None or the same.
    """

    verdict: Verdict
    chance: float
    doubtful: int
    sensitivity: float
    score: Score
    rule: Rule
    copies: leakage.Copies
    leakage: dict[str, Any]
    confirmed: np.ndarray
    partial: np.ndarray
    confirmed_above: float
    negative: Best
    controls: list[Control]
    same_subject: SameSubject
    membership: dict[str, Any]
    findings: list[Finding]
    borderline: np.ndarray
    further: FurtherFigures
    own_verdict: Verdict | None = None


@dataclass(frozen=True)
class _Evidence:
    """Candidates of all images.

    Attributes:
        train: of training images among those of other subjects, and whose images show one scan under two names.
        holdout: the same of held-out images; None without a holdout.
        synthetic: of synthetic images, in files.
        copied: of positive controls.
        phantoms: of synthetic images among training and held-out images together; None without a holdout.
        visited: of training images among those of other visits.
    """

    train: tuple[Found, SameScans]
    holdout: tuple[Found, SameScans] | None
    synthetic: Found
    copied: Copied
    phantoms: Phantoms | None
    visited: Visited


def examine(
    sides: Sides,
    findings: Sequence[Finding],
    options: AuditConfig,
    tools: AuditTools,
    store: AuditCache,
    *,
    complete: bool = True,
    draw: RandomDraw | None = None,
) -> AuditFigures:
    """Judge synthetic images.

    Args:
        sides: all images.
        findings: of the pre-flight so far.
        options, tools, store: section `audit`, what to work with, and the cache of candidates.
        complete: whether all files that could hold an image were read.
        draw: how members were drawn at random; None if they were not.
    """
    confidence, seed = options.confidence, tools.seed
    bootstrap: dict[str, Any] = {"confidence": confidence, "repetitions": options.bootstrap, "seed": seed}
    evidence, neighbours = _gather(sides, options, tools, store), _neighbours(sides, tools)
    taught = teaching(evidence.copied, sides.train.subjects, seed)
    score = _learn(sides, evidence, taught, tools.engine.cues)
    negative = _negative(sides, evidence, score)
    rule = _rule(sides, negative, options, seed)
    best = best_of_many(evidence.synthetic, score)
    copies = leakage.find_copies(best, rule, sides.train.pixel_hashes, sides.synthetic.pixel_hashes)
    confirmed_above = max(rule.threshold, tail_limit(negative.scores, negative.subjects, len(best.scores), MOST_ERROR))
    confirmed = (copies.scores > confirmed_above) & ~copies.identical
    chance = excess_probability(best.scores, sides.synthetic.groups, negative.scores, negative.subjects, seed)
    controls = positive_controls(evidence.copied.part(~taught), sides.train.subjects, score, rule, confidence)
    sensitivity = _sensitivity(controls)
    partial_copies = find_partial_copies(copies, sides, tools.threads, sought=tools.engine.parts)
    doubtful = _doubtful(sides, evidence, score, best, rule, options)
    notes = [
        *findings,
        *_findings(sides, evidence, partial_copies, options),
        *_unlike(neighbours),
        *_swapped(evidence, score, rule, negative),
    ]
    membership_results = _membership(sides, neighbours, bootstrap)
    further = further_figures(
        sides, neighbours, membership_results, copies, negative, score, rule, evidence.phantoms, encoder=tools.encoder,
        cues=tools.engine.cues, draw=draw, **bootstrap,
    )  # fmt: skip
    seen = complete and sensitivity >= LEAST_SENSITIVITY and not doubtful and not any(note.hides for note in notes)
    return AuditFigures(
        verdict=_verdict(copies, confirmed, chance, rule, complete=seen),
        doubtful=doubtful, chance=chance, sensitivity=sensitivity, score=score, rule=rule, copies=copies,
        leakage=_leakage(sides, copies, confirmed, rule, controls, bootstrap),
        confirmed=confirmed, partial=partial_copies, confirmed_above=confirmed_above, negative=negative, controls=controls,
        same_subject=same_subject(evidence.visited, sides.train.subjects, score, rule, confidence),
        membership=membership_results, findings=notes, borderline=_borderline(copies, rule, options.borderline), further=further,
    )  # fmt: skip


def _sensitivity(controls: Sequence[Control]) -> float:
    """Return the mean fraction of changed copies that were found."""
    return float(np.mean([control.found.value for control in controls if control.distortion != UNCHANGED]))


def _gather(sides: Sides, options: AuditConfig, tools: AuditTools, store: AuditCache) -> _Evidence:
    detective = Detective(sides, tools, store, options.candidates)
    train = detective.of_other_subjects()
    scans = find_same_scans(train, tools.engine)
    found = detective.of_side(sides.holdout, "held-out images") if sides.holdout else None
    holdout = None if found is None else (found, find_same_scans(found, tools.engine))
    synthetic = detective.of_many(sides.synthetic, "synthetic images")
    copied = make_controls(sides.train, options.controls, detective, tools)
    phantoms = None
    if sides.holdout is not None and holdout is not None:
        usable = without_subjects(holdout[1].proved, sides.holdout.subjects)
        phantoms = find_phantoms(sides, usable, tools, store, options.candidates)
    alone = without_subjects(scans.proved | _partners(scans, len(scans.proved)), sides.train.subjects)
    visited = make_visits(sides.train, sides.visits, ~alone, options.visits, detective, tools)
    return _Evidence((train, scans), holdout, synthetic, copied, phantoms, visited)


def _leakage(
    sides: Sides,
    copies: leakage.Copies,
    confirmed: np.ndarray,
    rule: Rule,
    controls: Sequence[Control],
    bootstrap: dict[str, Any],
) -> dict[str, Any]:
    subjects, groups = sides.train.subjects, sides.synthetic.groups
    common = {name: bootstrap[name] for name in ("confidence", "seed")}
    found = leakage.leakage_figures(copies, confirmed, rule, subjects, groups, **bootstrap)
    return found | {"with_missed": leakage.with_missed(copies, rule, controls, subjects, groups, **common)}


def _learn(sides: Sides, evidence: _Evidence, taught: np.ndarray, cues: CueSet) -> Score:
    """Learn the score from training images among other subjects', without scans under two names, and from some controls."""
    train, scans = evidence.train
    usable = without_subjects(scans.proved, sides.train.subjects)
    usable &= without_subjects(_partners(scans, len(usable)), sides.train.subjects)
    if scans.suspicious.mean() < _MOST_SUSPICIOUS:  # else many common keypoints are what such images have
        usable &= ~scans.suspicious
    copies, originals = evidence.copied.part(taught).together()
    return learn_score(train.part(np.flatnonzero(usable)), copies, originals, cues)


def _partners(scans: SameScans, count: int) -> np.ndarray:
    """Return which training images another one is proved to show, bool (T,)."""
    shown = np.zeros(count, bool)
    shown[scans.partners[scans.proved]] = True
    return shown


def _doubtful(sides: Sides, evidence: _Evidence, score: Score, best: Best, rule: Rule, options: AuditConfig) -> int:
    """Return how many further synthetic images are above the limit that images without unusual details in common would set."""
    negative = _negative(sides, evidence, score, suspicious=False)
    if rule.limit is None or not len(negative.scores):
        return 0
    limit = conformal_limit(negative.scores, negative.subjects, options.false_positive_rate).value
    return int(((best.scores > limit) & ~rule.flags(best.scores)).sum())


def _negative(sides: Sides, evidence: _Evidence, score: Score, *, suspicious: bool = True) -> Best:
    """Return the images that cannot be copies, without those of scans under two names, proved or also suspected."""
    (found, scans), side = (evidence.train, sides.train) if sides.holdout is None else (evidence.holdout, sides.holdout)  # type: ignore[misc]
    best = best_of(found, score.of(found), side.subjects)
    usable = without_subjects(scans.proved, side.subjects) & np.isfinite(best.scores)
    if not suspicious:
        usable &= ~scans.suspicious
    if sides.holdout is None:
        usable &= without_subjects(_partners(scans, len(usable)), side.subjects)
    return best.part(usable)


def _rule(sides: Sides, negative: Best, options: AuditConfig, seed: int) -> Rule:
    return calibrated_rule(
        negative,
        held_out=sides.holdout is not None,
        rate=options.false_positive_rate,
        confidence=options.confidence,
        seed=seed,
    )


def _findings(sides: Sides, evidence: _Evidence, partial_copies: np.ndarray, options: AuditConfig) -> list[Finding]:
    train = sides.train
    found = same_scan_findings(
        evidence.train[1], "training image", train.pack.keys, train.pack.keys, calibrates=sides.holdout is None,
        named=_named(sides, options), hides=_unknown_patients(sides, evidence, options),
    )  # fmt: skip
    if sides.holdout is not None and evidence.holdout is not None:
        keys = sides.holdout.pack.keys
        found += same_scan_findings(
            evidence.holdout[1], "held-out image", keys, train.pack.keys, calibrates=True, named=_named(sides, options)
        )
    return found + partial_findings(partial_copies, sides.synthetic.pack.keys)


def _unknown_patients(sides: Sides, evidence: _Evidence, options: AuditConfig) -> bool:
    """Return whether images of one patient may have taught the score what is usual among unrelated images."""
    return not _named(sides, options) and bool(evidence.train[1].suspicious.mean() >= _MOST_SUSPICIOUS)


def _named(sides: Sides, options: AuditConfig) -> bool:
    """Return whether the user or DICOM files name patients."""
    recorded = any(is_hashed_patient(name) for name in sides.train.subjects)
    return recorded or options.subjects is not None or options.subject_pattern is not None


def _neighbours(sides: Sides, tools: AuditTools) -> Neighbours | None:
    if sides.holdout is None:
        return None
    embeddings = (side.embeddings for side in (sides.train, sides.synthetic, sides.holdout))
    return find_neighbours(*embeddings, threads=tools.threads)


def _swapped(evidence: _Evidence, score: Score, rule: Rule, negative: Best) -> list[Finding]:
    """Say if synthetic images copy held-out images, which are sought and judged as training images are."""
    if evidence.phantoms is None or not np.isfinite(rule.threshold):
        return []
    phantoms = evidence.phantoms
    scores, partners = phantoms.nearest(score)
    # The controls were compared with training images alone: among all real images each synthetic one is tried more often.
    tried = math.ceil(len(scores) / phantoms.trained.mean())
    certain = max(rule.threshold, tail_limit(negative.scores, negative.subjects, tried, MOST_ERROR))
    return swapped_findings(scores, partners, rule.threshold, certain, phantoms.subjects, phantoms.trained)


def _unlike(neighbours: Neighbours | None) -> list[Finding]:
    if neighbours is None:
        return []
    message = unlike_any(neighbours.synthetic.scores[:, 0], neighbours.holdout.scores[:, 0])
    return [Finding("synthetic images unlike any training image", message, [], True)] if message else []


def _verdict(copies: leakage.Copies, confirmed: np.ndarray, chance: float, rule: Rule, *, complete: bool) -> Verdict:
    if copies.identical.any() or confirmed.any():
        return Verdict.COPIES
    if rule.limit is None or rule.limit.groups < LEAST_GROUPS:
        return Verdict.CANNOT_TELL  # a limit that few people set says little, and could be too high for any copy
    if chance < MOST_ERROR:
        return Verdict.COPIES
    if not complete:
        return Verdict.CANNOT_TELL  # what was not looked at, or would not have been seen, cannot be cleared
    return Verdict.CANDIDATES if copies.flagged.any() else Verdict.NONE


def _borderline(copies: leakage.Copies, rule: Rule, count: int) -> np.ndarray:
    """Return the images closest to the limit on both sides, at most `count`."""
    if not np.isfinite(rule.threshold):
        return np.zeros(0, np.int64)  # nothing is close to a limit that does not exist
    apart = np.abs(copies.scores - rule.threshold)
    order = np.argsort(np.where(copies.identical, np.inf, apart), kind="stable")
    flagged, identical = copies.flagged[order], copies.identical[order]
    above, below = order[flagged & ~identical], order[~flagged]
    return np.sort(np.concatenate([above[: count // 2], below[: count - count // 2]])).astype(np.int64)


def _membership(sides: Sides, neighbours: Neighbours | None, bootstrap: dict[str, Any]) -> dict[str, Any]:
    train, synthetic, holdout = sides.train, sides.synthetic, sides.holdout
    if holdout is None or neighbours is None:
        return {}
    with single_threaded_libraries():  # on a busy machine, threads of OpenMP that wait for each other take minutes
        cells = membership.cells_of(
            train.embeddings.values, synthetic.embeddings.values, holdout.embeddings.values,
            seed=derive_seed(bootstrap["seed"], "cells"),
        )  # fmt: skip
    first = partial(np.take, indices=0, axis=1)
    to_train, to_holdout, of_holdout = neighbours.synthetic, neighbours.synthetic_holdout, neighbours.holdout
    return {
        "membership_inference": membership.membership_inference(
            first(neighbours.train.scores), first(neighbours.holdout_synthetic.scores),
            [*train.subjects, *holdout.subjects], **bootstrap,
        ),
        "closest_record": membership.closest_record_share(
            first(to_train.scores), first(to_holdout.scores), len(train.pack.keys), len(holdout.pack.keys)
        ),
        "data_copying": membership.data_copying(first(to_train.scores), first(of_holdout.scores), *cells),
        "nearest_two": membership.nearest_two(nearest_two_ratios(to_train), nearest_two_ratios(of_holdout)),
    }  # fmt: skip
