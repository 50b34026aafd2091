"""What no audit can answer, refused before the work: one set of images given twice, folders in each other's place, one patient for
all images, images too small for the encoder.

Not here: what makes an answer uncertain (preflight.py, comparability.py, swapped.py), files that belong to two folders
(inventory.py).
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

from deepssim.audit.comparability import SIDE_NAMES
from deepssim.config.settings import Config
from deepssim.datasets.subjects import subject_finder
from deepssim.errors import ConfigError, DataError, quoted
from deepssim.images.folders import Collection, checksums
from deepssim.images.listing import Entry, Status

_WANTED = {
    "real": "the generator's training images",
    "synthetic": "the images that the generator made",
    "holdout": "images of patients that the generator has not seen",
}


def require_different_folders(folders: Mapping[str, Path], out: Path | None = None) -> None:
    """Check that no folder is given twice, also by links.

    Args:
        folders: by side.
        out: folder of the report, which may be none of them.

    Raises:
        DataError: naming both.
    """
    for first, second in combinations(folders, 2):
        # A folder that does not exist is named as such where its files are listed.
        if folders[first].exists() and folders[first].resolve() == folders[second].resolve():
            raise DataError(
                f"{folders[second]} is given as the folder of {SIDE_NAMES[second]} images and, as {folders[first]}, as that of "
                f"{SIDE_NAMES[first]} images, but every image is like itself; name a folder of {_WANTED[second]}"
            )
    for name, folder in folders.items():
        if out is not None and out.resolve().is_relative_to(folder.resolve()):
            raise DataError(
                f"{out}: the report would be written into {folder}, the folder of {SIDE_NAMES[name]} images; name another folder"
            )


def require_different_files(folders: Mapping[str, Path], entries: Mapping[str, Sequence[Entry]], threads: int) -> None:
    """Check that no two folders hold the same files, whatever their names.

    Args:
        folders: by side.
        entries: their files.
        threads: files read at a time.

    Raises:
        DataError: naming both folders and the number of files.
    """
    files = {name: [entry.path for entry in found if entry.status is Status.READ] for name, found in entries.items()}
    sizes = {name: {path.stat().st_size for path in paths} for name, paths in files.items()}
    for first, second in combinations(files, 2):
        if sizes[first] != sizes[second]:  # cheap, and enough nearly always
            continue
        contents = [set(map(str, checksums(files[name], threads))) for name in (first, second)]
        if contents[0] == contents[1]:
            raise DataError(
                f"{folders[second]} holds the same files as {folders[first]}, {len(contents[0]):,} different ones, but the one is "
                f"given as the folder of {SIDE_NAMES[second]} images and the other as that of {SIDE_NAMES[first]} images; "
                f"name a folder of {_WANTED[second]}"
            )


def require_several_in_names(
    folders: Mapping[str, Path], entries: Mapping[str, Sequence[Entry]], pattern: str | None
) -> None:
    """Check that a pattern of subjects does not find one subject in the names of all files.

    Args:
        folders: by side.
        entries: their files.
        pattern: `audit.subject_pattern`.

    Raises:
        ConfigError: if it does, or is not usable.
    """
    if pattern is None:
        return
    find = subject_finder(pattern, "audit.subject_pattern")
    sides = [name for name in folders if name != "synthetic"]
    found = [find(entry.name) for side in sides for entry in entries[side] if entry.status is Status.READ]
    _require_several(found, len(found), f"--subject-pattern {quoted(pattern)} (audit.subject_pattern)")


def require_several_subjects(
    collections: Mapping[str, Collection], subjects: Mapping[str, Sequence[str]], table: str | None
) -> None:
    """Check that a table of subjects does not name one subject for all files.

    Args:
        collections, subjects: images and their subjects, by side.
        table: `audit.subjects`.

    Raises:
        ConfigError: if it does.
    """
    if table is not None:
        sides = [name for name in collections if name != "synthetic"]
        files = {path for name in sides for path in collections[name].files}
        found = [subject for name in sides for subject in subjects[name]]
        _require_several(found, len(files), f"{table}: the table of subjects (--subjects, audit.subjects)")


def _require_several(found: Sequence[str | None], files: int, what: str) -> None:
    if files > 1 and None not in found and len(set(found)) == 1:
        raise ConfigError(
            f"{what} takes all {files:,} training and held-out files for images of one patient, {found[0]!r}, but only images "
            "of different patients show how alike unrelated images are; correct it, or leave it away if every file is of "
            "another patient"
        )


def require_sides_apart(collections: Mapping[str, Collection], folders: Mapping[str, Path]) -> None:
    """Check that the holdout is not the training set, and that the synthetic images are not copies of the holdout instead.

    Args:
        collections: images by side.
        folders: by side.

    Raises:
        DataError: if all held-out images are training images, or more synthetic images are equal in every pixel to held-out
            than to training images.
    """
    if "holdout" not in collections:
        return
    real, holdout = (set(collections[name].pixel_hashes) for name in ("real", "holdout"))
    if holdout <= real:
        raise DataError(
            f"{folders['holdout']}: all {len(collections['holdout'].pixel_hashes):,} held-out images are training images of "
            f"{folders['real']}, too; name a folder of {_WANTED['holdout']}, or leave --holdout (audit.holdout) away"
        )
    made = collections["synthetic"].pixel_hashes
    of_holdout, of_real = (sum(content in side for content in made) for side in (holdout - real, real))
    if of_holdout > of_real:
        raise DataError(
            f"{folders['synthetic']}: {of_holdout:,} of {len(made):,} synthetic images are equal in every pixel to held-out images, "
            f"and {of_real:,} to training images, as if {folders['real']} and {folders['holdout']} were swapped; name first "
            f"{_WANTED['real']}, and as holdout {_WANTED['holdout']}"
        )


def require_large_images(config: Config) -> None:
    """Check that the encoder takes images of the size that it will be given.

    Raises:
        ConfigError: if they are too small.
    """
    options = config.audit
    if options.encoder is None and not options.thorough:
        return
    # torch takes seconds to import, which other audits save.
    from deepssim.encoders import deepssim
    from deepssim.encoders.backbones import build_backbone
    from deepssim.runtime.weights import read_metadata

    advice = "raise --image-size (audit.image_size)"
    if options.encoder is None:
        features = build_backbone(config.encoder)
        deepssim.require_size(features, options.image_size, advice)
        deepssim.require_size(features, (options.compared_at, options.compared_at), "raise --compared-at")
        return
    if read_metadata(options.encoder).get("kind") == deepssim.NAME:
        deepssim.require_size(deepssim.load_encoder(options.encoder).features, options.image_size, advice)
