"""The audit among the detectors of copies_rivals.py: the same examination that `deepssim audit` makes of folders.

All images but the held-out ones are judged as if they were one folder of synthetic images. The audit leaves held-out images out of
its calibration that show a training image of another name; they get no score.

Not here: images and their copies (copies_data.py), figures and tables (copies.py).
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.copies_rivals import Detector, Part, Scores
from deepssim.audit.cache import AuditCache
from deepssim.audit.controls import choose_controls
from deepssim.audit.engine import embed_patterns
from deepssim.audit.evidence import Best
from deepssim.audit.examination import examine
from deepssim.audit.sides import AuditTools, Side, Sides
from deepssim.config.audit import AuditConfig
from deepssim.images.folders import pixel_hashes
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import Geometry, fit, quantise

OPTIONS = AuditConfig()
_APART = (
    60  # training images whose subjects are not copied by the benchmark; the audit's controls are the first of them
)
SEED = 1  # of the audit's positive controls; the benchmark's own copies are made with another


def copied_by_audit(subjects: Sequence[str]) -> set[str]:
    """Return the subjects of training images that the audit copies itself, to learn its score and as positive controls."""
    return {subjects[row] for row in choose_controls(subjects, _APART, SEED)}


def judge_by_audit(train: Part, parts: Sequence[Part], threads: int) -> list[Scores]:
    """Audit all parts but the first, which is the holdout, as one set of synthetic images.

    Args:
        train: training images.
        parts: held-out images, then others.
        threads: processor threads.

    Returns:
        The scores of each part; NaN for held-out images that the audit leaves out of its calibration.
    """
    tools = AuditTools(embed_patterns, False, SEED, threads)
    held_out, others = parts[0], _joined(parts[1:])
    sides = Sides(_side(train), _side(others), _side(held_out))
    # A folder of its own: what an earlier run kept would make this one look faster.
    with TemporaryDirectory() as folder:
        figures = examine(sides, [], OPTIONS, tools, AuditCache(Path(folder)))
    ends = np.cumsum([len(part.subjects) for part in parts[1:]])[:-1]
    judged = zip(np.split(figures.copies.scores, ends), np.split(figures.copies.original, ends), strict=True)
    return [_of_held_out(figures.negative, held_out.subjects), *judged]


def _side(part: Part) -> Side:
    """Return images as the audit reads them from a folder."""
    size = (OPTIONS.compared_at, OPTIONS.compared_at)
    images = np.stack([quantise(fit(image, size, Geometry.SQUASH), part.pack.bit_depth) for image in part.pack.unit()])
    pack = ImagePack(images, part.pack.keys)
    return Side(pack, pixel_hashes(pack), part.subjects, embed_patterns(pack))


def _joined(parts: Sequence[Part]) -> Part:
    # Keys of different parts can be equal.
    keys = [f"{number}: {key}" for number, part in enumerate(parts) for key in part.pack.keys]
    images = np.concatenate([part.pack.images for part in parts])
    return Part(ImagePack(images, keys), [subject for part in parts for subject in part.subjects])


def _of_held_out(negative: Best, subjects: Sequence[str]) -> Scores:
    """Return the scores of held-out images; the audit leaves whole subjects out and keeps the order of the others."""
    scores, partners = np.full(len(subjects), np.nan), np.full(len(subjects), -1, np.int64)
    used = np.isin(np.asarray(subjects, dtype=object).astype(str), negative.subjects)
    scores[used], partners[used] = negative.scores, negative.partners
    return scores, partners


AUDIT = Detector("audit", "deepssim audit", judge_by_audit)
