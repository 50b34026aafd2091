"""Aspect ratios of the images or volumes of a side.

Not here: what their differences mean (comparability.py).
"""

from collections import Counter

import numpy as np

from deepssim.images.folders import Collection

_STEP = 0.02  # relative difference of aspect ratios that nobody sees
_SQUASHED = 1.35  # factor of a volume's aspect ratio: of 1.5, copies of tests/audit/scans.py were missed, of 1.3, found


def shape_of(size: str) -> tuple[int, ...]:
    """Return the sides of a size such as `64x32`."""
    return tuple(map(int, size.split("x")))


def aspects_apart(first: Collection, second: Collection) -> float:
    """Return the total variation distance of the distributions of aspect ratios, 0 to 1."""
    shares, others = _shares(first), _shares(second)
    return sum(abs(shares.get(step, 0) - others.get(step, 0)) for step in {*shares, *others}) / 2


def any_squashed(real: Collection, synthetic: Collection) -> bool:
    """Return whether a synthetic volume has an aspect ratio so far from that of every training volume that copies are missed."""
    usual = np.log([_aspect(size) for size in real.sizes])
    return any(np.abs(np.log(_aspect(size)) - usual).min() > np.log(_SQUASHED) for size in synthetic.sizes)


def aspect_counts(side: Collection) -> Counter[str]:
    """Return how many images have each aspect ratio, to two digits."""
    counts = Counter[str]()
    for size, number in side.sizes.items():
        counts[f"{_aspect(size):.2f}"] += number
    return counts


def _shares(side: Collection) -> dict[int, float]:
    """Return the fraction of images by aspect ratio, in steps that nobody sees."""
    counts = Counter[int]()
    for size, number in side.sizes.items():
        counts[round(np.log(_aspect(size)) / np.log1p(_STEP))] += number
    return {step: number / counts.total() for step, number in counts.items()}


def _aspect(size: str) -> float:
    """Return width divided by height; of a volume, whose axes may be stored in any order, the longest side by the shortest."""
    shape = shape_of(size)
    return max(shape) / min(shape) if len(shape) > 2 else shape[1] / shape[0]
