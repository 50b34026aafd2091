"""The stage that verifies what an encoder found: exact SSIM of the best candidates after registration.

Not here: the search (comparison.py), the registration (images/register.py).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from deepssim.stages.shards import join_packs

if TYPE_CHECKING:
    import pandas as pd

    from deepssim.images.packs import ImagePack
    from deepssim.similarity.scores import Scores

logger = logging.getLogger(__name__)


def verify_copies(
    *, matrix: str, train_used: str, real: str, synthetic: Sequence[str], verified: str, config: Any
) -> None:
    """Register the synthetic images with the highest scores to their training images and compute their exact SSIM."""
    from deepssim.datasets.tables import read_train_used, write_csv
    from deepssim.images.packs import read_pack
    from deepssim.similarity.matrices import read_scores

    table = verified_pairs(
        read_scores(matrix), read_train_used(train_used), read_pack(real), join_packs(synthetic), config.verification
    )
    write_csv(verified, table)
    logger.info(
        "%d of %d candidates have SSIM above 0.85 when they are registered, %d as they are",
        (table["registered_ssim"] > 0.85).sum(), len(table), (table["ssim"] > 0.85).sum(),
    )  # fmt: skip


def verified_pairs(
    scores: Scores, train_keys: list[str], real: ImagePack, synthetic: ImagePack, options: Any
) -> pd.DataFrame:
    """Return the best candidates with their exact SSIM before and after registration.

    Args:
        scores: of any metric; each synthetic image comes with its most similar training image.
        train_keys: the generator's training images.
        real, synthetic: packs that hold them.
        options: section `verification`.

    Returns:
        `real_key`, `synth_key`, `score`, `ssim`, `registered_ssim`, `flipped`; highest registered SSIM first.
    """
    import numpy as np
    import pandas as pd
    from tqdm import tqdm

    from deepssim.images.register import register, require
    from deepssim.similarity.ssim import ssim_of_arrays

    require(options.registration)
    _, best = scores.best(train_keys)
    chosen = np.argsort(-best.scores[:, 0], kind="stable")[: options.candidates]
    rows = []
    for column in tqdm(chosen, desc="registering", unit="pair", disable=None):
        keys = train_keys[best.partners[column, 0]], scores.synth_keys[column]
        fixed, moving = (pack.select([key]).unit()[0] for pack, key in zip((real, synthetic), keys, strict=True))
        found = register(fixed, moving, options.registration)
        as_it_is = float(ssim_of_arrays(fixed[None], moving[None])[0, 0])
        rows.append((*keys, float(best.scores[column, 0]), as_it_is, found.ssim, found.flipped))
    names = ["real_key", "synth_key", "score", "ssim", "registered_ssim", "flipped"]
    return pd.DataFrame(rows, columns=names).sort_values("registered_ssim", ascending=False, kind="stable")
