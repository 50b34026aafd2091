"""Decode what pydicom has no safe decoder for, JPEG Lossless and JPEG of 12 bits, with imagecodecs: a plugin of pydicom.

GDCM decodes JPEG Lossless, too, but damaged files make it end the process, so it is never used.

Not here: the choice among decoders (dicom_pixels.py).
"""

import importlib.util
import threading
from contextlib import suppress
from typing import Any

_LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
_EXTENDED = ("1.2.840.10008.1.2.4.51",)
_LABEL = "imagecodecs"
DECODER_DEPENDENCIES = dict.fromkeys(_LOSSLESS + _EXTENDED, ("numpy", "imagecodecs"))  # the name that pydicom asks for

_lock = threading.Lock()


def is_available(uid: str) -> bool:
    """Return whether imagecodecs is installed, which decodes this transfer syntax."""
    return uid in DECODER_DEPENDENCIES and importlib.util.find_spec("imagecodecs") is not None


def decode_frame(src: bytes, runner: Any) -> bytearray:
    """Decode a frame: a function as pydicom expects it of a plugin.

    Args:
        src: the compressed frame.
        runner: pydicom's `DecodeRunner`, which says what the header expects.

    Returns:
        The pixels, row by row, colour by pixel, in the byte order of this machine.

    Raises:
        ValueError: if the frame has another size than the header says.
    """
    import imagecodecs

    lossless = runner.transfer_syntax in _LOSSLESS
    if not lossless and runner.samples_per_pixel > 1:
        raise NotImplementedError("colour of JPEG Extended is not decoded")
    pixels = imagecodecs.jpegsof3_decode(src) if lossless else imagecodecs.jpeg8_decode(src)
    if pixels.size != runner.rows * runner.columns * runner.samples_per_pixel:
        raise ValueError(
            f"its pixels have the shape {'x'.join(map(str, pixels.shape))}, which is not that of the header"
        )
    runner.set_option("bits_allocated", 8 * pixels.dtype.itemsize)
    runner.set_option("planar_configuration", 0)
    return bytearray(pixels.tobytes())


def plugins_of(syntax: Any) -> list[str]:
    """Return the names of the installed decoders of a transfer syntax that damaged files do not crash, in order of preference.

    Raises:
        NotImplementedError: if pydicom knows no decoder for it.
    """
    from pydicom.pixels import get_decoder

    decoder = get_decoder(syntax)
    with _lock:
        if syntax in DECODER_DEPENDENCIES and _LABEL not in (*decoder.available_plugins, *decoder.missing_dependencies):
            with suppress(ValueError):  # it was added before, but imagecodecs is not installed
                decoder.add_plugin(_LABEL, (__name__, decode_frame.__name__))
    return [name for name in decoder.available_plugins if name != "gdcm"]
