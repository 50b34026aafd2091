"""Controls: copies that must be found. They say how much a verdict is worth.

Not here: the distortions (images/distort.py), negative controls, which calibrate the rule (calibration.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepssim.audit.calibration import Rule
from deepssim.audit.retrieval import merge_lists, neighbourhood_ratios
from deepssim.evaluation.groups import rate_by_group
from deepssim.evaluation.intervals import Interval
from deepssim.seeds import numpy_generator
from deepssim.similarity.embedding_scores import EmbeddingComparison
from deepssim.similarity.embeddings import Embeddings
from deepssim.similarity.topk import top_k


@dataclass(frozen=True)
class Control:
    """What became of copies that went through one distortion.

    Attributes:
        distortion: its name.
        found: share that the rule calls copies.
        traced: share that the rule calls copies of the right subject.
        median_score: of the best score of each copy.
    """

    distortion: str
    found: Interval
    traced: Interval
    median_score: float


@dataclass(frozen=True)
class Originals:
    """Training images that copies are looked for among.

    Attributes:
        embeddings: of all training images, for each geometry in which images are compared.
        subjects: of all training images.
        rows: which of them were copied.
        k: partners of a copy that the rule looks at.
        confidence: of intervals.
        threads: processor threads.
    """

    embeddings: Sequence[Embeddings]
    subjects: Sequence[str]
    rows: Sequence[int]
    k: int
    confidence: float
    threads: int = 1


def choose_controls(subjects: Sequence[str], count: int, seed: int) -> list[int]:
    """Choose training images to copy, of as many subjects as possible.

    Args:
        subjects: of the training images.
        count: images to choose at most.
        seed: of the choice.

    Returns:
        Row numbers, increasing.
    """
    rows = list(range(len(subjects)))
    numpy_generator(seed, "controls").shuffle(rows)
    seen: dict[str, int] = {}
    turn = []
    for row in rows:
        turn.append(seen.get(subjects[row], 0))
        seen[subjects[row]] = turn[-1] + 1
    order = np.argsort(turn, kind="stable")[:count]
    return sorted(rows[place] for place in order)


def positive_control(distortion: str, copies: Sequence[Embeddings], originals: Originals, rule: Rule) -> Control:
    """See which of the distorted copies the rule finds.

    Args:
        distortion: its name.
        copies: embeddings of the copies, in the order of `originals.rows`, for each geometry.
        originals: the training images.
        rule: of the audit.
    """
    lists = []
    for real, other in zip(originals.embeddings, copies, strict=True):
        comparison = EmbeddingComparison(real, other, threads=originals.threads)
        _, nearest = top_k(comparison, originals.k, threads=originals.threads, rows=False)
        assert nearest is not None
        lists.append(nearest)
    best = merge_lists(lists)
    found = rule.flags(best.scores[:, 0], neighbourhood_ratios(best, originals.subjects))
    names = np.asarray(originals.subjects, dtype=object).astype(str)
    right = names[best.partners[:, 0]] == names[list(originals.rows)]
    whose = [names[row] for row in originals.rows]
    return Control(
        distortion,
        rate_by_group(found, whose, originals.confidence),
        rate_by_group(found & right, whose, originals.confidence),
        float(np.median(best.scores[:, 0])),
    )
