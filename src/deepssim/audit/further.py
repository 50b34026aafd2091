"""Statistics beside the verdict: what chance explains of it, how it compares between studies, and how good the images are.

Membership inference against random divisions of the members, membership disclosure, copies of held-out subjects by the
same rule, a lower bound on epsilon, the memorization index, and fidelity.

Not here: the verdict (examination.py), what it rests on (leakage.py, membership.py), how it is shown (page.py).
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from deepssim.audit.calibration import Rule
from deepssim.audit.evidence import Best
from deepssim.audit.leakage import Copies
from deepssim.audit.membership import membership_inference
from deepssim.audit.phantoms import Phantoms, phantom_figures
from deepssim.audit.random_draw import RandomDraw
from deepssim.audit.retrieval import Neighbours
from deepssim.audit.sides import Sides
from deepssim.detection.gallery import single_threaded_libraries
from deepssim.detection.score import IMAGES, CueSet, Score, default_score
from deepssim.evaluation.disclosure import membership_disclosure
from deepssim.evaluation.fidelity import fidelity
from deepssim.evaluation.groups import group_codes
from deepssim.evaluation.memorization import memorization_index, memorization_summary, standardised_excess
from deepssim.evaluation.one_run import epsilon_bound, one_run_bound
from deepssim.evaluation.split_bias import compared_with_chance, split_bias

_FEW_FALSE = 0.001  # second false-positive rate at which the true-positive rate is given
_NO_HOLDOUT = "there are no held-out images that could be used"
_NOT_SOUGHT = "the synthetic images were not compared with held-out images"


@dataclass(frozen=True)
class FurtherFigures:
    """Further results of an audit.

    Attributes:
        summary: plain values and intervals by name, for summary.json.
        excess: of each synthetic image over the negative controls, in their standard deviations, float64 (S,); NaN
            where not known, infinity where identical to a training image.
        index: memorization index of each synthetic image, float64 (S,), -1 to 1; NaN where not known.
    """

    summary: dict[str, Any]
    excess: np.ndarray
    index: np.ndarray


def further_figures(
    sides: Sides,
    neighbours: Neighbours | None,
    membership: dict[str, Any],
    copies: Copies,
    negative: Best,
    score: Score,
    rule: Rule,
    phantoms: Phantoms | None,
    *,
    encoder: bool,
    confidence: float,
    repetitions: int,
    seed: int,
    cues: CueSet = IMAGES,
    draw: RandomDraw | None = None,
    prevalence: float = 0.5,
) -> FurtherFigures:
    """Compute all further statistics from what `examination.examine` has computed.

    Args:
        sides: all images.
        neighbours: by embeddings; None without a holdout.
        membership: results of `membership_inference` and others, as in `AuditFigures`; empty without a holdout.
        copies, negative, score, rule: of the audit.
        phantoms: candidates among training and held-out images together; None where they were not sought.
        encoder: whether an encoder's cosines are among the evidence.
        confidence: of intervals.
        repetitions: bootstrap samples of the true-positive rate.
        seed: of all random choices.
        cues: what the evidence consists of.
        draw: how members were drawn at random; None if they were not.
        prevalence: of members among the people whom a membership attack is aimed at.
    """
    common: dict[str, Any] = {"confidence": confidence, "seed": seed}
    scores = np.where(copies.identical, np.inf, copies.scores)
    excess, null_excess = (
        standardised_excess(values, negative.scores, negative.subjects) for values in (scores, negative.scores)
    )
    index = memorization_index(excess)
    with single_threaded_libraries():
        quality = fidelity(
            sides.train.embeddings.values, sides.train.subjects,
            sides.synthetic.embeddings.values, sides.synthetic.groups, seed=seed,
        )  # fmt: skip
    none = {"reason": _NO_HOLDOUT if sides.holdout is None else _NOT_SOUGHT}
    summary = {
        "membership": _membership(sides, neighbours, membership, repetitions, prevalence, common),
        "phantoms": phantom_figures(phantoms, score, rule, confidence=confidence) if phantoms else none,
        "epsilon": epsilon_figures(phantoms, score, rule, draw, encoder=encoder, cues=cues, **common) if phantoms else none,
        "memorization_index": {"null": rule.controls}
        | memorization_summary(
            index, sides.synthetic.groups, memorization_index(null_excess), negative.subjects, **common,
        ),
        "fidelity": quality,
    }  # fmt: skip
    return FurtherFigures(summary, excess, index)


def _membership(
    sides: Sides,
    neighbours: Neighbours | None,
    membership: dict[str, Any],
    repetitions: int,
    prevalence: float,
    common: dict[str, Any],
) -> dict[str, Any]:
    if sides.holdout is None or neighbours is None:
        return {"reason": _NO_HOLDOUT}
    train, holdout = neighbours.train.scores[:, 0], neighbours.holdout_synthetic.scores[:, 0]
    subjects = [*sides.train.subjects, *sides.holdout.subjects]
    attack = membership["membership_inference"]
    chance = split_bias(train, sides.train.subjects, group_codes(sides.holdout.subjects)[1], **common)
    few = membership_inference(train, holdout, subjects, repetitions=repetitions, most_false=_FEW_FALSE, **common)
    return {
        "members_against_non_members": attack["auroc"],
        "members_against_members": asdict(chance),
        **compared_with_chance(attack["auroc"], chance),
        "disclosure": asdict(membership_disclosure(train, holdout, subjects, prevalence=prevalence, **common)),
        "true_positive_rates": [
            {"false_positive_rate": found["fpr"], "rate": found["tpr_at_fpr"]} for found in (attack, few)
        ],
        "reason": None,
    }


def epsilon_figures(
    phantoms: Phantoms,
    score: Score,
    rule: Rule,
    draw: RandomDraw | None,
    *,
    encoder: bool,
    confidence: float,
    seed: int,
    cues: CueSet = IMAGES,
) -> dict[str, Any]:
    """Return lower bounds on epsilon of subject-level differential privacy.

    `ranked` guesses that the subjects with the highest scores are members, by the score that no audit has taught, so
    that it cannot depend on who is one. `counted` guesses that every subject who looks copied is a member; the audit's
    score and limit were learned from members and non-members, so that it is always indicative.

    Args:
        phantoms: candidates among both sides.
        score, rule: of the audit.
        draw: how members were drawn at random; None if they were not.
        encoder: whether an encoder's cosines are among the evidence.
        confidence: of the bounds, one-sided.
        seed: orders equal scores.
        cues: what the evidence consists of.

    Returns:
        `ranked` and `counted` with `epsilon`, `guesses` and `correct`; `inclusion`, the probability that a subject is
        a member; `valid`: whether `ranked` is a bound with the stated confidence; `reason`: why it is merely
        indicative, or None.

    Source: see `one_run.epsilon_bound`; derivation in docs/audit.md.
    """
    members, people = phantoms.members, sorted(set(phantoms.subjects))
    chosen = np.ones(len(people), bool)
    if draw is not None and draw.subjects is not None:
        chosen = np.array([name.partition(" ")[2] in draw.subjects for name in people], bool)
    members = members[chosen]
    reasons = _doubts(members, draw, encoder, phantoms.left_out)
    if not members.any() or members.all():
        return {"ranked": None, "counted": None, "inclusion": None, "valid": False, "reason": "; ".join(reasons)}
    inclusion = float(members.mean()) if draw is None else draw.inclusion
    blind = phantoms.subject_scores(default_score(phantoms.found.cues.shape[2], cues))[chosen]
    ranked = one_run_bound(blind, members, inclusion=inclusion, confidence=confidence, seed=seed)
    copied = rule.flags(phantoms.subject_scores(score)[chosen])
    guesses, correct = int(copied.sum()), int((copied & members).sum())
    counted = epsilon_bound(correct, guesses, inclusion=inclusion, confidence=confidence)
    return {
        "ranked": asdict(ranked),
        "counted": {"epsilon": counted, "guesses": guesses, "correct": correct},
        "inclusion": inclusion,
        "valid": not reasons,
        "reason": "; ".join(reasons) or None,
    }


def _doubts(members: np.ndarray, draw: RandomDraw | None, encoder: bool, left_out: int) -> list[str]:
    """Return why a bound on epsilon is merely indicative."""
    found = []
    if draw is None:
        found.append(
            "members were not drawn at random, so that other differences between the sides can look like leakage"
        )
    if encoder:
        found.append("an encoder that may have been trained on members is among the evidence")
    if draw is not None and draw.absent:
        found.append(f"of {draw.absent:,} subjects who took part in the draw there are no images")
    if left_out:
        found.append(f"{left_out:,} held-out images were left out after the draw")
    if not members.any() or members.all():
        found.append("the draw has no members or no non-members")
    return found
