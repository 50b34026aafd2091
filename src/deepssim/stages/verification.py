"""The stage that verifies what an encoder found."""

import logging
from collections.abc import Sequence

from deepssim.config.evaluation import VerificationConfig
from deepssim.datasets.tables import read_train_used, write_csv
from deepssim.evaluation.verification import verified_pairs
from deepssim.ground_truth.labels import SSIM_THRESHOLDS
from deepssim.images.packs import join_packs, read_pack
from deepssim.similarity.matrices import read_scores

logger = logging.getLogger(__name__)


def verify_copies(
    *,
    matrix: str,
    train_used: str,
    real: str,
    synthetic: Sequence[str],
    verified: str,
    verification: VerificationConfig,
) -> None:
    """Register the synthetic images with the highest scores to their training images and compute their exact SSIM.

    Args:
        matrix: score matrix of any metric.
        train_used: CSV with the keys of the generator's training images.
        real, synthetic: image packs.
        verified: CSV to write, one row per candidate.
        verification: settings.
    """
    table = verified_pairs(
        read_scores(matrix), read_train_used(train_used), read_pack(real), join_packs(synthetic), verification
    )
    write_csv(verified, table)
    limit = SSIM_THRESHOLDS.high
    logger.info(
        "%d of %d candidates have an SSIM above %g after registration, %d before",
        (table["registered_ssim"] > limit).sum(), len(table), limit, (table["ssim"] > limit).sum(),
    )  # fmt: skip
