"""What the readers of volumes share: checks of shape and size, files of values beside a header, orientation.

Not here: the formats (nifti.py, minc.py, nrrd.py, metaimage.py), slicing (volumes.py).
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepssim.errors import DataError, NotAnImage
from deepssim.images.memory import Reservation
from deepssim.images.volumes import Volume

MAX_BYTES = 2**31  # of the values of a file
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])  # ITK's axes to those of NIfTI
_COLOUR = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
# Files that hold only the values of an image, whose header lies beside them, by the headers of each.
VALUES_OF = {
    ".img": (".hdr",),
    ".img.gz": (".hdr",),
    ".raw": (".mhd", ".nhdr"),
    ".zraw": (".mhd",),
    ".raw.gz": (".nhdr", ".mhd"),
}
# Headers whose values may lie in another file, and how those of MetaImage and NRRD name it.
_HEADER_SUFFIXES = (".hdr", ".mhd", ".mha", ".nhdr", ".nrrd")
_NRRD = b"NRRD000"
_NAMED = re.compile(rb"^(?:elementdatafile\s*=|data ?file:)[ \t]*([^\r\n]+)", re.IGNORECASE | re.MULTILINE)
_HEADER = 2**16  # bytes


def values_beside(path: Path, head: bytes) -> list[Path]:
    """Return the files beside a header that may hold its values: those that it names, and those of its own name.

    Headers of many images are equal to the byte, so that a header alone does not say what the image is.

    Args:
        path: of the file.
        head: its first bytes, by which a NRRD of another name is known.

    Returns:
        Sorted and possibly none; always none for files of other formats.
    """
    if not (path.name.lower().endswith(_HEADER_SUFFIXES) or head.startswith(_NRRD)):
        return []
    named = _names(path)
    stem = path.name.rpartition(".")[0].lower()
    own = {f"{stem}{suffix}" for suffix in VALUES_OF}
    return sorted(
        other for other in path.parent.iterdir()
        if other != path and other.is_file() and (other.name in named or other.name.lower() in own)
    )  # fmt: skip


def _names(header: Path) -> set[str]:
    """Return the files of values that a header of MetaImage or NRRD names."""
    with header.open("rb") as file:
        return {name.decode("utf-8", "surrogateescape").strip() for name in _NAMED.findall(file.read(_HEADER))}


def values_file(path: Path, name: str) -> Path:
    """Return the file of values that a header names, which must lie in the same folder.

    Raises:
        DataError: if the name leads elsewhere, stands for several files, or there is no such file.
    """
    if not name or re.search(r"[/\\%\0]|^LIST\b|^\.\.?$|\s\d+\s+\d+\s+\d+", name):
        raise DataError(
            f"{path}: names {name[:80]!r} as the file of its values, which must be one file in the same folder; convert it to "
            "NIfTI"
        )
    if not (path.parent / name).is_file():
        raise DataError(f"{path}: its values, {name[:80]}, are missing; put them beside it")
    return path.parent / name


def with_components(values: np.ndarray) -> np.ndarray:
    """Bring components to the last axis, behind three axes of space; colour of 8 bits becomes one structure per voxel.

    Args:
        values: of any number type, shape (C, X, Y), (C, X, Y, Z) or with further axes; in Fortran order, as it is stored.

    Returns:
        Same type, shape (X, Y, Z, ..., C), or uint8 R, G and B of shape (X, Y, Z, ...).
    """
    values = values[..., None] if values.ndim == 3 else values
    if values.shape[0] == 1:
        return values[0]
    last = np.moveaxis(values, 0, -1)
    if values.shape[0] == 3 and values.dtype == np.uint8:
        return np.ascontiguousarray(last).view(_COLOUR)[..., 0]
    return last


def refuse_values(path: Path) -> None:
    """Say why a file that holds only the values of an image is not read.

    Raises:
        NotAnImage: if its header lies beside it, which is read instead.
        DataError: if there is no header, or only one of other values.
    """
    suffix = max((known for known in VALUES_OF if path.name.lower().endswith(known)), key=len)
    stem = path.name[: -len(suffix)].lower()
    headers = [f"{stem}{known}" for known in VALUES_OF[suffix]]
    try:
        others = sorted(path.parent.iterdir())
        # A .hdr has the values of its own name; other headers say where they are.
        beside = [
            other.name for other in others
            if other.name.lower() in headers and (other.suffix.lower() == ".hdr" or path.name in _names(other))
        ]  # fmt: skip
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    twin = path.name.lower().endswith(".img.gz") and any(other.name.lower() == f"{stem}.img" for other in others)
    if beside and not twin:  # of two files of values, the first is read
        raise NotAnImage(f"{path}: holds the values of {beside[0]}, which is read instead")
    raise DataError(
        f"{path}: holds values without a header; put {' or '.join(headers)} beside it, or convert it to NIfTI"
    )


def require_image_shape(shape: Sequence[int], path: str | Path) -> None:
    """Raise NotAnImage for a shape that no image has: empty, or a single row of values."""
    if any(side < 1 for side in shape):
        raise NotAnImage(f"{path}: has no voxels (shape {'x'.join(map(str, shape))}), so it is not an image")
    if sum(side > 1 for side in shape) < 2:
        raise NotAnImage(f"{path}: holds a single row of values (shape {'x'.join(map(str, shape))}), not an image")


def require_bytes(size: int, path: str | Path) -> None:
    """Raise a DataError if a volume declares more bytes than are read into memory."""
    if size > MAX_BYTES:
        raise DataError(f"{path}: declares {size:,} bytes, too much for one volume; split it into several files")


def orient(
    values: np.ndarray,
    affine: np.ndarray | None,
    zooms: Sequence[float],
    *,
    slope: float = 1.0,
    intercept: float = 0.0,
    memory: Reservation | None = None,
    rows_down: bool = False,
) -> Volume:
    """Return a volume whose axes point right, anterior and superior, without copying its values.

    Where the orientation is not recorded, rows of ITK's files begin at the top, as those of the pictures that it writes into
    them and as every viewer shows them.

    Args:
        values: of the stored type, for example int16, shape (X, Y), (X, Y, Z) or with more axes, which become the fourth.
        affine: float64, shape (4, 4), voxel indices to millimetres in RAS; None if it is not recorded.
        zooms: distance of voxels along each stored axis, any unit.
        slope, intercept, memory: as of `Volume`.
        rows_down: whether the format is one of ITK's; NIfTI that ITK wrote is known by its affine.
    """
    from nibabel.orientations import apply_orientation, io_orientation, ornt2axcodes

    spacing = [float(side) for side in (*zooms, 1.0, 1.0, 1.0)[:3]]
    values = values.reshape((*(*values.shape, 1, 1)[:3], -1), order="F")
    codes = ""
    if affine is not None and np.isfinite(affine).all() and not _says_nothing(affine):
        orientation = io_orientation(affine)
        if np.isfinite(orientation).all():  # a column of zeros has no direction
            values = apply_orientation(values, orientation)
            spacing = [spacing[int(axis)] for axis in np.argsort(orientation[:, 0])]
            codes = "".join(ornt2axcodes(orientation))
    if not codes and (rows_down if affine is None else affine[1, 1] < 0):
        values = values[:, ::-1]  # the second axis is shown upwards
    return Volume(values, spacing, codes, slope, intercept, memory)


def _says_nothing(affine: np.ndarray) -> bool:
    """Return whether an affine is that of a program without any: voxel size only, in the axes of NIfTI or of ITK."""
    directions = np.diag(np.diag(affine[:3, :3]))
    signs = np.sign(np.diag(affine)[:3]).tolist()
    return not affine[:3, 3].any() and np.array_equal(affine[:3, :3], directions) and signs in ([1, 1, 1], [-1, -1, 1])
