"""Read the volumes of NRRD files with SimpleITK.

Not here: slicing them (volumes.py), other formats (nifti.py, minc.py, metaimage.py).
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from deepssim.errors import DataError, readable
from deepssim.images.frames import require_room
from deepssim.images.memory import Reservation
from deepssim.images.stored import LPS_TO_RAS, orient, require_bytes, require_image_shape, values_file, with_components
from deepssim.images.volumes import Volume

NRRD_SUFFIXES = (".nrrd", ".nhdr")
_HEADER = 2**16  # bytes in which a header must end
_MAX_COMPRESSION = 1100  # deflate reaches 1032
_VALUES = re.compile(rb"^data ?file:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


def read_nrrd(path: str | Path) -> Volume:
    """Read a NRRD file; its values may lie in a file of their own beside it.

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
            f"{path}: NRRD needs SimpleITK; install it (pip install SimpleITK), or convert the file to NIfTI"
        ) from None
    with readable(path, "NRRD", "replace it"):
        stored = _stored_bytes(path)
        reader = sitk.ImageFileReader()
        reader.SetImageIO("NrrdImageIO")  # never one that the content chooses
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        sides = [int(side) for side in reader.GetSize()]
        parts = int(reader.GetNumberOfComponents())
        require_image_shape(sides, path)
        require_room([*sides, parts], path)
        smallest = sitk.Image([1] * len(sides), reader.GetPixelID(), 2 if parts > 1 else 0)
        size = int(np.prod(sides)) * parts * sitk.GetArrayViewFromImage(smallest).dtype.itemsize
        require_bytes(size, path)
        if size > stored * _MAX_COMPRESSION:
            raise ValueError(f"declares {size:,} bytes, far more than it can hold")
        memory = Reservation(2 * size)  # ITK's image and the array
        image = reader.Execute()
        return _oriented(image, sitk.GetArrayFromImage(image), memory)


def _oriented(image: Any, values: np.ndarray, memory: Reservation) -> Volume:
    """Return the volume of an ITK image, whose array has its axes in reverse order, and components last."""
    dimensions = image.GetDimension()
    values = values.T if values.ndim > dimensions else values.T[None]
    spacing, affine = image.GetSpacing(), None
    if dimensions >= 3:
        directions = np.reshape(image.GetDirection(), (dimensions, dimensions))[:3, :3]
        affine = np.eye(4)
        affine[:3, :3] = LPS_TO_RAS @ directions * np.asarray(spacing[:3])
        affine[:3, 3] = LPS_TO_RAS @ np.asarray(image.GetOrigin()[:3])
    return orient(with_components(values), affine, spacing[:3], memory=memory, rows_down=True)


def _stored_bytes(path: Path) -> int:
    """Return the bytes of a file and of that with its values, which must lie in the same folder.

    Raises:
        DataError: if the header names a file elsewhere, several files or a pattern of names.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER)
    header = re.split(rb"\r?\n\r?\n", header, maxsplit=1)[0]  # what follows an empty line are values
    named = [field.decode("utf-8", "replace").strip() for field in _VALUES.findall(header)]
    if len(named) > 1:
        raise DataError(f"{path}: names {len(named)} files of its values; convert it to NIfTI")
    return path.stat().st_size + (values_file(path, named[0]).stat().st_size if named else 0)
