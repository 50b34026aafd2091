"""Make the image table and the image pack of real images from any source.

Not here: where images come from (sources.py), how subjects are split (splits.py).
"""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from deepssim.config.choices import DatasetKind
from deepssim.config.dataset import DatasetConfig
from deepssim.datasets.sources import Source, find_sources
from deepssim.datasets.splits import draw_canaries, require_subjects, split_by_subject
from deepssim.datasets.tables import CANARY_COLUMN, IMAGE_COLUMNS, Role, Split
from deepssim.errors import DataError
from deepssim.images.files import read_each
from deepssim.images.folders import TreeSide
from deepssim.images.keys import SYNTHETIC_NAME, real_key, require_unique, synthetic_key
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import fit, oriented, quantise

logger = logging.getLogger(__name__)


def prepare_dataset(
    options: DatasetConfig, *, seed: int, threads: int = 1, splits_as_given: bool = False
) -> tuple[pd.DataFrame, ImagePack]:
    """Read all real images, bring them to one size and split them by subject.

    Args:
        options: section `dataset`.
        seed: the config's seed.
        threads: images decoded at a time.
        splits_as_given: accept a table's splits as they are: of any size, also those that divide a subject, which is only
            logged; rows of other splits than train, valid and holdout become holdout. Without a column, all are train.

    Returns:
        The image table (`IMAGE_COLUMNS`, then covariates) and the pack, both in the same order. With canaries, the table has a
        column `canary` of 0 and 1; a canary's split says whether it is trained on.

    Raises:
        DataError: if images cannot be read, are constant, differ in size without `image_size`, share a key, or a split
            has fewer than two subjects.
    """
    sources = find_sources(options, seed, threads, other_splits=Split.HOLDOUT if splits_as_given else None)
    place = options.path or "dataset"
    # Before minutes of decoding, so that an unusable split is reported at once.
    splits = _splits_as_given(sources, place) if splits_as_given else splits_of(options, sources, seed, place)
    splits, canaries = draw_canaries(
        [source.subject for source in sources], splits, fraction=options.canaries, seed=seed, source=place
    )
    found = read_each(sources, lambda source: source.read(), threads=threads, place=place)
    rows: list[dict[str, float | str]] = []
    images = []
    for remark, count in Counter(remark for content in found for remark in content.remarks).items():
        logger.info("%s: %s: %d times", place, remark, count)
    for source, split, canary, content in zip(sources, splits, canaries, found, strict=True):
        drawn = {CANARY_COLUMN: int(canary)} if options.canaries else {}
        for item in content.records:
            role = Role.HOLDOUT if split is Split.HOLDOUT else Role.REAL
            identity = (real_key(item.image_uid), source.path, role.value, source.subject, split.value)
            if drawn and CANARY_COLUMN in item.covariates:
                raise DataError(f"{place}: has a column {CANARY_COLUMN!r}, which dataset.canaries writes; rename it")
            rows.append({**dict(zip(IMAGE_COLUMNS, identity, strict=True)), **item.covariates, **drawn})
            images.append(oriented(item.pixels, options.orientation))
    if not images:
        raise DataError(
            f"{place}: none of {len(sources)} files has an image with enough foreground; lower dataset.volumes.min_foreground"
        )
    pack = _pack(images, [str(row["key"]) for row in rows], options, place)
    keys = pack.keys
    if options.kind is not DatasetKind.VIRTUAL_PATIENTS and len(set(keys)) == len({row["subject"] for row in rows}):
        logger.warning(
            "every image counts as a subject of its own; if patients have several images, name them by a column "
            "'subject' or dataset.subject_pattern, or the same patient can be on both sides of a split"
        )
    return pd.DataFrame(rows), pack


def pack_folder(options: DatasetConfig, *, side: TreeSide, threads: int = 1) -> tuple[pd.DataFrame, ImagePack]:
    """Read the images of a folder, which no split divides, and bring them to one size.

    Args:
        options: section `dataset`, of kind folder, volumes or table.
        side: real or synthetic. Keys of synthetic images name the record and the number of the image as in a tree
            `<uid>/gen-<i>.png`, or in files `<uid>_gen-<i>.png`; any other file is image 0 of a record with its name.
        threads: images decoded at a time.

    Returns:
        Table with `key`, `path`, `role` and `subject`, and the pack, both in the same order.

    Raises:
        DataError: as for `prepare_dataset`, splits aside.
    """
    sources = find_sources(options, 0, threads, side=side)
    place = str(options.path)
    found = read_each(sources, lambda source: source.read(), threads=threads, place=place)
    role = Role.REAL if side is TreeSide.REAL else Role.SYNTHETIC
    rows, images = [], []
    for source, content in zip(sources, found, strict=True):
        for item in content.records:
            key = real_key(item.image_uid) if role is Role.REAL else synthetic_key(*_record_and_number(item.image_uid))
            rows.append((key, source.path, role.value, source.subject))
            images.append(oriented(item.pixels, options.orientation))
    if not images:
        raise DataError(f"{place}: none of {len(sources)} files has an image with enough foreground")
    table = pd.DataFrame(rows, columns=["key", "path", "role", "subject"])
    return table, _pack(images, table["key"].tolist(), options, place)


def _record_and_number(uid: str) -> tuple[str, int]:
    found = re.fullmatch("(.+)_" + SYNTHETIC_NAME.format(index=r"(\d+)"), uid)
    return (found[1], int(found[2])) if found else (uid, 0)


def splits_of(options: DatasetConfig, sources: Sequence[Source], seed: int, place: str) -> list[Split]:
    """Return the split of each source, as a table gives it or drawn by subject.

    Args:
        options: section `dataset`.
        sources: in a fixed order.
        seed: the config's seed.
        place: folder or table, for messages.

    Raises:
        DataError: if a split has fewer than two subjects.
    """
    subjects = [source.subject for source in sources]
    given = [source.split for source in sources if source.split is not None]
    if given:
        advice = "add subjects to it, or give those it has to another split"
        require_subjects(subjects, given, sorted(set(given) | {Split.TRAIN}), source=place, advice=advice)
        return given
    return split_by_subject(
        subjects, valid_fraction=options.valid_fraction, holdout_fraction=options.holdout_fraction, seed=seed
    )


def _splits_as_given(sources: Sequence[Source], place: str) -> list[Split]:
    splits = [source.split or Split.TRAIN for source in sources]
    try:
        require_subjects([source.subject for source in sources], splits, (), source=place, advice="")
    except DataError as error:
        logger.warning("%s", error)
    return splits


def _pack(images: Sequence[np.ndarray], keys: list[str], options: DatasetConfig, place: str) -> ImagePack:
    """Bring images to one size and bit depth."""
    require_unique(keys, place)
    _require_contrast(images, keys, place)  # padding would hide it later
    pack = ImagePack(_standardise(images, keys, options, place), keys)
    _require_contrast(pack.images, keys, place)  # a difference can be lost in rounding
    return pack


def _standardise(images: Sequence[np.ndarray], keys: Sequence[str], options: DatasetConfig, place: str) -> np.ndarray:
    size = options.image_size
    if size is None:
        size = images[0].shape
        other = [row for row, image in enumerate(images) if image.shape != size]
        if other:
            raise DataError(
                f"{place}: {len(other)} of {len(images)} images differ in size from the first ({'x'.join(map(str, size))}), "
                f"first {keys[other[0]]!r} ({'x'.join(map(str, images[other[0]].shape))}); set dataset.image_size"
            )
    fitted = (
        images if options.spatial_dims == 3 else (fit(image, size) for image in images)
    )  # volumes are read at their size
    return np.stack([quantise(image, options.bit_depth) for image in fitted])


def _require_contrast(images: Iterable[np.ndarray], keys: Sequence[str], place: str) -> None:
    flat = [key for image, key in zip(images, keys, strict=True) if image.min() == image.max()]
    if flat:
        raise DataError(
            f"{place}: {len(flat)} of {len(keys)} images are constant and cannot be compared, first {flat[0]!r}; remove them"
        )
