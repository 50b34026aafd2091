"""Controls: copies that must be found. They say how much a verdict is worth.

Not here: the distortions (images/distort.py), negative controls, which calibrate the rule (calibration.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from deepssim.encoders.embeddings import Embeddings
from deepssim.evaluation.calibration import Rule
from deepssim.evaluation.intervals import Interval, share_interval
from deepssim.evaluation.neighbours import neighbourhood_ratios
from deepssim.images.distort import DISTORTIONS, distort
from deepssim.images.packs import ImagePack
from deepssim.seeds import numpy_generator
from deepssim.similarity.embedding_scores import EmbeddingComparison
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


def choose_controls(subjects: Sequence[str], count: int, seed: int) -> list[int]:
    """Choose training images to copy, of as many subjects as possible; row numbers, increasing."""
    rows = list(range(len(subjects)))
    numpy_generator(seed, "controls").shuffle(rows)
    seen: dict[str, int] = {}
    turn = []
    for row in rows:
        turn.append(seen.get(subjects[row], 0))
        seen[subjects[row]] = turn[-1] + 1
    order = np.argsort(turn, kind="stable")[:count]
    return sorted(rows[place] for place in order)


def positive_controls(
    train: ImagePack,
    embeddings: Embeddings,
    subjects: Sequence[str],
    rule: Rule,
    embed: Callable[[ImagePack], Embeddings],
    *,
    count: int,
    k: int,
    confidence: float,
    seed: int,
    threads: int = 1,
    reconstruct: Callable[[ImagePack], ImagePack] | None = None,
) -> list[Control]:
    """Copy training images, distort the copies, and see which of them the rule finds.

    Args:
        train, embeddings, subjects: the training images.
        rule: of the audit.
        embed: the encoder.
        count: images to copy for each distortion.
        k: partners of a copy that the rule looks at.
        confidence: of intervals.
        seed: chooses images and draws distortions.
        threads: processor threads.
        reconstruct: passes images through an autoencoder, where there is one.
    """
    rows = choose_controls(subjects, count, seed)
    chosen = ImagePack(np.asarray(train.images)[rows], [train.keys[row] for row in rows])
    makers: dict[str, Callable[[ImagePack], ImagePack]] = {
        name: partial(distort, name=name, seed=seed) for name in DISTORTIONS
    }
    if reconstruct is not None:
        makers["autoencoder"] = reconstruct
    names = np.asarray(subjects, dtype=object).astype(str)
    results = []
    for name, make in makers.items():
        _, best = top_k(
            EmbeddingComparison(embeddings, embed(make(chosen)), threads=threads), k, threads=threads, rows=False
        )
        assert best is not None
        found = rule.flags(best.scores[:, 0], neighbourhood_ratios(best, subjects))
        right = names[best.partners[:, 0]] == names[rows]
        results.append(
            Control(
                name,
                share_interval(int(found.sum()), len(rows), confidence),
                share_interval(int((found & right).sum()), len(rows), confidence),
                float(np.median(best.scores[:, 0])),
            )
        )
    return results
