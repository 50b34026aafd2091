"""Black corners that turning an image has left: they tell the angle, and are filled as if the image went on there.

They are no part of what the image shows, but they darken it, and every score with it: with the true pose known and the
corners black, SSIM of two turned chest X-rays misses that of the aligned ones by 0.05 on average.

Not here: turning images back (canonical.py), turning them (images/augment.py).
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

_STEP = 0.25  # degrees between the angles that are tried
_LEAST_DEGREES = 2.0  # corners of less are too small to be told from dark ones
_BLACK = 1.5 / 255  # most that a pixel outside of an image has
_INWARD = 1.0  # pixels from the border to those that are repeated: those at it are mixed with black


def fill_corners(images: Tensor, most_degrees: float) -> tuple[Tensor, Tensor]:
    """Repeat the outermost pixels of images where a rotation about the middle has left black corners.

    The largest angle whose corners are black all over is taken for the rotation. Where those of both directions are, black
    belongs to the image, as around a head, and nothing is done.

    Args:
        images: float32 (N, 1, H, W), 0 to 1.
        most_degrees: largest rotation that is looked for.

    Returns:
        Images of which no pixel inside of the rotated frame has changed, and float32 (N,), degrees of anti-clockwise
        rotation, exact to a tenth or two; 0 where there are no such corners.
    """
    steps = round(most_degrees / _STEP)
    pixels, outside = (part.to(images.device) for part in _outside(*images.shape[2:], steps))
    bright = (images.flatten(1)[:, pixels] > _BLACK).to(images.dtype) @ outside
    # Of each direction, the largest angle; the corners of none have no pixels, so that 0 is always possible.
    number = torch.arange(steps + 1, device=images.device)
    clockwise, anticlockwise = ((number * (part == 0)).amax(1) for part in bright.unflatten(1, (2, -1)).unbind(1))
    turned = anticlockwise * (anticlockwise > clockwise) - clockwise * (clockwise > anticlockwise)
    degrees = (turned * _STEP).to(images.dtype)
    degrees = degrees * (degrees.abs() >= _LEAST_DEGREES)
    # No branch depends on what is seen, so that a traced network does the same.
    return _repeat(images, degrees), degrees


@cache
def _outside(height: int, width: int, steps: int) -> tuple[Tensor, Tensor]:
    """Return which pixels get nothing of a rotated image.

    Returns:
        int64 (P,), the pixels that any angle leaves black, and for each of these 0 or 1, float32 (P, 2 * steps + 2), by
        angle: clockwise from 0 on, then anti-clockwise.
    """
    degrees = torch.arange(steps + 1) * _STEP
    place, most = _frame(height, width, torch.cat([-degrees, degrees]))
    outside = (place.abs() >= most + 1).any(-1).flatten(1)
    pixels = outside.any(0).nonzero()[:, 0]
    return pixels, outside[:, pixels].T.float().contiguous()


def _repeat(images: Tensor, degrees: Tensor) -> Tensor:
    """Give every pixel outside of the rotated frame the value of the nearest one inside."""
    height, width = images.shape[2:]
    place, most = _frame(height, width, degrees)
    nearest = torch.minimum(torch.maximum(place, _INWARD - most), most - _INWARD)
    grid = _rotated(nearest, degrees) / most
    repeated = F.grid_sample(images, grid, mode="nearest", padding_mode="border", align_corners=True)
    inside = (place.abs() <= most).all(-1)[:, None]
    return torch.where(inside, images, repeated)


def _frame(height: int, width: int, degrees: Tensor) -> tuple[Tensor, Tensor]:
    """Return where pixels lie in an image turned anti-clockwise: (N, H, W, 2) from its middle, and half of its sides."""
    most = torch.tensor([width - 1, height - 1], device=degrees.device) / 2
    down, right = (torch.arange(side, device=degrees.device) - (side - 1) / 2 for side in (height, width))
    place = torch.stack(torch.meshgrid(right, down, indexing="xy"), dim=-1)
    return _rotated(place[None], -degrees), most


def _rotated(place: Tensor, degrees: Tensor) -> Tensor:
    """Turn points, (N or 1, H, W, 2) right and down of the middle, anti-clockwise by N angles."""
    angle = degrees.deg2rad()[:, None, None]
    right, down = place.unbind(-1)
    return torch.stack([angle.cos() * right + angle.sin() * down, angle.cos() * down - angle.sin() * right], dim=-1)
