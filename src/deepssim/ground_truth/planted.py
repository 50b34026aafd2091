"""Planted copies: training images after mild changes, which stand in for copies that a generator makes, and deformed ones.

They test whether copies would be found and, if wanted, the metrics where the generator copies nothing. They are never counted as
synthetic images.

Not here: the changes (images/distort.py, generative/autoencoder.py), misalignment (images/augment.py), choosing the originals.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from deepssim.ground_truth.labels import SSIM_THRESHOLDS
from deepssim.ground_truth.tables import AUTOENCODER, TEST_COLUMNS
from deepssim.images.distort import distort
from deepssim.images.keys import planted_key, split_key
from deepssim.images.packs import ImagePack
from deepssim.registration.exact import exact_ssim

MILD = (AUTOENCODER, "soft", "noise 0.01", "JPEG 70")
"""What planted copies go through: the generator's autoencoder, and mild changes of the audit's protocol."""
DEFORMED = ("warp 3 of 256 px", "warp 6 of 256 px")
"""Changes that make a similar image of a copy; these stand in for similar pairs only, and need not be found."""
PLANTED_COLUMNS = (*TEST_COLUMNS, "split", "change")


def plant_copies(
    originals: ImagePack, splits: Sequence[str], reconstruct: Callable[[ImagePack], ImagePack], seed: int
) -> tuple[ImagePack, pd.DataFrame]:
    """Copy images with each of `MILD` and `DEFORMED`.

    Args:
        originals: training images.
        splits: the set of pairs that each belongs to.
        reconstruct: passes a pack through the generator's autoencoder.
        seed: of the changes.

    Returns:
        Pack of the copies, without those that are constant, and a table with `PLANTED_COLUMNS`: each copy with its original,
        their SSIM and their class by it.
    """
    images, rows = [], []
    for number, change in enumerate((*MILD, *DEFORMED)):
        changed = reconstruct(originals) if change == AUTOENCODER else distort(originals, change, seed)
        for key, split, original, copy in zip(originals.keys, splits, originals.images, changed.images, strict=True):
            if np.ptp(copy):
                ssim = exact_ssim(original, copy)[0]
                label = int(SSIM_THRESHOLDS.classify(np.array([ssim]))[0])
                rows.append((key, planted_key(split_key(key)[0], number), ssim, label, split, change))
                images.append(copy)
    table = pd.DataFrame(rows, columns=list(PLANTED_COLUMNS))
    return ImagePack(np.stack(images), table["synth_key"].tolist()), table
