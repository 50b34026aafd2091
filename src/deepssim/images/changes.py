"""Changes of fixed strength that a copied image may have gone through, for one image each.

Every function takes an image, float32 (H, W), 0 to 1, and the image's own random generator, and returns a new image of the
same shape that may exceed 0 to 1. Lengths are given in pixels of an image whose longer side has a stated number of pixels, or
as a fraction of the longer side. Positions are interpolated by cubic polynomials, since linear ones would blur as well.

Not here: which changes and strengths the audit's controls have (distort.py), random strengths for training (augment.py).
"""

import cv2
import numpy as np

Image = np.ndarray
Random = np.random.Generator

_CONTROL_POINTS = 5  # of a warp, along each side
_SOFT_BLUR = 1.5  # pixels of 256; with this noise about what a latent diffusion model does to details
_SOFT_NOISE = 4 / 255  # four of 256 grey levels


def keep(image: Image, random: Random) -> Image:
    """Return the image as it is.

    Args:
        image, random: see above.
    """
    return image


def flip(image: Image, random: Random, *, axis: int) -> Image:
    """Mirror an image.

    Args:
        image, random: see above.
        axis: 0 upside down, 1 left to right.
    """
    return np.flip(image, axis)


def quarter_turn(image: Image, random: Random, *, degrees: int) -> Image:
    """Rotate anti-clockwise by a multiple of 90 degrees; what no longer fits is scaled down, with black beside it.

    Args:
        image, random: see above.
        degrees: 90, 180 or 270.
    """
    turned = np.rot90(image, degrees // 90)
    if turned.shape == image.shape:
        return turned
    factor = min(image.shape) / max(image.shape)
    return _centred(turned, factor, factor, image.shape)


def invert(image: Image, random: Random) -> Image:
    """Exchange black and white.

    Args:
        image, random: see above.
    """
    return 1 - image


def gamma(image: Image, random: Random, *, exponent: float) -> Image:
    """Raise intensities to a power.

    Args:
        image, random: see above.
        exponent: above 1 darkens.
    """
    return np.power(image, np.float32(exponent))


def brightness(image: Image, random: Random, *, factor: float) -> Image:
    """Multiply intensities by a factor.

    Args:
        image, random: see above.
        factor: above 1 brightens.
    """
    return image * np.float32(factor)


def contrast(image: Image, random: Random, *, factor: float) -> Image:
    """Multiply the difference from the image's mean by a factor.

    Args:
        image, random: see above.
        factor: above 1 increases contrast.
    """
    return cv2.addWeighted(image, factor, image, 0, float(image.mean()) * (1 - factor))


def bias_field(image: Image, random: Random, *, strength: float) -> Image:
    """Multiply by a linear factor from 1 - strength in one corner to 1 + strength in the opposite one, in a random direction.

    Args:
        image, random: see above.
        strength: largest relative change.
    """
    rows, columns = (np.linspace(-size, size, size, dtype=np.float32) for size in image.shape)
    angle = random.uniform(0, 2 * np.pi)
    field = np.float32(np.sin(angle)) * rows[:, None] + np.float32(np.cos(angle)) * columns
    return image * (1 + np.float32(strength / field.max()) * field)


def blur(image: Image, random: Random, *, deviation: float, of: int = 512) -> Image:
    """Blur with a Gaussian.

    Args:
        image, random: see above.
        deviation: standard deviation, in pixels of an image of `of` pixels.
        of: longer side to which `deviation` refers, in pixels.
    """
    return cv2.GaussianBlur(image, (0, 0), deviation * max(image.shape) / of, borderType=cv2.BORDER_REPLICATE)


def noise(image: Image, random: Random, *, deviation: float) -> Image:
    """Add Gaussian noise.

    Args:
        image, random: see above.
        deviation: standard deviation, as a fraction of the intensity range.
    """
    return image + random.standard_normal(image.shape, np.float32) * np.float32(deviation)


def soft(image: Image, random: Random) -> Image:
    """Blur slightly and add slight noise, as a latent diffusion model does.

    Args:
        image, random: see above.
    """
    return noise(blur(image, random, deviation=_SOFT_BLUR, of=256), random, deviation=_SOFT_NOISE)


def jpeg(image: Image, random: Random, *, quality: int) -> Image:
    """Compress as JPEG with 8 bits and decompress.

    Args:
        image, random: see above.
        quality: 1 to 100.

    Raises:
        ValueError: if OpenCV cannot compress an image of this shape.
    """
    grey = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
    done, stream = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"OpenCV cannot compress an image of shape {image.shape} as JPEG")
    return np.asarray(cv2.imdecode(stream, cv2.IMREAD_GRAYSCALE), np.float32) / 255


def rotate(image: Image, random: Random, *, degrees: float) -> Image:
    """Rotate about the centre in a random direction; corners from outside are black.

    Args:
        image, random: see above.
        degrees: angle.
    """
    return _affine(image, cv2.getRotationMatrix2D(_centre(image), degrees * _sign(random), 1))


def zoom(image: Image, random: Random, *, factor: float) -> Image:
    """Magnify about the centre; what lies outside is cut off, or black.

    Args:
        image, random: see above.
        factor: magnification; below 1 the image shrinks.
    """
    return _affine(image, cv2.getRotationMatrix2D(_centre(image), 0, factor))


def shift(image: Image, random: Random, *, fraction: float) -> Image:
    """Shift along both axes, each in a random direction, by a fraction of the longer side; what moves in is black.

    Args:
        image, random: see above.
        fraction: of the longer side.
    """
    length = fraction * max(image.shape)
    return _affine(image, np.array([[1, 0, length * _sign(random)], [0, 1, length * _sign(random)]]))


def crop(image: Image, random: Random, *, fraction: float) -> Image:
    """Cut off a fraction of each side, at a random place, and enlarge the remainder to the whole image.

    Args:
        image, random: see above.
        fraction: of each side, 0 to 1, that is cut off.
    """
    factor = 1 / (1 - fraction)
    top, left = random.uniform(0, fraction, 2) * image.shape
    # Half a pixel, because the crop is measured from the pixels' edges and OpenCV counts from their centres.
    matrix = np.array([[factor, 0, (0.5 - left) * factor - 0.5], [0, factor, (0.5 - top) * factor - 0.5]])
    return _affine(image, matrix, cv2.BORDER_REPLICATE)


def squash(image: Image, random: Random, *, factor: float) -> Image:
    """Scale the width down, with black on both sides.

    Args:
        image, random: see above.
        factor: new width as a fraction of the old one.
    """
    return _centred(image, 1, factor, image.shape)


def warp(image: Image, random: Random, *, deviation: float, of: int = 256) -> Image:
    """Move pixels by a smooth random field of zero mean; what moves in is black.

    Args:
        image, random: see above.
        deviation: standard deviation of the displacement along each axis, in pixels of an image of `of` pixels.
        of: longer side to which `deviation` refers, in pixels.
    """
    height, width = image.shape
    control = random.standard_normal((_CONTROL_POINTS, _CONTROL_POINTS, 2), np.float32)
    field = cv2.resize(control, (width, height), interpolation=cv2.INTER_CUBIC)
    mean, spread = cv2.meanStdDev(field)
    # A field of few control points is on average off zero and weaker between them, both differently for every image.
    field = (field - mean.ravel()) * (deviation * max(image.shape) / of / spread.ravel())
    x, y = (field[..., 0] + np.arange(width)), (field[..., 1] + np.arange(height)[:, None])
    return cv2.remap(image, x.astype(np.float32), y.astype(np.float32), cv2.INTER_CUBIC)


def replace_quarter(image: Image, random: Random, other: Image) -> Image:
    """Replace a random quadrant by the same one of another image.

    Args:
        image, random: see above.
        other: see `image`; the same shape.
    """
    (top, bottom), (left, right) = (
        (0, size // 2) if random.random() < 0.5 else (size // 2, size) for size in image.shape
    )
    mixed = image.copy()
    mixed[top:bottom, left:right] = other[top:bottom, left:right]
    return mixed


def misalign(image: Image, random: Random) -> Image:
    """Flip, rotate and change the contrast, each at random.

    Args:
        image, random: see above.

    Source: the misaligned evaluation of arXiv:2509.16582: a flip of each axis, a rotation by -10 to 10 degrees and an exponent of
    0.5 to 1.5, each with probability 0.8.
    """
    for axis in (0, 1):
        image = np.flip(image, axis) if random.random() < 0.8 else image
    if random.random() < 0.8:
        image = _affine(image, cv2.getRotationMatrix2D(_centre(image), random.uniform(-10, 10), 1)).clip(0, 1)
    return gamma(image, random, exponent=random.uniform(0.5, 1.5)) if random.random() < 0.8 else image


def combine(image: Image, random: Random) -> Image:
    """Flip left to right, rotate by 8 degrees, raise to the power of 0.6, blur slightly and add slight noise.

    Args:
        image, random: see above.
    """
    turned = rotate(flip(image, random, axis=1), random, degrees=8).clip(0, 1)
    return soft(gamma(turned, random, exponent=0.6), random)


def _sign(random: Random) -> float:
    return 1.0 if random.random() < 0.5 else -1.0


def _centre(image: Image) -> tuple[float, float]:
    """Return the centre as OpenCV counts, x first, from the centre of the first pixel."""
    return (image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2


def _affine(image: Image, matrix: np.ndarray, border: int = cv2.BORDER_CONSTANT) -> Image:
    """Resample an image; `matrix` maps x and y of the image to x and y of the result."""
    size = (image.shape[1], image.shape[0])
    return cv2.warpAffine(np.ascontiguousarray(image), matrix, size, flags=cv2.INTER_CUBIC, borderMode=border)


def _centred(image: Image, rows: float, columns: float, shape: tuple[int, ...]) -> Image:
    """Scale an image down by a factor for each axis and put it in the middle of a black one of `shape`."""
    height, width = (max(1, round(size * factor)) for size, factor in zip(image.shape, (rows, columns), strict=True))
    small = cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=cv2.INTER_AREA)
    framed = np.zeros(shape, np.float32)
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    framed[top : top + height, left : left + width] = small
    return framed
