"""Map the pixels of a DICOM file to grey values as they are meant to be displayed.

Not here: opening files (dicom_files.py), patients (dicom.py).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepssim.config.choices import DicomWindow
from deepssim.errors import DataError, readable
from deepssim.images.dicom_files import PIXELS
from deepssim.images.dicom_jpeg import plugins_of
from deepssim.images.standardize import window

_PANIC = "PanicException"  # of decoders in Rust, for damaged pixels; it is not an Exception
_LUMINANCE = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow does
_PADDING = ("PixelPadding", "FloatPixelPadding", "DoubleFloatPixelPadding")
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")
_PACKAGES = {
    "JPEG 2000": "pylibjpeg and pylibjpeg-openjpeg",
    "High-Throughput": "pylibjpeg and pylibjpeg-openjpeg",
    "JPEG-LS": "pyjpegls",
    "JPEG Lossless": "imagecodecs",
    "JPEG Extended": "imagecodecs",
}


def decode_frames(data: Any, path: str | Path) -> Iterator[np.ndarray]:
    """Decode the frames of a data set one by one.

    Args:
        data: with pixels and a transfer syntax.
        path: of the file, for messages.

    Yields:
        Stored values, of an integer or floating-point type, shape (H, W), or (H, W, 3) for colour, which pydicom converts to
        RGB.

    Raises:
        DataError: if the pixels are damaged, or no installed package decodes their compression.
    """
    syntax = data.file_meta.TransferSyntaxUID
    name = " ".join(syntax.name.split())[:80]
    with readable(path, "DICOM", "replace it"):
        plugins = plugins_of(syntax) if syntax.is_encapsulated else [""]
        if not plugins:
            raise DataError(
                f"{path}: its pixels are compressed as {name}, which needs another package; install {_packages(name)}, or "
                "decompress the file"
            )
        reasons = []
        for plugin in plugins:
            count = 0
            try:
                for frame in _decoded(data, plugin):
                    count += 1
                    yield frame
                return
            except BaseException as error:
                if not (isinstance(error, Exception) or type(error).__name__ == _PANIC):
                    raise
                reasons.append(" ".join(str(error).split()) or type(error).__name__)
                if count:
                    break  # frames were used already
    advice = f"replace it, or install {_packages(name)}" if syntax.is_encapsulated else "replace it"
    raise DataError(f"{path}: pixels cannot be decoded ({'; '.join(reasons)[:200]}); {advice}")


def _decoded(data: Any, plugin: str) -> Iterator[np.ndarray]:
    from pydicom.pixels import iter_pixels, pixel_array

    # pydicom converts only 8 bits to RGB, but the first of the stored channels is the luminance already.
    raw = is_luminance_first(data)
    if int(data.get("NumberOfFrames") or 1) > 1:
        yield from iter_pixels(data, raw=raw, decoding_plugin=plugin)
    else:  # which also corrects JPEG 2000 whose sign differs from that of the header
        frame = pixel_array(data, raw=raw, decoding_plugin=plugin)
        if frame.ndim > (3 if int(data.get("SamplesPerPixel") or 1) > 1 else 2):
            raise ValueError(f"stores {len(frame)} frames, but declares one")
        yield frame


def is_colour(data: Any) -> bool:
    """Return whether frames have three samples per pixel or a palette."""
    return int(data.get("SamplesPerPixel") or 1) > 1 or data.get("PhotometricInterpretation") == "PALETTE COLOR"


def is_luminance_first(data: Any) -> bool:
    """Return whether frames are stored as luminance and colour differences of more than 8 bits."""
    photometric = str(data.get("PhotometricInterpretation", ""))
    return photometric.startswith("YBR_FULL") and int(data.get("BitsAllocated") or 8) > 8


def luminance(frame: np.ndarray, data: Any) -> np.ndarray:
    """Return the luminance of a frame with colour or a palette.

    Args:
        frame: as `decode_frames` yields it.
        data: the data set, whose BitsStored gives the largest value: of 12 bits in 16, it is 4095.

    Returns:
        float32 (H, W), 0 to 1.
    """
    largest = 2 ** int(data.BitsStored) - 1
    if data.get("PhotometricInterpretation") == "PALETTE COLOR":
        from pydicom.pixels import apply_color_lut

        frame = apply_color_lut(frame, data)
        # Tables with entries of 8 bits are often declared as ones of 16 bits.
        largest = 255 if frame.dtype == np.uint8 or frame.max() <= 255 else 65535
    values = frame[..., 0] if is_luminance_first(data) else frame[..., :3].astype(np.float64) @ _LUMINANCE
    return np.clip(values / largest, 0, 1).astype(np.float32)


def grey(frame: np.ndarray, index: int, data: Any, percentiles: Sequence[float], choice: DicomWindow) -> np.ndarray:
    """Return the grey values of a monochrome frame.

    Args:
        frame: stored values, shape (H, W).
        index: number of the frame in the file, from 0, for values that differ between frames.
        data: the data set.
        percentiles: intensity window, see `window`; `frames.AS_STORED` keeps the values of the modality.
        choice: whether a window or table stored in the file takes precedence over `percentiles`.

    Returns:
        float32 (H, W), 0 to 1 unless as stored. Padding has the darkest value, and values that are not finite are 0.
    """
    outside = _padding(frame, data)
    values, rescaled = _modality_values(frame, index, data)
    known = np.isfinite(values)
    inside = known & ~outside
    if not inside.any():
        inside = known
    stored = _stored_window(values, index, data) if choice is DicomWindow.STORED else None
    if stored is not None:
        shown = 1 - stored if _inverted(data) else stored
        shown = np.where(outside & known, shown[inside].min() if inside.any() else 0, shown)
    else:
        if _inverted(data):
            values = _largest(frame, index, data) - values
        if inside.any():
            values = np.where(inside, values, values[inside].min())
        values = values.astype(np.float32)
        if not percentiles:
            return np.where(known, values, 0).astype(np.float32)
        plain = frame.dtype.kind == "u" and int(data.BitsStored) <= 8 and not rescaled
        shown = values / np.float32(2 ** int(data.BitsStored) - 1) if plain else window(values, percentiles)
    return np.where(known, np.clip(shown, 0, 1), 0).astype(np.float32)


def pixel_spacing(data: Any, index: int = 0) -> tuple[float, float]:
    """Return the distances between rows and between columns of a frame, in any unit; equal if the file does not say."""
    for source in (frame_item(data, index, "PixelMeasuresSequence"), data):
        for name in _SPACINGS:
            value = source.get(name) if source is not None else None
            if (
                value is not None
                and not isinstance(value, str)
                and len(value) == 2
                and all(float(side) > 0 for side in value)
            ):
                return float(value[0]), float(value[1])
    return 1.0, 1.0


def has_stored_window(data: Any) -> bool:
    """Return whether a data set stores a window or table of values of interest, for its first frame at least."""
    item = frame_item(data, 0, "FrameVOILUTSequence")
    return any(source is not None and (source.get("VOILUTSequence") or _has_window(source)) for source in (item, data))


def has_floats(data: Any) -> bool:
    """Return whether pixels are stored as floating-point numbers."""
    return any(name in data for name in PIXELS[1:])


def _packages(name: str) -> str:
    return next((packages for part, packages in _PACKAGES.items() if part in name), "pylibjpeg and pylibjpeg-libjpeg")


def frame_item(data: Any, index: int, name: str) -> Any:
    """Return the one item of a functional group of a frame, which can be shared by all frames; None if there is none."""
    per_frame, shared = (data.get(f"{kind}FunctionalGroupsSequence") for kind in ("PerFrame", "Shared"))
    groups = [per_frame[index]] if per_frame and index < len(per_frame) else []
    groups += [shared[0]] if shared else []
    return next((group.get(name)[0] for group in groups if group.get(name)), None)


def _inverted(data: Any) -> bool:
    return data.get("PhotometricInterpretation") == "MONOCHROME1"


def _padding(frame: np.ndarray, data: Any) -> np.ndarray:
    """Return where a frame is padded: PixelPaddingValue, to PixelPaddingRangeLimit if there is one (PS3.3, C.7.5.1.1.2)."""
    ends = []
    for prefix in _PADDING:
        ends = [data.get(f"{prefix}{end}") for end in ("Value", "RangeLimit")]
        if ends[0] is not None:
            break
    if ends[0] is None:
        return np.zeros(frame.shape, bool)
    numbers = [_stored_number(end, frame.dtype, data) for end in ends if end is not None]
    return (frame >= min(numbers)) & (frame <= max(numbers))


def _stored_number(value: Any, dtype: np.dtype, data: Any) -> float:
    """Return an element as a stored value: many files write negative padding as an unsigned number, or the reverse."""
    if isinstance(value, bytes):
        value = int.from_bytes(value[:2], "little")
    number, span = float(value), 2.0 ** int(data.get("BitsAllocated") or 16)
    if dtype.kind == "i" and number >= span / 2:
        return number - span
    return number + span if dtype.kind == "u" and number < 0 else number


def _rescale(index: int, data: Any) -> tuple[float, float]:
    """Return slope and intercept of a frame; a slope of 0 would leave nothing and is ignored."""
    for source in (frame_item(data, index, "PixelValueTransformationSequence"), data):
        if source is not None and "RescaleSlope" in source and "RescaleIntercept" in source:
            return float(source.RescaleSlope) or 1.0, float(source.RescaleIntercept)
    return 1.0, 0.0


def _modality_values(frame: np.ndarray, index: int, data: Any) -> tuple[np.ndarray, bool]:
    """Return the values of the modality, for example Hounsfield units, and whether they differ from the stored ones."""
    if data.get("ModalityLUTSequence"):
        from pydicom.pixels import apply_modality_lut

        return np.asarray(apply_modality_lut(frame, data), dtype=np.float64), True
    slope, intercept = _rescale(index, data)
    return frame.astype(np.float64) * slope + intercept, (slope, intercept) != (1.0, 0.0)


def _largest(frame: np.ndarray, index: int, data: Any) -> float:
    """Return the number from which inverted values are subtracted, so that the darkest possible value is that of the modality."""
    if data.get("ModalityLUTSequence"):
        return float(2 ** int(data.ModalityLUTSequence[0].LUTDescriptor[2]) - 1)
    slope, intercept = _rescale(index, data)
    if frame.dtype.kind == "f":
        return float(np.max(frame[np.isfinite(frame)], initial=0.0)) * slope + 2 * intercept
    return slope * (-1 if data.PixelRepresentation else 2 ** int(data.BitsStored) - 1) + 2 * intercept


def _has_window(source: Any) -> bool:
    return source.get("WindowCenter") is not None and source.get("WindowWidth") is not None


def _stored_window(values: np.ndarray, index: int, data: Any) -> np.ndarray | None:
    """Apply the first table or window that a file stores for a frame; None if there is none.

    Source: DICOM PS3.3, C.11.2.1.2 (LINEAR) and C.11.2.1.3 (SIGMOID, LINEAR_EXACT).
    """
    item = frame_item(data, index, "FrameVOILUTSequence")
    source = next(
        (part for part in (item, data) if part is not None and (part.get("VOILUTSequence") or _has_window(part))), None
    )
    if source is None:
        return None
    if source.get("VOILUTSequence"):
        from pydicom.pixels import apply_voi

        table = apply_voi(np.rint(values).astype(np.int32), source)
        return table / float(2 ** int(source.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    centre, width = (float(np.atleast_1d(source[name].value)[0]) for name in ("WindowCenter", "WindowWidth"))
    function = str(source.get("VOILUTFunction") or "LINEAR").upper()
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / max(width, 1e-6), -700, 700)))
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / max(width, 1e-6) + 0.5, 0, 1)
    if width <= 1:
        return (values > centre - 0.5).astype(np.float64)
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
