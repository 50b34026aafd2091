"""Which axes of an array are images, rows, columns and colours.

Not here: the files that hold arrays (arrays.py, containers.py), grey values (grey.py).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deepssim.images.grey import ALIKE, COMPLEX, MIXED, SEE_THROUGH, are_apart, flatten, luminance
from deepssim.images.stacks import Stack

THREE = "arrays of shape (3, H, W): three images, unless they are nearly alike like the colours of a picture"
COLOURS = "arrays of shape (N, 3, H, W): N images in colour"
LAST = "arrays of shape (H, W, N) with H = W or small N: slices along the last axis"
VOLUMES = "arrays of more than (N, H, W): each plane an image"
MIN_SIDE = 8  # of an image; smaller axes are colours or the columns of a table
_MAX_ASPECT = 16  # of height and width, beyond which an array is a table
_MAX_AXES = 6
_FLAT_SIDE = 28  # of images in flat rows, such as those of MNIST


@dataclass(frozen=True)
class Layout:
    """How an array is cut into images.

    Attributes:
        count: number of images.
        image: shape of one, (H, W), (H, W, C) or, with `colours_first`, (C, H, W).
        key: returns the index that takes the image of a number out of the array.
        colours_first: whether an image has its colours first.
        notice: what was assumed; empty if nothing.
        planes: see `Stack.planes`.
    """

    count: int
    image: tuple[int, ...]
    key: Callable[[int], Any]
    colours_first: bool = False
    notice: str = ""
    planes: int = 0


def why_not(shape: tuple[int, ...], kind: np.dtype) -> str:
    """Return why an array cannot hold images; empty if it can."""
    if kind.kind not in "buifc":
        return "holds no numbers"
    if layout_of(shape, kind) is None:
        return f"shape {shape} is not that of images"
    return ""


def could_be_flat(shape: tuple[int, ...], kind: np.dtype) -> bool:
    """Return whether an array that is no image may hold images in another order of axes, as rows, or one as a list of numbers.

    Records count as well if they or their fields have the shape of images.
    """
    if kind.names:
        fields = [kind[name] for name in kind.names]
        return any(could_be_flat(shape + field.shape, field.base) or _is_image(shape, field) for field in fields)
    if kind.kind not in "uif" or not shape or 0 in shape:
        return False
    side = math.isqrt(shape[-1])
    row = side >= _FLAT_SIDE and (side * side == shape[-1] or len(shape) > 1)
    return row or (len(shape) > 2 and sorted(shape)[-2] >= _FLAT_SIDE)


def _is_image(shape: tuple[int, ...], field: np.dtype) -> bool:
    return layout_of(shape + field.shape, field.base) is not None


def layout_of(shape: tuple[int, ...], kind: np.dtype) -> Layout | None:
    """Return how an array of this shape is cut into images.

    The last axis is colour if it has 1, 3 or 4 values (4 for unsigned integers only: red, green, blue and transparency), and
    counts images if it has 2, or 4 of another type. In (N, 3, H, W) the second axis is colour. All other leading axes count
    images: (N, H, W), (N, 1, H, W), (N, D, H, W). One array (3, H, W) is decided by its values (see `settle`). In (H, W, N),
    with H = W or with N too small for a side, the last axis counts images.

    Returns:
        None if it cannot hold images: fewer than two axes, or sides of less than 8 pixels, or one 16 times the other.
    """
    if not 2 <= len(shape) <= _MAX_AXES or 0 in shape:
        return None
    if len(shape) > 2 and shape[-1] <= 4 and _sides(shape[-3:-1]):
        return _colours_last(shape, kind)
    images_last = len(shape) == 3 and (shape[0] == shape[1] != shape[2] or not _sides(shape[1:])) and _sides(shape[:2])
    if not images_last and not _sides(shape[-2:]):
        return None
    if images_last:
        return Layout(shape[2], shape[:2], lambda number: (slice(None), slice(None), number), notice=LAST)
    leading, image = shape[:-2], shape[-2:]
    if len(shape) == 4 and shape[1] == 3:
        return Layout(shape[0], shape[1:], lambda number: (number,), colours_first=True, notice=COLOURS)
    return Layout(
        math.prod(leading), image, _leading(leading), notice=_planes(leading), planes=_planes_of_volume(leading)
    )


def _colours_last(shape: tuple[int, ...], kind: np.dtype) -> Layout:
    *leading, height, width, colours = shape
    count = math.prod(leading)
    planes = _planes_of_volume(leading)
    if colours == 3 or (colours == 4 and kind.kind == "u"):
        return Layout(count, (height, width, colours), _leading(leading), notice=_planes(leading), planes=planes)

    def key(number: int) -> tuple[Any, ...]:
        image, colour = divmod(number, colours)
        return (*_leading(leading)(image), slice(None), slice(None), colour)

    # Of several colours, those of one plane follow each other, so that neighbouring images are no neighbouring planes.
    planes = planes if colours == 1 else 0
    return Layout(count * colours, (height, width), key, notice=_planes([*leading, colours]), planes=planes)


def _leading(sides: Sequence[int]) -> Callable[[int], tuple[int, ...]]:
    return lambda number: tuple(int(index) for index in np.unravel_index(number, sides)) if sides else ()


def _planes(leading: Sequence[int]) -> str:
    return VOLUMES if len([side for side in leading if side > 1]) > 1 else ""


def _planes_of_volume(leading: Sequence[int]) -> int:
    """Return the number of planes if images lie in volumes, such as (N, D, H, W); 0 otherwise, also for (N, H, W)."""
    return leading[-1] if len(leading) > 1 and leading[-1] >= MIN_SIDE else 0


def stack_of(name: str, shape: tuple[int, ...], kind: np.dtype, values: Any) -> Stack:
    """Return the images of an array that can hold some.

    Args:
        name: of the array; may be empty.
        shape: its shape, one that `layout_of` accepts.
        kind: its type.
        values: what gives an image for a key of `Layout`: an array, a dataset.
    """
    layout = settle(shape, kind, values)
    notices = [layout.notice] if layout.notice else []
    notices += [COMPLEX] if kind.kind == "c" else []
    notices += [SEE_THROUGH] if len(layout.image) == 3 and layout.image[2] == 4 else []

    def stored_image(number: int) -> np.ndarray:
        image = np.asarray(values[layout.key(number)])
        return np.moveaxis(image, 0, -1) if layout.colours_first else image

    def load(number: int) -> np.ndarray:
        return _grey(stored_image(number))

    if len(layout.image) == 3 and kind.kind != "c":
        # The first plane of a volume (D, H, W, 3) is empty, so that the middle one is asked, too.
        notices += [MIXED] if any(are_apart(stored_image(number)) for number in {0, layout.count // 2}) else []
    stored = np.dtype(f"f{kind.itemsize // 2}") if kind.kind == "c" else kind
    return Stack(name, layout.count, load, stored, tuple(notices), values=math.prod(shape), planes=layout.planes)


def settle(shape: tuple[int, ...], kind: np.dtype, values: Any) -> Layout:
    """Return the layout of an array, with (3, H, W) decided by its values.

    Three images that are nearly alike (every two correlate by 0.95 or more) are the colours of one picture, which becomes grey
    without loss. Others are three images: read as colours, they would be mixed into a picture of nobody.
    """
    layout = layout_of(shape, kind)
    if layout is None:
        raise ValueError(f"{kind} of shape {shape} is not that of images")
    if len(shape) != 3 or shape[0] != 3 or layout.notice:
        return layout
    planes = np.stack([_grey(np.asarray(values[layout.key(number)])).astype(np.float64).ravel() for number in range(3)])
    planes = planes[:, np.isfinite(planes).all(axis=0)]
    with np.errstate(all="ignore"):  # of values near the limits of float64
        varied = planes.size > 0 and bool((planes.std(axis=1) > 0).all())
        if varied and np.corrcoef(planes).min() >= ALIKE:
            return Layout(1, shape, lambda number: (), colours_first=True, notice=THREE)
    return replace(layout, notice=THREE)


def _sides(sides: tuple[int, ...]) -> bool:
    return min(sides) >= MIN_SIDE and max(sides) <= _MAX_ASPECT * min(sides)


def _grey(image: np.ndarray) -> np.ndarray:
    if np.iscomplexobj(image):
        image = np.abs(image)
    if image.ndim == 2:
        return image
    grey = luminance(image[..., :3])
    if image.shape[2] == 3:
        return grey
    return flatten(grey, image[..., 3], float(np.iinfo(image.dtype).max))
