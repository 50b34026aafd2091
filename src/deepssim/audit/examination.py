"""One audit: from embeddings of three sets of images to a verdict, its figures and its controls.

Not here: reading and embedding images (stages/audit.py), how it is shown (reporting/).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

import numpy as np

from deepssim.audit import evidence, leakage, membership
from deepssim.audit.calibration import Rule, calibrated_rule, published_rule
from deepssim.audit.comparability import unlike_any
from deepssim.audit.controls import Control, Originals, choose_controls, positive_control
from deepssim.audit.preflight import Finding
from deepssim.audit.retrieval import Neighbours, nearest_two_ratios
from deepssim.audit.sides import AuditTools, Side, Sides
from deepssim.config.audit import AuditConfig
from deepssim.evaluation.groups import LEAST_GROUPS, excess_probability, rate_by_group
from deepssim.evaluation.intervals import Interval
from deepssim.images.distort import DISTORTIONS, distort
from deepssim.images.packs import ImagePack
from deepssim.seeds import derive_seed

_MOST_ERROR = 0.025  # of each of the two ways to find copies by chance: one confirmed image, or too many candidates


class Verdict(StrEnum):
    """What an audit found."""

    COPIES = "copies found"
    CANDIDATES = "candidates, but no more than chance explains"
    NONE = "no copies found"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class AuditFigures:
    """All that an audit found.

    Attributes:
        verdict: in short.
        chance: probability that so many of the highest scores are of synthetic images by chance; 1 without controls.
        rule, copies, leakage: when an image is a copy, which are, and what that tools for images and subjects.
        aligned: best candidates and borderline images, by row, brought onto their original.
        confirmed: bool (S,), candidates that exact SSIM after alignment confirms.
        confirmed_above: the SSIM that they must exceed; infinity where too few subjects allow no limit.
        controls: positive controls.
        membership: what the synthetic images say as a whole; empty without a holdout.
        findings: what is wrong with the data.
        borderline: synthetic images closest to the limit.
    """

    verdict: Verdict
    chance: float
    rule: Rule
    copies: leakage.Copies
    leakage: dict[str, Any]
    aligned: dict[int, evidence.Aligned]
    confirmed: np.ndarray
    confirmed_above: float
    controls: list[Control]
    membership: dict[str, Any]
    findings: list[Finding]
    borderline: np.ndarray


def examine(
    sides: Sides,
    neighbours: Neighbours,
    findings: Sequence[Finding],
    options: AuditConfig,
    tools: AuditTools,
    *,
    complete: bool = True,
) -> AuditFigures:
    """Judge synthetic images.

    Args:
        sides: all images.
        neighbours: their nearest images.
        findings: of the pre-flight so far.
        options, tools: section `audit`, and what to work with.
        complete: whether all files that could hold an image were read.
    """
    train = sides.train
    bootstrap = {"confidence": options.confidence, "repetitions": options.bootstrap, "seed": tools.seed}
    rule = _rule(sides, neighbours, options, tools.seed)
    copies = leakage.find_copies(neighbours, rule, train.subjects, train.pixel_hashes, sides.synthetic.pixel_hashes)
    borderline = _borderline(copies, rule, options.borderline)
    aligned = evidence.align_best(copies, train, sides.synthetic, borderline, options)
    control_ssim = evidence.control_ssim(sides, neighbours, options.verified)
    _, negative = evidence.negative_controls(sides, neighbours)
    confirmed_above = evidence.confirmation_limit(
        control_ssim, negative.subjects, len(sides.synthetic.pack.keys), _MOST_ERROR
    )
    confirmed = evidence.confirmed(copies, aligned, confirmed_above)
    chance = _chance(sides, neighbours, tools.seed)
    found = leakage.leakage_figures(
        copies, confirmed, rule, train.subjects, sides.synthetic.subjects, **bootstrap,  # type: ignore[arg-type]
    )  # fmt: skip
    controls = _controls(train, rule, options, tools)
    found["holdout_copied"] = _holdout_copied(sides, neighbours, rule, options.confidence)
    found["with_missed"] = leakage.with_missed(
        copies, rule, controls, train.subjects, sides.synthetic.subjects, confidence=options.confidence, seed=tools.seed
    )
    return AuditFigures(
        verdict=_verdict(copies, confirmed, chance, rule, complete=complete),
        chance=chance,
        rule=rule,
        copies=copies,
        leakage=found,
        aligned=aligned,
        confirmed=confirmed,
        confirmed_above=confirmed_above,
        controls=controls,
        membership=_membership(sides, neighbours, bootstrap),
        findings=[*findings, *evidence.same_pictures(sides, neighbours, control_ssim), *_unlike(sides, neighbours)],
        borderline=borderline,
    )


def _chance(sides: Sides, neighbours: Neighbours, seed: int) -> float:
    """Return the probability that the synthetic images have so many of the highest scores by chance."""
    controls, side = evidence.negative_controls(sides, neighbours)
    if not controls.scores.shape[1]:
        return 1.0
    best = neighbours.synthetic.scores[:, 0]
    return excess_probability(best, sides.synthetic.subjects, controls.scores[:, 0], side.subjects, seed)


def _unlike(sides: Sides, neighbours: Neighbours) -> list[Finding]:
    controls, _ = evidence.negative_controls(sides, neighbours)
    best = controls.scores[:, 0] if controls.scores.shape[1] else np.zeros(0)
    message = unlike_any(neighbours.synthetic.scores[:, 0], best)
    return [Finding("synthetic images unlike any training image", message, [], True)] if message else []


def _rule(sides: Sides, neighbours: Neighbours, options: AuditConfig, seed: int) -> Rule:
    confidence = options.confidence
    if sides.holdout is None:
        return published_rule(neighbours, sides.train.subjects, confidence=confidence)
    rate = options.false_positive_rate
    return calibrated_rule(neighbours, sides.holdout.subjects, rate=rate, confidence=confidence, seed=seed)


def _holdout_copied(sides: Sides, neighbours: Neighbours, rule: Rule, confidence: float) -> Interval | None:
    """Return the rate of training images copied that chance explains: that of held-out images."""
    if sides.holdout is None or neighbours.holdout_synthetic is None:
        return None
    best = neighbours.holdout_synthetic.scores[:, 0].astype(np.float64)
    return rate_by_group(best > rule.threshold, sides.holdout.subjects, confidence)


def _controls(train: Side, rule: Rule, options: AuditConfig, tools: AuditTools) -> list[Control]:
    rows = choose_controls(train.subjects, options.controls, tools.seed)
    embeddings = [shape.embeddings for shape in train.shapes]
    originals = Originals(embeddings, train.subjects, rows, options.top_k, options.confidence, tools.threads)
    chosen = [ImagePack(np.asarray(pack.images)[rows], [pack.keys[row] for row in rows]) for pack in train.packs]
    others = chosen if len(rows) > 1 else train.packs  # the chosen ones are of as many subjects as possible
    copies: dict[str, list[ImagePack]] = {
        name: [distort(pack, name, tools.seed, others=more) for pack, more in zip(chosen, others, strict=True)]
        for name, change in DISTORTIONS.items()
        if not change.mixes or len(train.subjects) > 1
    }
    if tools.reconstruct is not None:
        copies["autoencoder"] = [tools.reconstruct(pack) for pack in chosen]
    return [
        positive_control(name, [tools.embed(pack) for pack in packs], originals, rule) for name, packs in copies.items()
    ]


def _verdict(copies: leakage.Copies, confirmed: np.ndarray, chance: float, rule: Rule, *, complete: bool) -> Verdict:
    if copies.identical.any() or confirmed.any():
        return Verdict.COPIES
    if rule.limit is not None and rule.limit.groups < LEAST_GROUPS:
        return Verdict.CANNOT_TELL  # a limit that few people set says little, and could be too high for any copy
    if chance < _MOST_ERROR:
        return Verdict.COPIES
    if not complete:
        return Verdict.CANNOT_TELL  # what was not looked at cannot be cleared
    if copies.flagged.any() and not len(rule.alarms):
        return Verdict.CANNOT_TELL  # without images of other subjects, nobody knows what chance explains
    return Verdict.CANDIDATES if copies.flagged.any() else Verdict.NONE


def _borderline(copies: leakage.Copies, rule: Rule, count: int) -> np.ndarray:
    """Return the images closest to the limit on both sides, at most `count`."""
    apart = np.abs(copies.scores - rule.threshold)
    order = np.argsort(np.where(copies.identical, np.inf, apart), kind="stable")
    above = [row for row in order if copies.flagged[row] and not copies.identical[row]]
    below = [row for row in order if not copies.flagged[row]]
    return np.array(sorted([*above[: count // 2], *below[: count - count // 2]]), dtype=np.int64)


def _membership(sides: Sides, neighbours: Neighbours, bootstrap: dict[str, Any]) -> dict[str, Any]:
    train, synthetic, holdout = sides.train, sides.synthetic, sides.holdout
    if holdout is None:
        return {}
    to_train, to_holdout = neighbours.synthetic, neighbours.synthetic_holdout
    of_holdout, from_holdout = neighbours.holdout, neighbours.holdout_synthetic
    assert to_holdout is not None and of_holdout is not None and from_holdout is not None  # noqa: PT018
    cells = membership.cells_of(
        train.embeddings.values, synthetic.embeddings.values, holdout.embeddings.values,
        seed=derive_seed(bootstrap["seed"], "cells"),
    )  # fmt: skip
    first = partial(np.take, indices=0, axis=1)
    return {
        "membership_inference": membership.membership_inference(
            first(neighbours.train.scores), first(from_holdout.scores), [*train.subjects, *holdout.subjects], **bootstrap
        ),
        "closest_record": membership.closest_record_share(
            first(to_train.scores), first(to_holdout.scores),
            len(train.pack.keys), len(holdout.pack.keys),
        ),
        "data_copying": membership.data_copying(first(to_train.scores), first(of_holdout.scores), *cells),
        "nearest_two": membership.nearest_two(nearest_two_ratios(to_train), nearest_two_ratios(of_holdout)),
    }  # fmt: skip
