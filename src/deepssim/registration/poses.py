"""Quarter turns, mirror images and negatives: sixteen poses of an image that need no interpolation.

Not here: other geometry (proof.py).
"""

from typing import NamedTuple

import numpy as np


class Pose(NamedTuple):
    """A pose of an image.

    Attributes:
        turns: quarter turns anti-clockwise, after mirroring.
        mirrored: left to right.
        negative: inverted intensities.
    """

    turns: int
    mirrored: bool
    negative: bool

    @property
    def words(self) -> str:
        """The pose in words, such as "mirrored, rotated by 90 degrees"; "unchanged" if nothing is."""
        parts = [
            "mirrored" if self.mirrored else "",
            f"rotated by {90 * self.turns} degrees" if self.turns else "",
            "negative" if self.negative else "",
        ]
        return ", ".join(filter(None, parts)) or "unchanged"

    def of(self, images: np.ndarray) -> np.ndarray:
        """Return square images in this pose: dtype uint8 or uint16, shape (..., S, S), a copy or a view."""
        if self.mirrored:
            images = images[..., ::-1]
        images = np.rot90(images, self.turns, axes=(-2, -1))
        return np.iinfo(images.dtype).max - images if self.negative else images

    def matrix(self, side: int) -> np.ndarray:
        """Return the map of places of an image to those of an image in this pose, float64 (2, 3), right and down in pixels."""
        last = side - 1.0
        matrix = np.array([[-1.0, 0, last], [0, 1, 0], [0, 0, 1]]) if self.mirrored else np.eye(3)
        turn = np.array([[0, 1, 0], [-1, 0, last], [0, 0, 1.0]])
        return (np.linalg.matrix_power(turn, self.turns) @ matrix)[:2]


POSES = tuple(
    Pose(turns, mirrored, negative) for negative in (False, True) for mirrored in (False, True) for turns in range(4)
)
UNCHANGED = POSES[0]


def nearest_pose(matrix: np.ndarray, *, negative: bool) -> Pose:
    """Return the pose that is nearest to an affine map.

    Args:
        matrix: float64 (2, 3), maps places of an image to those of another one, right and down.
        negative: of the pose.
    """
    mirrored = bool(np.linalg.det(matrix[:, :2]) < 0)
    right, down = matrix[:, 0] * (-1 if mirrored else 1)  # where the unmirrored image's first axis points
    return Pose(round(-np.arctan2(down, right) / (np.pi / 2)) % 4, mirrored, negative)
