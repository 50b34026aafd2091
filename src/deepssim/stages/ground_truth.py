"""The stage that samples the labelled pairs."""

import logging

from deepssim.config.evaluation import PairsConfig
from deepssim.datasets.tables import read_images, read_train_used, write_csv
from deepssim.ground_truth import pairs as labelled
from deepssim.similarity.matrices import read_scores

logger = logging.getLogger(__name__)


def sample_pairs(
    *, images: str, train_used: str, matrix: str, train: str, valid: str, test: str, pairs: PairsConfig, seed: int
) -> None:
    """Sample the pairs that train and test the encoder; the three sets share no subject.

    Args:
        images, train_used: image table, and CSV with the keys of the generator's training images.
        matrix: SSIM of aligned images.
        train, valid, test: pair tables to write.
        pairs, seed: settings.
    """
    keys = read_train_used(train_used)
    subject_of = read_images(images).set_index("key")["subject"]
    sampled = labelled.sample_pairs(read_scores(matrix), keys, subject_of.loc[keys].tolist(), pairs, seed=seed)
    for path, table in ((train, sampled.train), (valid, sampled.valid), (test, sampled.test)):
        write_csv(path, table)
    logger.info("%d train, %d valid and %d test pairs", len(sampled.train), len(sampled.valid), len(sampled.test))
