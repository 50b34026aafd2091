"""Scores between embeddings.

Not here: making embeddings (encoders/embeddings.py).
"""

import numpy as np

from deepssim.encoders.embeddings import Embeddings
from deepssim.errors import DataError


def cosine_matrix(real: Embeddings, synthetic: Embeddings) -> np.ndarray:
    """Compare every real embedding with every synthetic one.

    Args:
        real: R embeddings of D values.
        synthetic: S embeddings of the same encoder.

    Returns:
        float32, shape (R, S), no unit, -1 to 1; [i, j] is real i against synthetic j.

    Raises:
        DataError: if they come from different encoders, or an embedding is zero or not finite and has no direction.

    Source: arXiv:2509.16582, cosine of embeddings as an estimate of SSIM.
    """
    if real.checksum != synthetic.checksum or real.values.shape[1:] != synthetic.values.shape[1:]:
        raise DataError(
            f"real embeddings come from encoder {real.encoder} ({real.checksum[:12]}) and synthetic ones from "
            f"{synthetic.encoder} ({synthetic.checksum[:12]}); embed both with the same weights"
        )
    return np.clip(_directions(real) @ _directions(synthetic).T, -1, 1)


def _directions(embeddings: Embeddings) -> np.ndarray:
    values = embeddings.values.astype(np.float64)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    unusable = np.flatnonzero(~((lengths > 0) & np.isfinite(lengths)).ravel())
    if unusable.size:
        raise DataError(
            f"{unusable.size} of {len(values)} embeddings are zero or not finite, first that of "
            f"{embeddings.keys[unusable[0]]!r}; check the image and the encoder"
        )
    return (values / lengths).astype(np.float32)
