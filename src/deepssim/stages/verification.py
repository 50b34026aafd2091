"""The stage that registers synthetic images to training images and verifies the pairs by exact SSIM."""

import logging
from collections.abc import Sequence

from deepssim.config.evaluation import VerificationConfig
from deepssim.datasets.tables import read_images, read_train_used, write_csv
from deepssim.evaluation.classification import registered_copy_rates
from deepssim.evaluation.verification import verified_pairs
from deepssim.ground_truth.labels import SSIM_THRESHOLDS
from deepssim.images.packs import join_packs, read_pack
from deepssim.runtime.json_files import write_json
from deepssim.similarity.embeddings import join_embeddings, read_embeddings
from deepssim.similarity.matrices import read_scores

logger = logging.getLogger(__name__)


def verify_copies(
    *,
    matrix: str,
    train_used: str,
    images: str,
    real: str,
    synthetic: Sequence[str],
    verified: str,
    copies: str,
    verification: VerificationConfig,
    seed: int,
    real_embeddings: str | None = None,
    synthetic_embeddings: Sequence[str] = (),
    threads: int = 1,
) -> None:
    """Register each synthetic image to the training image that it resembles most, and count copies by exact SSIM.

    Args:
        matrix: SSIM of images as they are.
        train_used: CSV with the keys of the generator's training images.
        images: image table, which names the subject of every real image.
        real, synthetic: image packs.
        verified: CSV to write, one row per synthetic image.
        copies: JSON to write, copy rates as in an evaluation, but also of flipped, rotated and shifted copies.
        verification: settings.
        seed: of the vocabulary of keypoints.
        real_embeddings, synthetic_embeddings: of DeepSSIM, a further source of candidates.
        threads: processor threads.
    """
    train_keys, scores = read_train_used(train_used), read_scores(matrix)
    embeddings = None
    if real_embeddings:
        embeddings = read_embeddings(real_embeddings), join_embeddings(synthetic_embeddings)
    table = verified_pairs(
        read_pack(real).select(train_keys), join_packs(synthetic), verification.candidates, seed=seed,
        embeddings=embeddings, threads=threads,
    )  # fmt: skip
    write_csv(verified, table)
    subject_of = read_images(images).set_index("key")["subject"].astype(str).to_dict()
    rates = registered_copy_rates(scores, train_keys, table, subject_of)
    write_json(copies, {"ssim_above": SSIM_THRESHOLDS.high, "copies": rates}, sort_keys=True)
    logger.info(
        "%d of %d synthetic images copy a training image by SSIM above %g, as they are or after registration",
        rates["synthetic_copies"], rates["synthetic_images"], SSIM_THRESHOLDS.high,
    )  # fmt: skip
