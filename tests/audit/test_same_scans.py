"""Which images show the scan of another subject, by constructed evidence."""

import numpy as np
import pytest

from deepssim.audit.same_scans import find_same_scans
from deepssim.detection.search import Found
from deepssim.registration.proof import CUES

IMAGES, STRANGE = 60, 7
SCALE = 0.3  # of the exponential tail, as of chest X-rays
# Median, and what 0.2 of all images reach.
USUAL = SCALE * np.log(2), SCALE * np.log(IMAGES / 0.2)


def found(**strange):
    """Return evidence of unrelated images, the similarities of one of which are so many times as far above the median."""
    # Quantiles instead of random numbers: all images but the strange one are below what is unusual.
    tail = -SCALE * np.log(1 - (np.arange(IMAGES) + 0.5) / IMAGES)
    random = np.random.default_rng(0)
    tails = np.stack([random.permutation(tail) for _ in CUES[2:]], axis=1)
    tails[STRANGE] = USUAL[0]
    for name, times in strange.items():
        tails[STRANGE, CUES[2:].index(name.replace("_", " "))] = USUAL[0] + times * (USUAL[1] - USUAL[0])
    cues = np.concatenate([np.full((IMAGES, 2), 6.0), 1 - np.exp(-tails)], axis=1)[:, None]
    ones = np.ones((IMAGES, 1))
    return Found(np.zeros((IMAGES, 1), np.int64), cues.astype(np.float32), ones.astype(np.float32), ones > 0)


@pytest.mark.parametrize(
    ("strange", "proved"),
    [
        ({}, []),
        ({"pattern_in_place": 1.3}, []),
        ({"SSIM_registered": 1.3}, []),
        ({"pattern_in_place": 1.3, "SSIM_registered": 1.3}, [STRANGE]),
        ({"pattern_in_place": 1.7}, [STRANGE]),
        ({"SSIM_registered": 1.7}, [STRANGE]),
    ],
)
def test_one_similarity_far_above_all_others_proves_as_much_as_two(strange, proved):
    """Stripes leave nothing but the pattern of a scan, and saturation nothing but its SSIM."""
    assert np.flatnonzero(find_same_scans(found(**strange)).proved).tolist() == proved
