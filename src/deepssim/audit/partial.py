"""Copies that share only a part with their original: a lesion, a lung, half a head.

Not here: when a part is all that two images have in common (registration/partial.py).
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from deepssim.audit.leakage import Copies
from deepssim.audit.preflight import Finding
from deepssim.audit.sides import Sides
from deepssim.detection.gallery import single_threaded_libraries
from deepssim.detection.pattern import best_poses, pattern, pattern_in_poses
from deepssim.registration.partial import coverage
from deepssim.registration.poses import POSES
from deepssim.registration.proof import best_symmetries, first_look, prepare, prove

_MOST = 500  # copies that are looked at, those of the highest scores: it takes 20 ms each


def find_partial_copies(copies: Copies, sides: Sides, threads: int, *, sought: bool = True) -> np.ndarray:
    """Return which copies share only a part with their original.

    Args:
        copies: of the audit.
        sides: all images.
        threads: processor threads.
        sought: whether copies of parts are told from others at all; volumes have no such evidence.

    Returns:
        bool (S,).
    """
    partial = np.zeros(len(copies.flagged), bool)
    rows = np.flatnonzero(copies.flagged & ~copies.identical & sought)
    rows = rows[np.argsort(-copies.scores[rows], kind="stable")][:_MOST]

    def is_partial(row: int) -> bool:
        real, other = (
            prepare(pack.images[place])
            for pack, place in ((sides.train.pack, copies.original[row]), (sides.synthetic.pack, row))
        )
        scores, poses = best_poses(pattern(other.small)[None], pattern_in_poses(real.small)[:, None])
        look = first_look(real, other, best_symmetries(real, other), POSES[int(poses[0, 0])], float(scores[0, 0]))
        return coverage(real, other, prove(real, other, look)).partial

    with single_threaded_libraries(), ThreadPoolExecutor(threads) as pool:
        found = pool.map(is_partial, rows.tolist())
        partial[rows] = list(
            tqdm(found, total=len(rows), desc="looking for copies of parts", unit="pair", disable=None)
        )
    return partial


def partial_findings(partial: np.ndarray, keys: list[str]) -> list[Finding]:
    """Say which copies are of a part of an image, bool (S,), by the keys of the synthetic images."""
    rows = np.flatnonzero(partial)
    if not len(rows):
        return []
    message = (
        f"{len(rows):,} of the copies {'reproduces' if len(rows) == 1 else 'reproduce'} only a part of a training image within another "
        "picture"
    )
    return [Finding("partial copies", message, [(keys[row],) for row in rows[:20]], False)]
