"""A stage by hand: the images of a folder in one file, for the other stages that run on files of one's own."""

import logging

from deepssim.config.choices import DatasetKind
from deepssim.config.dataset import DatasetConfig
from deepssim.datasets import prepare
from deepssim.datasets.tables import write_csv
from deepssim.images.folders import TreeSide
from deepssim.images.packs import write_pack

logger = logging.getLogger(__name__)


def pack(*, folder: str, role: str, pack: str, images: str, dataset: DatasetConfig, threads: int = 1) -> None:
    """Decode the images of a folder, or those that a table names, and bring them to one size.

    Args:
        folder: folder, or CSV with image_uid and image_path.
        role: whether they are real or synthetic.
        pack: image pack to write.
        images: table to write: key, path, role and subject of each image.
        dataset: section `dataset`; its kind and path are replaced, its splits not used.
        threads: files decoded at a time.
    """
    side = TreeSide(role)
    kind = DatasetKind.TABLE if folder.lower().endswith(".csv") else DatasetKind.FOLDER
    table, content = prepare.pack_folder(dataset.with_changes(kind=kind, path=folder), side=side, threads=threads)
    write_csv(images, table)
    write_pack(pack, content)
    logger.info("%s: %d %s images", folder, len(table), role)
