"""Exact SSIM of the best candidates of any metric, before and after registration.

Not here: finding candidates (similarity/matrices.py), registering them (registration/).
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
        scores: of any metric; each synthetic image comes with its most similar training image.
        train_keys: the generator's training images.
        real, synthetic: packs that hold them.
        options: section `verification`.

    Returns:
        `real_key`, `synth_key`, `score`, `ssim`, `registered_ssim`, `flipped`; highest registered SSIM first.
    """
    require_registration(options.registration)
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
