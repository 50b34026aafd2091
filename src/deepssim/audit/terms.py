"""The terms of the report's page, in the words of its readers; the documentation has a glossary for its own.

Not here: sentences that depend on what was found (wording.py, phrases.py).
"""

from deepssim.audit.scan_words import said
from deepssim.audit.wording import Circumstances
from deepssim.config.choices import AuditUnit

_TERMS = (
    ("training image", "image that the generator was trained on, in the first folder that the audit was given"),
    ("held-out image", "real image of a patient on whom the generator was not trained; it cannot have been copied"),
    ("subject", "patient, or whoever or whatever is named as one; all images of a subject are evidence of one person"),
    (
        "score",
        "how much a synthetic image resembles the training image that it resembles most, after both were brought onto each other; "
        "unrelated images reach about 1",
    ),
    (
        "limit",
        "score above which an image is called a copy; it is set so that unrelated images rarely exceed it (a quantile of their scores, "
        "which holds whatever their distribution: conformal)",
    ),
    (
        "copy, called",
        "image whose score exceeds the limit: some can be false alarms, which the rate without false alarms accounts for",
    ),
    ("copy, confirmed", "image with a score that none of so many unrelated images would reach: a copy by itself"),
    ("copy, identical", "image that equals a training image in every pixel, once both have the size of the audit"),
    ("copy, partial", "image of which a large part was copied and another part was replaced"),
    (
        "control",
        "image whose answer is known: a negative control cannot be a copy, and a positive control is a copy made by the audit to see "
        "whether it is found",
    ),
    ("keypoint", "small detail with a recognisable surrounding, such as an edge of a bone"),
    ("SSIM", "structural similarity of two images, 1 for equal ones"),
    (
        "N_copies, N_mem",
        "fraction of synthetic images that are copies, and of training images that are copied, in the literature",
    ),
)


_OF_IMAGES = ("keypoint", "copy, partial")  # which audits of volumes do not have


def terms(case: Circumstances) -> list[tuple[str, str]]:
    """Return the terms of the page with their meaning.

    Args:
        case: what the sentences depend on.
    """
    found = [
        *(item for item in _TERMS if case.what is AuditUnit.IMAGE or item[0] not in _OF_IMAGES),
        (
            "interval",
            f"range in which the true value lies with the stated confidence, over {case.unit.many}; exact ones are those of Clopper and "
            "Pearson, after Korn and Graubard where one of them has several images, the rule of three where nothing was counted, and "
            "others come from leaving out one after the other (jackknife)",
        ),
    ]
    return [(said(term, case.what), said(meaning, case.what)) for term, meaning in found]
