"""Which images an audit has: folders read, subjects found, and what is wrong with the data.

Not here: reading files (images/folders.py), how a subject is found (subjects.py), statistics (calibration.py).
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from deepssim.audit.cache import AuditCache
from deepssim.audit.preflight import Finding, duplicates_within, overlaps
from deepssim.audit.subjects import find_subjects, volumes_of
from deepssim.config.audit import AuditConfig
from deepssim.errors import ConfigError
from deepssim.images.folders import Collection, TreeSide, collect, list_files

logger = logging.getLogger(__name__)

_SIDES = ("real", "synthetic", "holdout")


def folders_of(options: AuditConfig) -> dict[str, Path]:
    """Return the folders that section `audit` names, by side.

    Raises:
        ConfigError: if the real or the synthetic one is not named.
    """
    if options.real is None or options.synthetic is None:
        raise ConfigError("audit.real and audit.synthetic must name the folders of training and synthetic images")
    named = {name: getattr(options, name) for name in _SIDES}
    return {name: Path(path) for name, path in named.items() if path is not None}


def collect_sides(
    folders: Mapping[str, Path], store: AuditCache, options: AuditConfig, threads: int
) -> dict[str, Collection]:
    """Read the images of all sides, or take from the cache what is known; see `images.folders.collect`.

    Args:
        folders: by side.
        store: cache.
        options: section `audit`.
        threads: files decoded at a time.
    """
    return {name: _collect(root, name, store, options, threads) for name, root in folders.items()}


def _collect(root: Path, name: str, store: AuditCache, options: AuditConfig, threads: int) -> Collection:
    files = list_files(root, side=TreeSide.SYNTHETIC if name == "synthetic" else TreeSide.REAL)
    decoded = store.decoded(files, options.image_size, options.intensity_percentiles, threads=threads, place=str(root))
    collection = collect(root, files, decoded)
    logger.info(
        "%s: %d images of %s pixels, resized to %s", name, len(collection.pack.keys),
        ", ".join(f"{size} ({count})" for size, count in sorted(collection.sizes.items())[:5]),
        "x".join(map(str, options.image_size)),
    )  # fmt: skip
    if collection.constant:
        logger.warning(
            "%s: %d images are constant and were not judged, first %r", root, len(collection.constant),
            collection.constant[0],
        )  # fmt: skip
    return collection


def find_subjects_of(collection: Collection, name: str, store: AuditCache, options: AuditConfig) -> list[str]:
    """Return the subject of every image of one side; of synthetic images the volume, or the image itself.

    Args:
        collection: images of the side.
        name: of the side.
        store: cache, which keeps the salt of hashes.
        options: section `audit`.
    """
    if name == "synthetic":
        return volumes_of(collection)
    return find_subjects(
        collection, Path(getattr(options, name)), table=options.subjects, pattern=options.subject_pattern,
        salt=store.salt(),
    )  # fmt: skip


def preflight(
    collections: Mapping[str, Collection], subjects: Mapping[str, list[str]]
) -> tuple[list[Finding], np.ndarray | None]:
    """Find what is wrong with the data.

    Args:
        collections, subjects: images and their subjects, by side.

    Returns:
        Findings, and which held-out images can be used: bool (H,), None without a holdout.
    """
    real = collections["real"]
    findings = duplicates_within(real.pack.keys, real.pixel_hashes)
    usable = None
    if "holdout" in collections:
        sides = [(collections[name].pack.keys, collections[name].pixel_hashes, subjects[name])
                 for name in ("real", "holdout")]  # fmt: skip
        found, usable = overlaps(*sides)
        findings += found
        if not usable.any():
            message = (
                "no held-out image is left to calibrate on; published limits were used as if there were no holdout"
            )
            findings.append(Finding("no usable holdout", message, [], True))
    if len(set(subjects["real"])) == len(subjects["real"]):
        message = (
            "every training image counts as a subject of its own; if patients have several images, name them "
            "(--subjects or --subject-pattern), or intervals are too narrow"
        )
        findings.append(Finding("subjects unknown", message, [], False))
    for finding in findings:
        logger.warning("%s", finding.message)
    return findings, usable
