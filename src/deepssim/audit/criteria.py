"""Which questions of data-protection authorities an audit answers, by which result, and which it did not try to answer.

The names are those of EDPB Opinion 28/2024 (tests of resistance to attacks) and of the criteria for anonymisation in
Opinion 05/2014 of the Article 29 Working Party (WP216).

Not here: the results (examination.py, further.py), what they mean for a release, which is for people to decide.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from deepssim.audit.interval_text import number_text, points_text, rate_text
from deepssim.audit.units import agree, over
from deepssim.evaluation.verdict import Verdict

EDPB = "EDPB Opinion 28/2024"
WP216 = "Article 29 Working Party, Opinion 05/2014"


class Status(StrEnum):
    """Whether an audit tried to answer a question."""

    TRIED = "tried"
    IN_PART = "tried in part"
    NOT_TRIED = "not tried"


@dataclass(frozen=True)
class Criterion:
    """A question and what this audit says to it.

    Attributes:
        name: as in the source.
        source: of the question.
        question: in words.
        status: whether it was tried.
        answer: result of this run, or why it was not tried.
        limits: what the result leaves open; empty if it was not tried.
    """

    name: str
    source: str
    question: str
    status: Status
    answer: str
    limits: str = ""


def criteria(summary: Mapping[str, Any]) -> list[Criterion]:
    """Return all questions with the answers of one audit.

    Args:
        summary: plain values as in summary.json; `figures`, `controls`, `further`, `rule` and `verdict` are used.
    """
    many = summary["rule"]["counted"]
    found = [item if isinstance(item, Criterion) else item(summary) for item in _QUESTIONS]
    return [replace(item, answer=over(item.answer, many.removesuffix("s"), many)) for item in found]


def _called(number: int) -> str:
    return agree(number, "is called a copy", "are called copies")


def _regurgitation(summary: Mapping[str, Any]) -> Criterion:
    figures = summary["figures"]
    flagged, identical = figures["flagged_share"], figures["identical"]
    answered = summary["verdict"]["result"] != Verdict.CANNOT_TELL
    rate = f"; without false alarms: {rate_text(figures['synthetic_that_copy'])}" if answered else ""
    answer = (
        f"{flagged['count']:,} of {flagged['total']:,} synthetic images {_called(flagged['count'])} of a training image, {identical:,} of "
        f"them identical in every pixel{rate}. Verdict: {summary['verdict']['result']}."
    )
    return Criterion(
        "Regurgitation of training data", EDPB, "Does the model give out training images?",
        Status.TRIED if answered else Status.IN_PART, answer,
        "Only the images that were given were judged; further images of the generator can be copies.",
    )  # fmt: skip


_EXFILTRATION = Criterion(
    "Exfiltration", EDPB, "Can training data be extracted by queries made for that purpose?", Status.NOT_TRIED,
    "The audit made no queries to the generator; it judged images that had been made before.",
)  # fmt: skip


def _membership(summary: Mapping[str, Any]) -> Criterion:
    name, question = "Membership inference", "Can it be told whether a person's images were used for training?"
    found = summary["further"]["membership"]
    if found["reason"] is not None:
        return Criterion(name, EDPB, question, Status.NOT_TRIED, f"It needs held-out images: {found['reason']}.")
    chance = found["members_against_members"]
    by_chance = (
        f"the range of random divisions of the training subjects is not known, since it {chance['reason']}"
        if chance["reason"]
        else f"random divisions of the training subjects reach {chance['low']:.2f} to {chance['high']:.2f}"
    )
    exceeds = {True: "The attack exceeds this range", False: "The attack does not exceed this range"}.get(
        found["exceeds"]
    )
    answer = f"AUROC (0.5 is guessing) {number_text(found['members_against_non_members'])}; {by_chance}.{f' {exceeds}.' if exceeds else ''}"
    return Criterion(
        name, EDPB, question, Status.IN_PART, answer,
        "One attack was tried, by similarity to the synthetic images; attacks with the weights, or with further generators "
        "trained for comparison, can be stronger.",
    )  # fmt: skip


_ATTRIBUTE_INFERENCE = Criterion(
    "Attribute inference", EDPB, "Can an unknown attribute of a person in the training images be inferred?", Status.NOT_TRIED,
    "The audit compares images and infers no attributes of the persons.",
)  # fmt: skip


_MODEL_INVERSION = Criterion(
    "Model inversion", EDPB, "Can training data be computed from the model's parameters or outputs?", Status.NOT_TRIED,
    "The audit had no access to the generator.",
)  # fmt: skip


_RECONSTRUCTION = Criterion(
    "Reconstruction attacks", EDPB, "Can an attacker who knows part of an image recover the rest of it?", Status.NOT_TRIED,
    "No image was completed or optimised towards a training image.",
)  # fmt: skip


def _singling_out(summary: Mapping[str, Any]) -> Criterion:
    copied, phantoms, people = (
        summary["figures"]["subjects_copied"],
        summary["further"]["phantoms"],
        summary["rule"]["counted"],
    )
    status = Status.NOT_TRIED if copied is None and phantoms["reason"] is not None else Status.IN_PART
    answer = f"How many persons are copied is not known, since patients are not known; {people} are counted instead"
    if copied is not None:
        answer = (
            f"{copied['count']:,} of {copied['total']:,} training subjects {agree(copied['count'], 'has', 'have')} an image that a "
            "synthetic image is called a copy of"
        )
    if phantoms["reason"] is None:
        answer += (
            f"; compared with held-out {people} in one gallery, {rate_text(phantoms['training'])} of the training {people} and "
            f"{rate_text(phantoms['holdout'])} of the held-out {people} look copied, a difference of "
            f"{points_text(phantoms['difference'])}"
        )
    else:
        answer += f"; how many would by chance is not known, since {phantoms['reason']}"
    return Criterion(
        "Singling out", WP216, "Can a person be isolated in the released data?", status, f"{answer}.",
        "" if status is Status.NOT_TRIED
        else "Isolation by a copied image was tried, not by rare features such as a device, a lesion or burnt-in text.",
    )  # fmt: skip


def _linkability(summary: Mapping[str, Any]) -> Criterion:
    flagged = summary["figures"]["flagged_share"]
    answer = f"No synthetic image of {flagged['total']:,} is called a copy; missed copies could be linked to a training image."
    if flagged["count"]:
        answer = (
            f"{flagged['count']:,} of {flagged['total']:,} synthetic images {_called(flagged['count'])}, and could be linked to a training "
            "image, right or by chance, by whoever has it; missed copies could be, too."
        )
    same = summary["controls"]["same_subject"]
    limits = "Links of other images of the same persons, and with other data sets, were not tried."
    if same["reason"] is None:
        answer += (
            f" Of real training images, {rate_text(same['called'])} are called copies of another image of the same person: new "
            "images of these persons could be linked as often."
        )
        limits = "Links with other data sets were not tried."
    return Criterion("Linkability", WP216, "Can two records of one person be linked?", Status.IN_PART, answer, limits)


_INFERENCE = Criterion(
    "Inference", WP216, "Can the value of an attribute be deduced from the values of others?", Status.NOT_TRIED,
    "The audit compares images and infers no attributes of the persons.",
)  # fmt: skip


_QUESTIONS: tuple[Criterion | Callable[[Mapping[str, Any]], Criterion], ...] = (
    _regurgitation,
    _EXFILTRATION,
    _membership,
    _ATTRIBUTE_INFERENCE,
    _MODEL_INVERSION,
    _RECONSTRUCTION,
    _singling_out,
    _linkability,
    _INFERENCE,
)
