"""One audit: from embeddings of three sets of images to a verdict, its figures and its controls.

Not here: reading and embedding images (stages/audit.py), how it is shown (reporting/).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

import numpy as np
from tqdm import tqdm

from deepssim.config import AuditConfig
from deepssim.encoders.embeddings import Embeddings
from deepssim.evaluation import leakage, membership
from deepssim.evaluation.calibration import Rule, calibrated_rule, published_rule, share_with
from deepssim.evaluation.controls import Control, Originals, choose_controls, positive_control
from deepssim.evaluation.intervals import Interval, more_than_controls
from deepssim.evaluation.labels import TRUTH
from deepssim.evaluation.neighbours import Neighbours, nearest_two_ratios
from deepssim.evaluation.preflight import Finding, suspicious_pairs
from deepssim.images.align import Aligned, align
from deepssim.images.distort import DISTORTIONS, distort
from deepssim.images.packs import ImagePack
from deepssim.seeds import derive_seed
from deepssim.similarity.topk import TopK

_MOST_CHANCE = 0.05  # probability below which an excess over the controls is no chance
_SAME_PICTURE = 0.95  # SSIM after alignment of two images of one moment
_SUSPECTS = 50  # pairs of real images that are aligned to find the same picture under two names


class Verdict(StrEnum):
    """What an audit found."""

    COPIES = "copies found"
    CANDIDATES = "candidates, but no more than chance explains"
    NONE = "no copies found"


@dataclass(frozen=True)
class Side:
    """One set of images.

    Attributes:
        pack: images and keys.
        content: hash of each image's pixels.
        subjects: of each image; every synthetic image has an empty one.
        embeddings: in the order of the pack.
    """

    pack: ImagePack
    content: list[str]
    subjects: list[str]
    embeddings: Embeddings


@dataclass(frozen=True)
class Sides:
    """The three sets of an audit; no image or subject of the holdout is in the training set."""

    train: Side
    synthetic: Side
    holdout: Side | None


@dataclass(frozen=True)
class Means:
    """What an audit works with: the encoder, the generator's autoencoder if there is one, seed and processor threads."""

    embed: Callable[[ImagePack], Embeddings]
    seed: int
    threads: int = 1
    reconstruct: Callable[[ImagePack], ImagePack] | None = None


@dataclass(frozen=True)
class AuditFigures:
    """All that an audit found.

    Attributes:
        verdict: in short.
        chance: probability of so many candidates beyond the controls by chance; 1 without controls.
        rule, copies, leakage: when an image is a copy, which are, and what that means for images and subjects.
        aligned: best candidates and borderline images, by row, brought onto their original.
        confirmed: bool (S,), candidates that exact SSIM after alignment confirms.
        confirmed_above: the SSIM they must exceed: 0.85, or what controls reach where that is more.
        controls: positive controls.
        membership: what the synthetic images say as a whole; empty without a holdout.
        findings: what is wrong with the data.
        borderline: synthetic images next to the limit.
    """

    verdict: Verdict
    chance: float
    rule: Rule
    copies: leakage.Copies
    leakage: dict[str, Any]
    aligned: dict[int, Aligned]
    confirmed: np.ndarray
    confirmed_above: float
    controls: list[Control]
    membership: dict[str, Any]
    findings: list[Finding]
    borderline: np.ndarray


def examine(
    sides: Sides, neighbours: Neighbours, findings: Sequence[Finding], options: AuditConfig, means: Means
) -> AuditFigures:
    """Judge synthetic images.

    Args:
        sides: all images.
        neighbours: their nearest images.
        findings: of the pre-flight so far.
        options, means: section `audit`, and what to work with.
    """
    train = sides.train
    bootstrap = {"confidence": options.confidence, "repetitions": options.bootstrap, "seed": means.seed}
    share_of = share_with(**bootstrap)  # type: ignore[arg-type]
    rule = _rule(sides, neighbours, options, share_of, means.seed)
    copies = leakage.find_copies(neighbours, rule, train.subjects, train.content, sides.synthetic.content)
    borderline = _borderline(copies, rule, options.borderline)
    aligned = _align_best(copies, train, sides.synthetic, borderline, options)
    control_ssim = _control_ssim(sides, neighbours, options.verified)
    confirmed_above = max(TRUTH.high, float(np.nanmax(control_ssim, initial=-1.0)))
    confirmed = _confirmed(copies, aligned, confirmed_above)
    chance = _chance(copies, rule)
    found = leakage.leakage_figures(copies, rule, train.subjects, share_of=share_of, **bootstrap)  # type: ignore[arg-type]
    controls = _controls(train, rule, options, means)
    found["holdout_copied"] = _holdout_copied(sides, neighbours, rule, share_of)
    found["with_missed"] = leakage.with_missed(copies, rule, controls, confidence=options.confidence, seed=means.seed)
    return AuditFigures(
        verdict=_verdict(copies, confirmed, chance),
        chance=chance,
        rule=rule,
        copies=copies,
        leakage=found,
        aligned=aligned,
        confirmed=confirmed,
        confirmed_above=confirmed_above,
        controls=controls,
        membership=_membership(sides, neighbours, bootstrap),
        findings=[*findings, *_same_pictures(sides, neighbours, control_ssim)],
        borderline=borderline,
    )


def _chance(copies: leakage.Copies, rule: Rule) -> float:
    return more_than_controls(int(copies.flagged.sum()), len(copies.flagged), int(rule.alarms.sum()), len(rule.alarms))


def _confirmed(copies: leakage.Copies, aligned: dict[int, Aligned], limit: float) -> np.ndarray:
    """Return the candidates whose SSIM after alignment is above a limit; identical ones need no confirmation."""
    confirmed = copies.flagged & ~copies.identical
    return confirmed & [row in aligned and aligned[row].ssim > limit for row in range(len(confirmed))]


def _rule(
    sides: Sides, neighbours: Neighbours, options: AuditConfig, share_of: Callable[..., Interval], seed: int
) -> Rule:
    if sides.holdout is None:
        return published_rule(neighbours, sides.train.subjects, share_of=share_of)
    rate = options.false_positive_rate
    return calibrated_rule(neighbours, sides.holdout.subjects, rate=rate, share_of=share_of, seed=seed)


def _holdout_copied(
    sides: Sides, neighbours: Neighbours, rule: Rule, share_of: Callable[..., Interval]
) -> Interval | None:
    """Return what the share of training images copied would be by chance: that of held-out images."""
    if sides.holdout is None or neighbours.holdout_synthetic is None:
        return None
    best = neighbours.holdout_synthetic.scores[:, 0].astype(np.float64)
    return share_of(best > rule.threshold, sides.holdout.subjects)


def _controls(train: Side, rule: Rule, options: AuditConfig, means: Means) -> list[Control]:
    rows = choose_controls(train.subjects, options.controls, means.seed)
    originals = Originals(train.embeddings, train.subjects, rows, options.top_k, options.confidence, means.threads)
    chosen = ImagePack(np.asarray(train.pack.images)[rows], [train.pack.keys[row] for row in rows])
    copies: dict[str, ImagePack] = {name: distort(chosen, name, means.seed) for name in DISTORTIONS}
    if means.reconstruct is not None:
        copies["autoencoder"] = means.reconstruct(chosen)
    return [positive_control(name, means.embed(pack), originals, rule) for name, pack in copies.items()]


def _verdict(copies: leakage.Copies, confirmed: np.ndarray, chance: float) -> Verdict:
    if copies.identical.any() or confirmed.any() or chance < _MOST_CHANCE:
        return Verdict.COPIES
    return Verdict.CANDIDATES if copies.flagged.any() else Verdict.NONE


def _borderline(copies: leakage.Copies, rule: Rule, count: int) -> np.ndarray:
    """Return the images next to the limit on both sides, at most `count`."""
    apart = np.abs(copies.scores - rule.threshold)
    order = np.argsort(np.where(copies.identical, np.inf, apart), kind="stable")
    above = [row for row in order if copies.flagged[row] and not copies.identical[row]]
    below = [row for row in order if not copies.flagged[row]]
    return np.array(sorted([*above[: count // 2], *below[: count - count // 2]]), dtype=np.int64)


def best_rows(copies: leakage.Copies, count: int) -> np.ndarray:
    """Return the synthetic images that resemble a training image most, best first."""
    return np.argsort(-copies.scores, kind="stable")[:count]


def _align_best(
    copies: leakage.Copies, train: Side, synthetic: Side, borderline: np.ndarray, options: AuditConfig
) -> dict[int, Aligned]:
    rows = np.unique(np.concatenate([best_rows(copies, max(options.verified, options.gallery)), borderline]))
    return _align_pairs(train.pack, copies.original, synthetic.pack, rows)


def _align_pairs(real: ImagePack, partners: np.ndarray, other: ImagePack, rows: np.ndarray) -> dict[int, Aligned]:
    """Bring images `rows` of a pack onto their partners in another one."""
    found = {}
    for row in tqdm(rows.tolist(), desc="aligning", unit="pair", disable=None):
        pair = ImagePack(np.stack([real.images[partners[row]], other.images[row]]), ["real", "other"]).unit()
        found[row] = align(*pair)
    return found


def _negative_controls(sides: Sides, neighbours: Neighbours) -> tuple[TopK, Side]:
    """Return the images that cannot be copies, with their nearest training images."""
    if sides.holdout is None:
        return neighbours.train_others, sides.train
    assert neighbours.holdout is not None
    return neighbours.holdout, sides.holdout


def _control_ssim(sides: Sides, neighbours: Neighbours, count: int) -> np.ndarray:
    """Align the negative controls that resemble a training image most; float64 (N,), NaN for the others."""
    best, side = _negative_controls(sides, neighbours)
    if not best.scores.shape[1]:
        return np.full(len(side.pack.keys), np.nan)
    rows = np.argsort(-best.scores[:, 0], kind="stable")[: max(count, _SUSPECTS)]
    ssim = np.full(len(side.pack.keys), np.nan)
    for row, aligned in _align_pairs(sides.train.pack, best.partners[:, 0], side.pack, rows).items():
        ssim[row] = aligned.ssim
    return ssim


def _same_pictures(sides: Sides, neighbours: Neighbours, ssim: np.ndarray) -> list[Finding]:
    """Name controls that are nearly the same picture as a training image of another subject."""
    best, side = _negative_controls(sides, neighbours)
    if not best.scores.shape[1]:
        return []
    pairs = suspicious_pairs(
        best.scores[:, 0], best.partners[:, 0], side.pack.keys, sides.train.pack.keys, ssim, _SAME_PICTURE
    )
    if not pairs:
        return []
    what = "held-out images" if sides.holdout else "training images"
    message = (
        f"{len(pairs)} {what} have an SSIM above {_SAME_PICTURE:g} with a training image of another subject after "
        "alignment; if they are one patient under two names, the limit is too high and hides copies"
    )
    return [Finding("the same picture under two subjects", message, pairs[:20], sides.holdout is not None)]


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
            len(train.pack.keys), len(holdout.pack.keys), bootstrap["confidence"],
        ),
        "data_copying": membership.data_copying(first(to_train.scores), first(of_holdout.scores), *cells),
        "nearest_two": membership.nearest_two(nearest_two_ratios(to_train), nearest_two_ratios(of_holdout)),
    }  # fmt: skip
