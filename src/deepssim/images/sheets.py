"""Contact sheets: pictures of several images for visual inspection; of volumes, their central planes.

Not here: plots of numbers (reporting/plots.py).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from deepssim.images.packs import ImagePack

_TILE_INCHES = 0.95


def save_sheet(path: str | Path, pack: ImagePack, *, columns: int = 6) -> None:
    """Save all images of a pack as one picture.

    Args:
        path: PNG file to write.
        pack: images.
        columns: images per row.
    """
    rows = -(-len(pack.keys) // columns)
    pictures = pictures_of(pack)
    grid = [pictures[row * columns : (row + 1) * columns] for row in range(rows)]
    save_grid(path, grid, [None] * rows, pack.maximum)


def save_pairs(path: str | Path, first: ImagePack, second: ImagePack, *, names: tuple[str, str]) -> None:
    """Save two packs as two rows of one picture.

    Args:
        path: PNG file to write.
        first: images of the upper row.
        second: images of the lower row, in the same order.
        names: labels of the two rows.
    """
    scaled = [pictures_of(pack).astype(np.float32) / pack.maximum for pack in (first, second)]
    save_grid(path, scaled, list(names), 1)


def pictures_of(pack: ImagePack) -> np.ndarray:
    """Return what shows each image of a pack: the image itself, or the three central planes of a volume.

    Args:
        pack: images or volumes.

    Returns:
        dtype of the pack, shape (N, H, W); of volumes, the axial plane is at the top left, the coronal one at the top right, the
        sagittal one below.
    """
    if pack.spatial_dims == 2:
        return pack.images
    count, depth, height, width = pack.images.shape
    planes = (
        pack.images[:, depth // 2],
        pack.images[:, ::-1, height // 2],  # superior up
        pack.images[:, ::-1, :, width // 2],
    )
    top, left = max(height, depth), max(width, height)
    pictures = np.zeros((count, top + depth, left + width), pack.images.dtype)
    for plane, (row, column) in zip(planes, ((0, 0), (0, left), (top, 0)), strict=True):
        pictures[:, row : row + plane.shape[1], column : column + plane.shape[2]] = plane
    return pictures


def save_grid(
    path: str | Path,
    grid: Sequence[np.ndarray],
    names: Sequence[str | None],
    maximum: float,
    titles: Sequence[str] | None = None,
) -> None:
    """Save rows of images as one picture.

    Args:
        path: PNG file to write.
        grid: images of each row, (H, W) each; rows may differ in length.
        names: label of each row, or None.
        maximum: value shown as white; 0 is black.
        titles: labels of the columns.
    """
    columns = max(len(row) for row in grid)
    figure = Figure(figsize=(columns * _TILE_INCHES + 1.0, len(grid) * _TILE_INCHES + 0.35), layout="constrained")
    axes = figure.subplots(len(grid), columns, squeeze=False)
    for row, (images, name) in enumerate(zip(grid, names, strict=True)):
        for column in range(columns):
            axis = axes[row, column]
            axis.set_xticks([])
            axis.set_yticks([])
            for spine in axis.spines.values():
                spine.set_visible(False)
            if column < len(images):
                axis.imshow(images[column], cmap="gray", vmin=0, vmax=maximum)
        if name:
            axes[row, 0].set_ylabel(name, fontsize=8, rotation=0, ha="right", va="center")
    for axis, title in zip(axes[0], titles or [], strict=False):
        axis.set_title(title, fontsize=8)
    figure.savefig(path, format="png", dpi=140)
