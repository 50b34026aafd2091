"""Verify the best candidates of a metric by exact SSIM, before and after registration.

Not here: scores (similarity/), registering them (registration/).
"""

import numpy as np
import pandas as pd
from tqdm import tqdm

from deepssim.config.evaluation import VerificationConfig
from deepssim.images.packs import ImagePack
from deepssim.registration.register import register, require_registration
from deepssim.similarity.scores import Scores
from deepssim.similarity.ssim import ssim_of_arrays


def verified_pairs(
    scores: Scores, train_keys: list[str], real: ImagePack, synthetic: ImagePack, options: VerificationConfig
) -> pd.DataFrame:
    """Return the best candidates with their exact SSIM before and after registration.

    Args:
        scores: scores of any metric; each synthetic image is paired with its most similar training image.
        train_keys: images that the generator was trained on.
        real, synthetic: packs with these images.
        options: section `verification`.

    Returns:
        Columns `real_key`, `synth_key`, `score`, `ssim`, `registered_ssim`, `flipped`; highest registered SSIM first.
    """
    require_registration(options.registration)
    _, best = scores.best(train_keys)
    chosen = np.argsort(-best.scores[:, 0], kind="stable")[: options.candidates]
    rows = []
    for column in tqdm(chosen, desc="registering", unit="pair", disable=None):
        keys = train_keys[best.partners[column, 0]], scores.synth_keys[column]
        fixed, moving = (pack.select([key]).unit()[0] for pack, key in zip((real, synthetic), keys, strict=True))
        found = register(fixed, moving, options.registration)
        unregistered = float(ssim_of_arrays(fixed[None], moving[None])[0, 0])
        rows.append((*keys, float(best.scores[column, 0]), unregistered, found.ssim, found.flipped))
    names = ["real_key", "synth_key", "score", "ssim", "registered_ssim", "flipped"]
    return pd.DataFrame(rows, columns=names).sort_values("registered_ssim", ascending=False, kind="stable")
