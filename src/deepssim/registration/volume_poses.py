"""Orders and directions of a volume's axes: the 48 poses that need no interpolation, quarter turns and mirror images.

Not here: other geometry (volume_proof.py), poses of images (poses.py).
"""

from itertools import permutations, product
from typing import NamedTuple

import numpy as np


class VolumePose(NamedTuple):
    """A pose of a volume.

    Attributes:
        axes: of the volume, in the order in which they become the axes of the posed volume.
        flips: of each axis of the posed volume, whether it is reversed.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @property
    def mirrored(self) -> bool:
        """Whether the pose is a mirror image, which no rotation undoes."""
        return bool(np.linalg.det(self.matrix(1)[:, :3]) < 0)

    @property
    def words(self) -> str:
        """The pose in words, such as "axes 1, 0, 2, the first one reversed"; "unchanged" if nothing is."""
        turned = [name for name, flip in zip(("first", "second", "third"), self.flips, strict=True) if flip]
        order = "" if self.axes == (0, 1, 2) else f"axes in the order {', '.join(str(axis + 1) for axis in self.axes)}"
        reverse = f"{' and '.join(turned)} axis reversed" if turned else ""
        return ", ".join(filter(None, (order, reverse))) or "unchanged"

    def of(self, volumes: np.ndarray) -> np.ndarray:
        """Return cubic volumes in this pose, shape (..., S, S, S), a view."""
        first = volumes.ndim - 3
        turned = volumes.transpose([*range(first), *(first + axis for axis in self.axes)])
        return np.flip(turned, tuple(first + place for place, flip in enumerate(self.flips) if flip))

    def matrix(self, side: int) -> np.ndarray:
        """Return the map of places of a volume to those of the posed volume, float64 (3, 4), in voxels."""
        matrix = np.zeros((3, 4))
        for place, (axis, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            matrix[place, axis] = -1 if flip else 1
            matrix[place, 3] = side - 1 if flip else 0
        return matrix


VOLUME_POSES = tuple(
    VolumePose(axes, flips)  # type: ignore[arg-type]
    for axes in permutations(range(3))
    for flips in product((False, True), repeat=3)
)
"""All 48 poses; the first one changes nothing."""


def nearest_volume_pose(matrix: np.ndarray) -> VolumePose:
    """Return the pose that is nearest to an affine map.

    Args:
        matrix: float64 (3, 3) or (3, 4), maps places of a volume to those of another one.
    """
    return max(VOLUME_POSES, key=lambda pose: float((pose.matrix(1)[:, :3] * matrix[:, :3]).sum()))
