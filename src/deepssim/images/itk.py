"""Read the volumes of NRRD and MetaImage files with SimpleITK.

Not here: slicing them (volumes.py), other formats (nifti.py, minc.py).
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from deepssim.errors import DataError, readable
from deepssim.images.frames import require_room
from deepssim.images.memory import Reservation
from deepssim.images.nifti import orient, require_bytes, require_image_shape
from deepssim.images.volumes import Volume

ITK_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
_READERS = {".nrrd": "NrrdImageIO", ".nhdr": "NrrdImageIO", ".mha": "MetaImageIO", ".mhd": "MetaImageIO"}
_HEADER = 2**16  # bytes in which a header must end
_MAX_COMPRESSION = 1100  # deflate reaches 1032
# The field that names the file of the values; the last one of a MetaImage header.
_VALUES = re.compile(rb"^(?:ElementDataFile\s*=|data ?file:)[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
_COLOUR = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


def read_itk(path: str | Path) -> Volume:
    """Read a NRRD or MetaImage file; its values may lie in a file of their own beside it.

    Args:
        path: of the file, or of the header.

    Returns:
        The volume with axes that point right, anterior and superior (RAS), or in the order of the file if it does not record
        its orientation.

    Raises:
        NotAnImage: if the file holds no voxels, or a single row of them.
        DataError: if it is damaged or too large, names another file than one beside it, or SimpleITK is not installed.
    """
    path = Path(path)
    try:
        import SimpleITK as sitk
    except ImportError:
        raise DataError(
            f"{path}: NRRD and MetaImage need SimpleITK; install it (pip install SimpleITK), or convert it to NIfTI"
        ) from None
    with readable(path, "NRRD or MetaImage", "replace it"):
        stored = _stored_bytes(path)
        reader = sitk.ImageFileReader()
        reader.SetImageIO(_READERS[path.suffix.lower()])  # never one that the content chooses
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        sides = [int(side) for side in reader.GetSize()]
        parts = int(reader.GetNumberOfComponents())
        require_image_shape(sides, path)
        require_room([*sides, parts], path)
        smallest = sitk.Image([1] * len(sides), reader.GetPixelID(), 2 if parts > 1 else 0)
        item = sitk.GetArrayViewFromImage(smallest).dtype
        size = int(np.prod(sides)) * parts * item.itemsize
        require_bytes(size, path)
        if size > stored * _MAX_COMPRESSION:
            raise ValueError(f"declares {size:,} bytes, far more than it can hold")
        memory = Reservation(2 * size)  # ITK's image and the array
        image = reader.Execute()
        values = sitk.GetArrayFromImage(image)
    return _oriented(image, values, parts, memory)


def _oriented(image: Any, values: np.ndarray, parts: int, memory: Reservation) -> Volume:
    """Return the volume of an ITK image, whose array has its axes in reverse order and components last."""
    dimensions = image.GetDimension()
    components = values.ndim > dimensions
    values = values.transpose(*reversed(range(dimensions)), *range(dimensions, values.ndim))
    if components and parts == 3 and values.dtype == np.uint8:
        values = np.ascontiguousarray(values).view(_COLOUR)[..., 0]
    if dimensions < 3:  # components and times come after three axes of space
        values = values[:, :, None]
    spacing, affine = image.GetSpacing(), None
    if dimensions >= 3:
        directions = np.reshape(image.GetDirection(), (dimensions, dimensions))[:3, :3]
        affine = np.eye(4)
        affine[:3, :3] = _LPS_TO_RAS @ directions * np.asarray(spacing[:3])
        affine[:3, 3] = _LPS_TO_RAS @ np.asarray(image.GetOrigin()[:3])
    return orient(values, affine, (*spacing, 1.0)[:3], memory=memory)


def _stored_bytes(path: Path) -> int:
    """Return the bytes of a file and of that with its values, which must lie in the same folder.

    Raises:
        DataError: if the header names a file elsewhere, several files or a pattern of names.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER)
    # A NRRD header ends with an empty line; values that follow may look like anything.
    is_nrrd = path.suffix.lower() in (".nrrd", ".nhdr")
    if is_nrrd:
        header = re.split(rb"\r?\n\r?\n", header, maxsplit=1)[0]
    fields = _VALUES.findall(header)
    named = [field.decode("utf-8", "replace").strip() for field in (fields if is_nrrd else fields[:1])]
    if named and named != ["LOCAL"]:
        if len(named) > 1 or re.search(r"[/\\%]|^LIST\b|^\.\.?$|\s\d+\s+\d+\s+\d+", named[0]) or not named[0]:
            raise DataError(
                f"{path}: names {named[0]!r} as the file of its values, which must be one file in the same folder; convert "
                "it to NIfTI"
            )
        beside = path.parent / named[0]
        if not beside.is_file():
            raise DataError(f"{path}: its values, {named[0]}, are missing; put them beside it")
        return path.stat().st_size + beside.stat().st_size
    if not named and not is_nrrd:
        raise DataError(f"{path}: does not say where its values are (ElementDataFile); replace it")
    return path.stat().st_size
