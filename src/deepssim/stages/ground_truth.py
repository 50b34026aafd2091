"""The stage that samples the labelled pairs."""

import logging

import pandas as pd

from deepssim.config.evaluation import PairsConfig
from deepssim.datasets.tables import read_images, read_train_used, write_csv
from deepssim.ground_truth import pairs as labelled
from deepssim.ground_truth.labels import Label, class_names
from deepssim.similarity.matrices import read_scores

logger = logging.getLogger(__name__)


def sample_pairs(
    *,
    images: str,
    train_used: str,
    matrix: str,
    train: str,
    valid: str,
    test: str,
    split: str,
    pairs: PairsConfig,
    seed: int,
) -> None:
    """Sample the pairs that train and test the encoder; the three sets share no subject.

    A class without pairs, such as the duplicates of a generator that copies nothing, is no error: what it leaves undefined is
    named in the evaluations.

    Args:
        images, train_used: image table, and CSV with the keys of the generator's training images.
        matrix: SSIM of aligned images.
        train, valid, test: pair tables to write.
        split: CSV to write, the set of pairs that each training image belongs to by its subject.
        pairs, seed: settings.
    """
    keys = read_train_used(train_used)
    subjects = read_images(images).set_index("key")["subject"].loc[keys].tolist()
    sampled = labelled.sample_pairs(read_scores(matrix), keys, subjects, pairs, seed=seed)
    for path, table in ((train, sampled.train), (valid, sampled.valid), (test, sampled.test)):
        write_csv(path, table)
    of_images = [sampled.split_of_subject[subject].value for subject in subjects]
    write_csv(split, pd.DataFrame({"key": keys, "subject": subjects, "split": of_images}))
    logger.info("%d train, %d valid and %d test pairs", len(sampled.train), len(sampled.valid), len(sampled.test))
    for name, missing in sampled.missing.items():
        if len(missing) == len(Label):
            logger.warning("there are no %s pairs; the report says what this leaves undefined", name.value)
        elif missing:
            logger.warning(
                "no %s pair is of class %s, since the synthetic images offer none; the report says what this leaves undefined",
                name.value,
                class_names(missing),
            )
