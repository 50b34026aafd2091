"""The pictures by which a person can check a pair of volumes: slices in three planes, of both and of one moved onto the other.

Not here: registration (registration/volume_proof.py), the pictures of a pair of images (pictures.py).
"""

import numpy as np

from deepssim.audit.pictures import PairPictures
from deepssim.registration.overlap import match_histogram
from deepssim.registration.partial import Coverage
from deepssim.registration.volume_proof import aligned

_PLACES = (0.3, 0.5, 0.7)  # of the slices, along what the volume shows


def show_volumes(real: np.ndarray, other: np.ndarray) -> PairPictures:
    """Register a volume to a real one and show slices of both.

    Args:
        real: float32 (D, H, W), 0 to 1.
        other: float32 (d, h, w), 0 to 1.

    Returns:
        Pictures of three rows, slices across each axis; `other` has slices of the volume as it was.
    """
    moved, mask = aligned(*(np.rint(255 * volume).astype(np.uint8) for volume in (real, other)))
    registered = moved.astype(np.float32) / 255
    matched = match_histogram(registered, real, mask) if mask.any() else registered
    places = places_of(real)
    planes = {
        "registered": np.where(mask, registered, 0),
        "matched": np.where(mask, matched, 0),
        "difference": np.where(mask, np.abs(real - matched), 0),
    }
    shown = {name: mosaic(volume.astype(np.float32), places) for name, volume in planes.items()}
    return PairPictures(
        real=mosaic(real, places), other=mosaic(other), **shown, mask=mosaic(mask.astype(np.float32), places) > 0.5,
        points=np.zeros((0, 2, 2), np.float32), cues={}, coverage=Coverage(0, 1.0, 1.0, 1.0, 1.0),
    )  # fmt: skip


def places_of(volume: np.ndarray) -> list[list[int]]:
    """Return the slices across each axis that are shown, spread over what the volume shows.

    Args:
        volume: float32 (D, H, W), 0 to 1.
    """
    found = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        shown = np.flatnonzero(volume.max(axis=others) > 0.1)
        first, last = (shown[0], shown[-1]) if len(shown) else (0, volume.shape[axis] - 1)
        found.append([round(first + place * (last - first)) for place in _PLACES])
    return found


def mosaic(volume: np.ndarray, places: list[list[int]] | None = None) -> np.ndarray:
    """Return slices of a volume as one picture: a row across each axis, superior or anterior up.

    Args:
        volume: float32 (D, H, W), 0 to 1.
        places: slices across each axis; those of `places_of` unless given.
    """
    places = places_of(volume) if places is None else places
    rows = []
    side = max(volume.shape)
    for axis, chosen in enumerate(places):
        planes = [np.moveaxis(volume, axis, 0)[place][::-1] for place in chosen]
        rows.append(np.concatenate([_padded(plane, side) for plane in planes], axis=1))
    return np.concatenate(rows).astype(np.float32)


def _padded(plane: np.ndarray, side: int) -> np.ndarray:
    height, width = plane.shape
    top, left = (side - height) // 2, (side - width) // 2
    return np.pad(plane, ((top, side - height - top), (left, side - width - left)))
