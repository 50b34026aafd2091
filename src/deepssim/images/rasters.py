"""Read PNG, JPEG, TIFF and BMP.

Not here: other formats (nifti.py, dicom.py), choosing the reader of a file (files.py).
"""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from deepssim.errors import DataError, readable
from deepssim.images.frames import require_finite, require_room
from deepssim.images.standardize import window

RASTER_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
# Pillow goes by content, and would pass a file that begins like PostScript to another program.
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*")
_SUBFILE_TYPE = 254  # TIFF 6.0: bit 0 marks a page as a smaller copy of another one


def is_raster(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a PNG, JPEG, TIFF or BMP."""
    # "BM" alone could begin a text; the four bytes from the seventh on are zero in a bitmap.
    return head.startswith(_SIGNATURES) or (head.startswith(b"BM") and head[6:10] == bytes(4))


def read_raster(path: str | Path, *, percentiles: Sequence[float]) -> list[np.ndarray]:
    """Read the pages of a TIFF, or the one image of another file, as grey values.

    Args:
        path: PNG, JPEG, TIFF or BMP; colour becomes luminance.
        percentiles: intensity window (see `window`) of images with more than 8 bits, whose type says little about their
            range: a 12-bit scan in a 16-bit file would come out black. Images of 8 bits keep their values.

    Returns:
        One float32 (H, W), 0 to 1, per page; reduced-resolution copies of a page are left out.

    Raises:
        DataError: if the file cannot be decoded in full.
    """
    with readable(path, "an image", "replace it"), warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path, formats=_FORMATS) as image:
                return [_grey(page, path, percentiles) for page in _pages(image, path)]
        except UnidentifiedImageError:
            raise DataError(f"{path}: is not an image") from None
        except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
            raise DataError(f"{path}: cannot be decoded ({error})") from None
        except Image.DecompressionBombWarning as error:
            raise DataError(f"{path}: is too large to be a slice or a radiograph ({error})") from None


def _pages(image: Image.Image, path: str | Path) -> Iterator[Image.Image]:
    """Yield the image at each of its pages in turn; it is one object, so use a page before asking for the next."""
    count = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
    if count == 1:
        yield image
        return
    values = 0
    for number in range(count):
        image.seek(number)
        if number and image.tag_v2.get(_SUBFILE_TYPE, 0) & 1:
            continue
        values += image.width * image.height
        require_room([values], path)
        yield image


def _grey(image: Image.Image, path: str | Path, percentiles: Sequence[float]) -> np.ndarray:
    image.load()
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return window(require_finite(np.asarray(image, dtype=np.float32), path), percentiles)
    grey = image if image.mode == "L" else image.convert("L")
    return np.asarray(grey, dtype=np.float32) / np.float32(255)
