"""What to do next follows from the verdict and from its reasons."""

from types import SimpleNamespace

import numpy as np
import pytest

from deepssim.audit.advice import next_steps
from deepssim.audit.context import MISSING_IMAGES
from deepssim.audit.preflight import Finding
from deepssim.audit.second_opinions import READERS_DISAGREE
from deepssim.audit.units import IMAGE, SUBJECT
from deepssim.audit.wording import Circumstances, HoldoutUse
from deepssim.config.audit import AuditConfig
from deepssim.evaluation.verdict import Verdict

OPTIONS = AuditConfig(real="r", synthetic="s")


def steps(
    verdict, *, findings=(), groups=100, doubtful=0, sensitivity=0.9, case=None, unread=0, flagged=0, confirmed=0
):
    called = np.arange(20) < flagged
    figures = SimpleNamespace(
        verdict=verdict, doubtful=doubtful, sensitivity=sensitivity, findings=list(findings),
        rule=SimpleNamespace(limit=SimpleNamespace(groups=groups)), confirmed=np.arange(20) < confirmed,
        copies=SimpleNamespace(flagged=called, identical=np.zeros(20, bool)),
    )  # fmt: skip
    inventories = {"real": SimpleNamespace(unread=[None] * unread, unread_parts={})}
    case = case or Circumstances(HoldoutUse.USED, SUBJECT, 0.01, 0.01, groups)
    return " ".join(next_steps(figures, inventories, OPTIONS, case))


def test_unconfirmed_copies_are_compared_by_eye():
    assert "2 images in drop.txt are neither identical nor confirmed" in steps(Verdict.COPIES, flagged=5, confirmed=3)
    assert "neither identical" not in steps(Verdict.COPIES, flagged=5, confirmed=5)
    assert "recall them" in steps(Verdict.COPIES, flagged=5)


@pytest.mark.parametrize(
    ("reason", "step"),
    [
        ({"groups": 5}, "Give images of 99 or more other subjects"),
        ({"case": Circumstances(HoldoutUse.NOT_GIVEN, IMAGE, 0.05, 0.05, 100)}, "Give images of 20 or more other patients"),
        ({"case": Circumstances(HoldoutUse.USED, IMAGE, 0.01, 0.01, 100)}, "Say which images are of one patient"),
        ({"doubtful": 3}, "3 synthetic images would be called copies by a limit"),
        ({"unread": 2}, "Restore or replace the files that could not be read"),
        ({"sensitivity": 0.2}, "Look at the controls that were not found"),
        ({"findings": [Finding("sheets", "images show several pictures", [], True, True)]}, "images show several pictures"),
        ({"findings": [Finding(READERS_DISAGREE, "", [], True)]}, "that readers call the same image"),
    ],
)  # fmt: skip
def test_each_reason_why_the_audit_cannot_tell_has_its_step(reason, step):
    found = steps(Verdict.CANNOT_TELL, **reason)
    assert found.startswith("This result clears nothing")
    assert step in found
    assert found.endswith("Then repeat the audit.")
    assert step not in steps(Verdict.CANNOT_TELL)


@pytest.mark.parametrize("verdict", Verdict)
def test_missing_training_images_come_before_any_release(verdict):
    assert "with all images that the generator was trained on" in steps(
        verdict, findings=[Finding(MISSING_IMAGES, "", [], True)]
    )
    assert "with all images that the generator was trained on" not in steps(verdict)
