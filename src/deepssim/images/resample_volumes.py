"""Smooth volumes, change their resolution, and move them by affine maps and displacements, in one thread.

Not here: bringing volumes of files to one grid (grid.py).
"""

import cv2
import numpy as np

from deepssim.runtime.compilation import compiled

_MOST_CHANNELS = 64  # of an image that OpenCV filters


def smoothed(volume: np.ndarray, deviation: float) -> np.ndarray:
    """Return a volume smoothed by a Gaussian, float32, same shape.

    Args:
        volume: float32 (D, H, W).
        deviation: standard deviation in voxels; 0 returns the volume itself.
    """
    if not deviation:
        return volume
    kernel = cv2.getGaussianKernel(2 * int(4 * deviation + 0.5) + 1, deviation, cv2.CV_32F)
    planes = np.empty(volume.shape, np.float32)
    for start in range(0, volume.shape[2], _MOST_CHANNELS):  # OpenCV filters two axes; the third one is its channels
        part = np.ascontiguousarray(volume[:, :, start : start + _MOST_CHANNELS])
        found = cv2.sepFilter2D(part, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REFLECT)
        planes[:, :, start : start + _MOST_CHANNELS] = found.reshape(part.shape)
    lines = planes.reshape(-1, volume.shape[2])
    unchanged = np.ones(1, np.float32)
    return cv2.sepFilter2D(lines, cv2.CV_32F, kernel, unchanged, borderType=cv2.BORDER_REFLECT).reshape(volume.shape)


def resized(volume: np.ndarray, side: int) -> np.ndarray:
    """Return a cubic volume with another number of voxels along each side, float32, smoothed before it is reduced.

    Args:
        volume: float32 (S, S, S).
        side: voxels along each side of the result.
    """
    factor = side / len(volume)
    if factor == 1:
        return volume
    if factor < 1:
        volume = smoothed(volume, 0.4 / factor)
    matrix = np.column_stack([np.eye(3) / factor, np.full(3, (1 / factor - 1) / 2)])
    return pulled(volume, matrix, (side, side, side))[0]


@compiled(nogil=True)
def _pull(
    volume: np.ndarray, matrix: np.ndarray, displacement: np.ndarray, moved: np.ndarray, covered: np.ndarray
) -> None:
    depth, height, width = volume.shape
    flowed = displacement.shape[1] > 0
    for z in range(moved.shape[0]):
        for y in range(moved.shape[1]):
            for x in range(moved.shape[2]):
                first, second, third = float(z), float(y), float(x)
                if flowed:
                    first += displacement[0, z, y, x]
                    second += displacement[1, z, y, x]
                    third += displacement[2, z, y, x]
                down = matrix[0, 0] * first + matrix[0, 1] * second + matrix[0, 2] * third + matrix[0, 3]
                along = matrix[1, 0] * first + matrix[1, 1] * second + matrix[1, 2] * third + matrix[1, 3]
                right = matrix[2, 0] * first + matrix[2, 1] * second + matrix[2, 2] * third + matrix[2, 3]
                inside = -0.01 <= down <= depth - 0.99 and -0.01 <= along <= height - 0.99
                covered[z, y, x] = inside and -0.01 <= right <= width - 0.99
                down = min(max(down, 0.0), depth - 1.0)
                along = min(max(along, 0.0), height - 1.0)
                right = min(max(right, 0.0), width - 1.0)
                a, b, c = min(int(down), depth - 2), min(int(along), height - 2), min(int(right), width - 2)
                u, v, w = down - a, along - b, right - c
                near = (volume[a, b, c] * (1 - w) + volume[a, b, c + 1] * w) * (1 - v)
                near += (volume[a, b + 1, c] * (1 - w) + volume[a, b + 1, c + 1] * w) * v
                far = (volume[a + 1, b, c] * (1 - w) + volume[a + 1, b, c + 1] * w) * (1 - v)
                far += (volume[a + 1, b + 1, c] * (1 - w) + volume[a + 1, b + 1, c + 1] * w) * v
                moved[z, y, x] = near * (1 - u) + far * u


def pulled(
    volume: np.ndarray, matrix: np.ndarray, shape: tuple[int, ...], displacement: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return a volume moved by a map from the result's places to its own, float32, and where it has voxels, bool.

    Args:
        volume: float32 (d, h, w), at least two voxels along each side; beyond its border, that of the border is repeated.
        matrix: float64 (3, 4), voxels.
        shape: D, H and W of the result.
        displacement: float32 (3, D, H, W), added to the result's places first, in voxels.
    """
    moved, covered = np.empty(shape, np.float32), np.empty(shape, np.bool_)
    shift = np.zeros((3, 0, 0, 0), np.float32) if displacement is None else displacement
    _pull(np.ascontiguousarray(volume), np.ascontiguousarray(matrix, np.float64), shift, moved, covered)
    return moved, covered
