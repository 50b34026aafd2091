"""Pictures of copies: synthetic images beside the training images that they resemble.

Not here: contact sheets of one set of images (images/sheets.py), plots of numbers (plots.py).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepssim.images.packs import ImagePack
from deepssim.images.sheets import pictures_of, save_grid
from deepssim.similarity.scores import Scores


def save_nearest(
    path: str | Path,
    matrix: Scores,
    train_keys: Sequence[str],
    real: ImagePack,
    synthetic: ImagePack,
    *,
    columns: int = 10,
) -> None:
    """Save the training images with the highest scores, each below its nearest synthetic image.

    Every training image appears once, so that one image copied often does not fill the picture.

    Args:
        path: PNG to write.
        matrix: scores of one metric.
        train_keys: keys of the generator's training images.
        real, synthetic: packs that hold all images.
        columns: pairs to show.
    """
    best = matrix.best_of_rows(train_keys)
    order = np.argsort(-best.scores[:, 0], kind="stable")[:columns]
    synth = synthetic.select(matrix.keys_of_columns(best.partners[order, 0]))
    train = real.select([train_keys[row] for row in order])
    titles = [f"{best.scores[row, 0]:.3f}" for row in order]
    grid = [pictures_of(pack).astype(np.float32) / pack.maximum for pack in (synth, train)]
    save_grid(path, grid, ["synthetic", "nearest\ntraining image"], 1, titles=titles)
