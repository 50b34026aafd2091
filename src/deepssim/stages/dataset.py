"""The stage that reads the real images."""

import logging

from deepssim.config.dataset import DatasetConfig
from deepssim.datasets import prepare
from deepssim.datasets.tables import write_csv
from deepssim.images.packs import write_pack

logger = logging.getLogger(__name__)


def prepare_dataset(
    *, images: str, pack: str, dataset: DatasetConfig, seed: int, threads: int = 1, splits_as_given: bool = False
) -> None:
    """Read the real images and split them by subject.

    Args:
        images: image table to write.
        pack: image pack to write, in the order of the table.
        dataset, seed: settings.
        threads: files decoded at a time.
        splits_as_given: see `prepare.prepare_dataset`.
    """
    table, content = prepare.prepare_dataset(dataset, seed=seed, threads=threads, splits_as_given=splits_as_given)
    write_csv(images, table)
    write_pack(pack, content)
    counts = table.groupby("split", sort=False)["subject"].agg(["size", "nunique"])
    for split, row in counts.iterrows():
        logger.info("%s: %d images of %d subjects", split, row["size"], row["nunique"])
