"""The image tree of the reference code: `<image_uid>/training.png` and `<image_uid>/gen-<i>.png`, or other formats.

Synthetic images from the 5,000th of a record on are in further folders, `<image_uid>/gen-from-00005000/gen-5000.png`.

Source: file layout of the DeepSSIM reference code (arXiv:2509.16582).
"""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from deepssim.config.dataset import DatasetConfig
from deepssim.errors import DataError
from deepssim.images.files import read_each, read_image, stem_of
from deepssim.images.folders import find_files
from deepssim.images.keys import (
    REAL_NAME,
    SEPARATOR,
    checked_keys,
    further_folder,
    is_further_folder,
    real_key,
    require_unique,
    split_key,
)
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import quantise

_FURTHER = "gen-from-*/*"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"  # the last chunk of every PNG file


def write_tree(root: str | Path, real: ImagePack, synthetic: ImagePack) -> None:
    """Write the synthetic images as PNG, volumes as NIfTI, with the real image of each record beside them.

    Args:
        root: folder to create.
        real: pack that holds the records.
        synthetic: images generated from them; their keys name the record.

    Raises:
        DataError: if a record has no real image.
    """
    records = list(dict.fromkeys(split_key(key)[0] for key in synthetic.keys))
    absent = [record for record in records if real_key(record) not in real.index]
    if absent:
        raise DataError(f"{len(absent)} of {len(records)} records have no real image, first {absent[0]!r}")
    images = [(real, real_key(record)) for record in records] + [(synthetic, key) for key in synthetic.keys]
    for pack, key in tqdm(images, desc="writing images", unit="image", disable=None):
        if pack.spatial_dims == 3:
            write_nifti(image_path(root, key, ".nii.gz"), pack.images[pack.index[key]])
        else:
            write_png(image_path(root, key), pack.images[pack.index[key]])


def find_images(root: str | Path) -> dict[str, Path]:
    """Find the images of a tree, one folder per record.

    Returns:
        Path of each key, sorted by key, so that no result depends on the order of files on disk.

    Raises:
        DataError: if there is none, or a name cannot be used in a key.
    """
    if not Path(root).is_dir():
        raise DataError(f"{root}: is not a folder; name the folder of <image_uid>/{REAL_NAME}.png")
    found = find_files(Path(root), patterns=("*/*", f"*/{_FURTHER}"))
    files = [path for path in found if len(path.relative_to(root).parts) == 2 or is_further_folder(path.parent.name)]
    keys = checked_keys([_key_of(path, Path(root)) for path in files], str(root))
    require_unique(keys, str(root))
    if not keys:
        raise DataError(f"{root}: has no image in a folder of its own record; expected <image_uid>/{REAL_NAME}.png")
    return dict(sorted(zip(keys, files, strict=True)))


def find_keys(root: str | Path, keys: Sequence[str]) -> dict[str, Path]:
    """Find the images of some keys in a tree.

    Returns:
        Path of each key, in the order of `keys`; an image that is missing has the path that its PNG would have.

    Raises:
        DataError: if two files have the same key.
    """
    folders = [Path(root) / uid for uid in dict.fromkeys(split_key(key)[0] for key in keys)]
    files = [path for folder in folders if folder.is_dir() for path in find_files(folder, patterns=("*", _FURTHER))]
    wanted = set(keys)
    found = [(key, path) for path in files if (key := _key_of(path, Path(root))) in wanted]
    require_unique([key for key, _ in found], str(root))
    paths = dict(found)
    return {key: paths.get(key) or image_path(root, key) for key in keys}


def read_images(paths: Mapping[str, Path], *, place: str, threads: int) -> ImagePack:
    """Read images of one size as 8-bit grey values.

    Args:
        paths: by key, in the order of the pack; files of any format that hold one image each.
        place: the tree, for messages.
        threads: files decoded at a time.

    Raises:
        DataError: if some cannot be read, hold several images or differ in size; with their number and the first.
    """
    percentiles = DatasetConfig().intensity_percentiles
    images = read_each(
        list(paths.values()),
        lambda path: quantise(read_image(path, percentiles=percentiles), 8),
        threads=threads,
        place=place,
    )
    sizes = {key: "x".join(map(str, image.shape)) for key, image in zip(paths, images, strict=True)}
    first = next(iter(sizes.values()))
    other = [key for key, size in sizes.items() if size != first]
    if other:
        raise DataError(
            f"{len(other)} of {len(paths)} images differ in size from the first ({first}), first {paths[other[0]]} "
            f"({sizes[other[0]]}); bring them to one size"
        )
    return ImagePack(np.stack(images), list(paths))


def image_path(root: str | Path, key: str, suffix: str = ".png") -> Path:
    """Return where the image of a key belongs in a tree; never outside of it.

    Args:
        root: of the tree.
        key: of the image.
        suffix: of its format.
    """
    image_uid, name = split_key(key)
    return Path(root) / image_uid / further_folder(name) / f"{name}{suffix}"


def write_nifti(path: Path, volume: np.ndarray) -> None:
    """Write one volume with voxels of 1 mm, whose sizes a pack does not record, and its centre as origin.

    Args:
        path: file to write, `.nii.gz`.
        volume: uint8 or uint16 (D, H, W), slices from inferior to superior with anterior up, as in an image pack.
    """
    import nibabel  # not needed for images

    values = np.ascontiguousarray(volume[:, ::-1].transpose(2, 1, 0))  # right, anterior, superior
    affine = np.eye(4)
    affine[:3, 3] = [(1 - side) / 2 for side in values.shape]
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(values, affine).to_filename(path)


def write_png(path: Path, image: np.ndarray) -> None:
    """Write one grey image, uint8 or uint16 (H, W).

    It is not written under another name first: programs that take every file of a tree for an image would read what an
    interruption left. An unfinished file is told by `is_whole_png` instead.
    """
    content = io.BytesIO()
    Image.fromarray(image).save(content, format="PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.write_bytes(content.getvalue())
    except BaseException:  # a full disk, or an interruption from the keyboard
        path.unlink(missing_ok=True)
        raise


def is_whole_png(path: Path) -> bool:
    """Return whether a PNG file exists and was written to its end."""
    if not path.is_file() or path.stat().st_size < len(_PNG_END):
        return False
    with path.open("rb") as file:
        file.seek(-len(_PNG_END), os.SEEK_END)
        return file.read() == _PNG_END


def _key_of(path: Path, root: Path) -> str:
    return f"{path.relative_to(root).parts[0]}{SEPARATOR}{stem_of(path)}"
