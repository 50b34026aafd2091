"""Read pictures the way every viewer shows them: PNG, JPEG, JPEG 2000, TIFF, BMP, GIF, WebP, AVIF, PNM and TGA.

Not here: the pages of a TIFF (tiff.py), other formats (nifti.py, dicom.py, arrays.py), choosing the reader of a file (files.py).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from deepssim.errors import DataError, DeepssimError, readable
from deepssim.images.frames import MAX_VALUES, Contents, Facts, Frame
from deepssim.images.grey import (
    MIXED,
    NOT_FINITE,
    SEE_THROUGH,
    are_apart,
    describe,
    extent_of,
    flatten,
    luminance,
    natural_range,
    unit,
)
from deepssim.images.tiff import TIFF_SUFFIXES, is_tiff, read_tiff

RASTER_SUFFIXES = (
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", *TIFF_SUFFIXES,
    ".bmp", ".dib", ".gif", ".webp", ".avif", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga",
)  # fmt: skip
# Pillow goes by content, and would pass a file that begins like PostScript to another program.
_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "WEBP", "JPEG2000", "AVIF", "PPM")
_SIGNATURES = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51",
)  # fmt: skip
_ORIENTED = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")  # what may say how to turn a picture
_MOST_VALUES = 2**32  # of all frames of an animation
_GIF_END, _TAIL = b";", 1024  # the last byte, and how much of the file may follow as filling
_RAW_PNM = {b"P4": 0, b"P5": 1, b"P6": 3, b"Pf": 4, b"PF": 12}  # bytes of a pixel, up to 8 bits a sample
_JOINTS = {"PNG": b"IEND\xaeB`\x82\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd9\xff\xd8\xff"}  # the end of one and the next
_SEVERAL = "holds several images, of which programs show the first; save each as a file of its own"
_ALWAYS_ALLOWED, _MAX_COMPRESSION = 2**22, 5000  # pixels, and pixels to bytes of the file


def is_raster(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a picture; formats without a clear signature do not count."""
    if head.startswith(_SIGNATURES) or is_tiff(head):
        return True
    if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis"):
        return True
    # "BM" alone could begin a text; the four bytes from the seventh on are zero in a bitmap.
    return (head.startswith(b"BM") and head[6:10] == bytes(4)) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def read_raster(path: str | Path, *, percentiles: Sequence[float]) -> Contents:
    """Read the images of a picture as grey values: all frames of an animation, all pages of a TIFF.

    The format is recognised by the content, whatever the name says. The orientation of EXIF or XMP is applied. Colour becomes
    luminance. Transparent images are shown as `flatten` describes.

    Args:
        path: a file of one of the formats above.
        percentiles: intensity window (see `window`) of images with more than 8 bits, whose type says little about their
            range: a 12-bit scan in a 16-bit file would come out black. Images of 8 bits keep their values.

    Returns:
        float32 (H, W), 0 to 1, for each image; several are decoded while they are iterated.

    Raises:
        DataError: if the file cannot be decoded in full.
    """
    if str(path).lower().endswith(TIFF_SUFFIXES) and _holds_tiff(path):
        return read_tiff(path, percentiles=percentiles)
    with _decoding(path):
        try:
            image = Image.open(path, formats=_formats(path))
        except UnidentifiedImageError:
            if not _holds_tiff(path):
                raise
            return read_tiff(path, percentiles=percentiles)
        with image:
            _require_plausible(image, path)
            if image.format == "GIF":
                _require_end(path)
            if image.format == "PPM":
                _require_one(image, path)
            if image.format in _JOINTS:
                _require_alone(image, path)
            if getattr(image, "n_frames", 1) == 1:
                return _single(image, percentiles)
            _require_few(image, path)
            notices = (SEE_THROUGH,) if image.has_transparency_data else ()
            return Contents(_animation(path, percentiles), Facts(bits=8, notices=notices))


def _require_plausible(image: Image.Image, path: str | Path) -> None:
    """Refuse an image with more pixels than a radiograph, or than its file can hold."""
    pixels = image.width * image.height
    if pixels > (Image.MAX_IMAGE_PIXELS or MAX_VALUES):  # at which Pillow only warns
        raise Image.DecompressionBombWarning(f"{image.width}x{image.height} pixels")
    if pixels > _ALWAYS_ALLOWED and pixels > _MAX_COMPRESSION * Path(path).stat().st_size:
        raise DataError(
            f"{path}: declares {image.width}x{image.height} pixels, far more than its bytes can hold; replace it"
        )


def _require_few(image: Image.Image, path: str | Path) -> None:
    if image.width * image.height * image.n_frames > _MOST_VALUES:
        raise DataError(
            f"{path}: declares {image.n_frames:,} frames of {image.width}x{image.height}, too many; split it into several files"
        )


def _require_end(path: str | Path) -> None:
    """Refuse a GIF whose end is missing: Pillow shows the frames that are there."""
    with Path(path).open("rb") as file:
        file.seek(max(0, Path(path).stat().st_size - _TAIL))
        if not file.read().rstrip(b"\0\r\n").endswith(_GIF_END):
            raise DataError(f"{path}: is cut off, so that frames may be missing; replace it")


def _require_one(image: Image.Image, path: str | Path) -> None:
    """Refuse a PNM of several images, one after the other, of which Pillow shows the first."""
    with Path(path).open("rb") as file:
        kind, start = file.read(2), int(image.tile[0][2])
        if kind not in _RAW_PNM:
            return  # text holds one
        file.seek(0)
        deep = kind in (b"P5", b"P6") and int(file.read(start).split()[-1]) > 255
        row = (image.width + 7) // 8 if kind == b"P4" else image.width * _RAW_PNM[kind] * (2 if deep else 1)
        file.seek(start + row * image.height)
        if file.read(_TAIL).lstrip().startswith(tuple(_RAW_PNM)):
            raise DataError(
                f"{path}: holds several images, of which programs show the first; save each as a file of its own"
            )


def _require_alone(image: Image.Image, path: str | Path) -> None:
    """Refuse pictures one after the other in a file, such as those of a film of JPEG; Pillow shows the first."""
    place = image.fp.tell()
    image.fp.seek(0)
    several = _JOINTS[str(image.format)] in image.fp.read()
    image.fp.seek(place)
    if several:
        raise DataError(f"{path}: {_SEVERAL}")


def _holds_tiff(path: str | Path) -> bool:
    with readable(path, "an image", "replace it"), Path(path).open("rb") as file:
        return is_tiff(file.read(4))


def _formats(path: str | Path) -> list[str]:
    # TGA has no signature: Pillow would find it in nearly any file.
    return [*_readable_formats(), "TGA"] if str(path).lower().endswith(".tga") else _readable_formats()


@cache
def _readable_formats() -> list[str]:
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


@contextmanager
def _decoding(path: str | Path) -> Iterator[None]:
    """Say in one sentence what goes wrong in the block."""
    try:
        yield
    except DeepssimError:
        raise
    except UnidentifiedImageError:
        raise DataError(_unknown(path)) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{path}: is too large to be a slice or a radiograph ({error}); cut or reduce it") from None
    except Exception as error:  # damaged files raise exceptions of many kinds
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path}: cannot be decoded ({reason}); replace it") from None


def _unknown(path: str | Path) -> str:
    if Path(path).suffix.lower() == ".avif" and not features.check("avif"):
        return f"{path}: is AVIF, which this version of Pillow cannot read; install Pillow 11.3 or later"
    return f"{path}: is not an image of a known format; replace it"


def _animation(path: str | Path, percentiles: Sequence[float]) -> Iterator[Frame]:
    """Yield the frames as they are shown, each on what the ones before have left."""
    with _decoding(path):
        image = Image.open(path, formats=_formats(path))
    with image:
        for number in range(image.n_frames):
            with _decoding(path):
                image.seek(number)
                _require_plausible(image, path)  # a GIF may grow
                pixels = _shown(image, percentiles)[0]
            yield Frame(f"frame-{number:03d}", pixels)


def _single(image: Image.Image, percentiles: Sequence[float]) -> Contents:
    if image.format == "PNG" and image.mode in ("RGB", "RGBA") and image.tile and ";16B" in str(image.tile[0][3]):
        return _deep_png(image, percentiles)
    pixels, facts = _shown(image, percentiles)
    return Contents([Frame("", pixels)], facts)


_BYTES = Facts(bits=8)


def _shown(image: Image.Image, percentiles: Sequence[float]) -> tuple[np.ndarray, Facts]:
    """Return a loaded image as grey values, and how it is stored."""
    image.load()
    if any(key in image.info for key in _ORIENTED):
        image = ImageOps.exif_transpose(image)
    mode = image.mode
    if mode in ("L", "RGB", "1", "CMYK", "YCbCr", "HSV", "RGBX", "P") and "transparency" not in image.info:
        grey = image if mode == "L" else image.convert("L")
        apart = mode == "RGB" and are_apart(np.asarray(image))
        return np.asarray(grey, dtype=np.float32) / np.float32(255), Facts(8, notices=(MIXED,)) if apart else _BYTES
    if mode == "LAB":  # whose first channel is lightness
        return np.asarray(image.getchannel(0), dtype=np.float32) / np.float32(255), _BYTES
    if mode in ("I", "F") or mode.startswith("I;16"):
        return _scaled(np.asarray(image), percentiles, None if mode == "F" else 16)
    clear = image if mode in ("LA", "RGBA") else image.convert("RGBA")
    grey, alpha = np.asarray(clear.convert("L")), np.asarray(clear.getchannel("A"))
    notices = (SEE_THROUGH,) if alpha.min() < 255 else ()
    return flatten(grey, alpha, 255) / np.float32(255), Facts(bits=8, notices=notices)


def _scaled(
    values: np.ndarray, percentiles: Sequence[float], bits: int | None, notices: Sequence[str] = ()
) -> tuple[np.ndarray, Facts]:
    extent = extent_of(values)
    span = natural_range(values.dtype, extent)
    said = (*notices, describe(span) if percentiles else "", "" if extent.finite else NOT_FINITE)
    return unit(values, span, percentiles), Facts(bits=bits, notices=tuple(phrase for phrase in said if phrase))


def _deep_png(image: Image.Image, percentiles: Sequence[float]) -> Contents:
    """Read a PNG of 16 bits in colour or with transparency, of which Pillow keeps the upper bytes only.

    Pillow knows the layouts that keep the other byte of each pair, and, for grey with transparency, the one that keeps four
    bytes as they are. So the file is decoded again, unpacked differently.
    """
    raw = str(image.tile[0][3])
    turn = [key for key in _ORIENTED if key in image.info]

    def unpacked(layout: str) -> np.ndarray:
        image.fp.seek(0)
        again = Image.open(image.fp, formats=["PNG"])
        again.tile = [(tile[0], tile[1], tile[2], layout) for tile in again.tile]
        again.load()
        shown = ImageOps.exif_transpose(again) if turn else again
        return np.asarray(shown).astype(np.uint16)

    if raw.startswith("LA"):
        both = unpacked("RGBA")
        samples = both[..., 0::2] << 8 | both[..., 1::2]
    else:
        samples = unpacked(raw) << 8 | unpacked(raw.replace("16B", "16L"))
    grey = samples[..., 0] if raw.startswith("LA") else luminance(samples[..., :3])
    if samples.shape[2] == 3:
        pixels, facts = _scaled(grey, percentiles, 16, [MIXED] if are_apart(samples) else [])
        return Contents([Frame("", pixels)], facts)
    alpha = samples[..., -1]
    notices = [SEE_THROUGH] if alpha.min() < 65535 else []
    pixels, facts = _scaled(flatten(grey, alpha, 65535), percentiles, 16, notices)
    return Contents([Frame("", pixels)], facts)
