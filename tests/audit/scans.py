"""Small folders of volumes that tests audit: made heads, some of them planted among the synthetic ones."""

from pathlib import Path

import nibabel
import numpy as np
from scipy.ndimage import affine_transform, gaussian_filter
from scipy.spatial.transform import Rotation

SIDE = 32
_AFFINE = np.array([[1.0, 0, 0, -16], [0, 1, 0, -16], [0, 0, 1, -16], [0, 0, 0, 1]])  # records an orientation


def head(random: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """Make a volume with coarse and fine structures within an ellipsoid: float32 (side, side, side), 0 outside."""
    places = np.linspace(-1, 1, side)
    radii = random.uniform(0.6, 0.85, 3)
    inside = sum(
        (axis / radius) ** 2 for axis, radius in zip(np.meshgrid(*[places] * 3, indexing="ij"), radii, strict=True)
    )
    coarse, fine = (gaussian_filter(random.normal(size=(side,) * 3), side / part) for part in (8, 18))
    values = 6 + coarse / coarse.std() + fine / fine.std()
    return np.where(inside < 1, values * 100, 0).astype(np.float32)


def rotated(volume: np.ndarray, degrees: float = 12.0) -> np.ndarray:
    """Rotate a volume about an oblique axis."""
    matrix = Rotation.from_rotvec(np.ones(3) * degrees / np.sqrt(3), degrees=True).as_matrix()
    return moved(volume, matrix)


def moved(volume: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Map a volume about its centre by a matrix (3, 3)."""
    centre = (np.array(volume.shape) - 1) / 2
    return affine_transform(volume, matrix, centre - matrix @ centre, order=1)


def copies_of(volume: np.ndarray) -> dict[str, np.ndarray]:
    """Return what a memorizing generator could make of a training volume, by name."""
    return {
        "unchanged": volume,
        "mirrored": volume[::-1],
        "rotated": rotated(volume),
        "smoothed": gaussian_filter(volume, 0.7),
        "affine": moved(volume, np.array([[1.06, 0.05, 0], [0, 0.95, 0.04], [0.03, 0, 1.03]])),
    }


def write(path: Path, volume: np.ndarray) -> None:
    """Write a volume as NIfTI, with the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(volume), _AFFINE), path)


def make_scans(root: Path, *, people: int = 20, others: int = 4) -> Path:
    """Write folders `real`, a scan of each person, `copies` of the first one, and `others`, scans of other people."""
    random = np.random.default_rng(0)
    volumes = [head(random) for _ in range(people)]
    for number, volume in enumerate(volumes):
        write(root / "real" / f"p{number:02d}.nii", volume)
    for name, volume in copies_of(volumes[0]).items():
        write(root / "copies" / f"{name}.nii", volume)
    for number in range(others):
        for side in ("copies", "others"):
            write(root / side / f"other{number}.nii", head(np.random.default_rng(200 + number)))
    return root
