"""Read the volumes of NIfTI, Analyze and MGH files.

Not here: slicing them (volumes.py), other formats (minc.py, nrrd.py, metaimage.py).
"""

import gzip
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np

from deepssim.errors import DataError, NotAnImage, readable
from deepssim.images.frames import require_room
from deepssim.images.memory import Reservation
from deepssim.images.stored import MAX_BYTES, orient, require_bytes, require_image_shape
from deepssim.images.volumes import Volume

NIFTI_SUFFIXES = (".nii", ".nii.gz")
PAIR_SUFFIXES = (".hdr",)
MGH_SUFFIXES = (".mgh", ".mgz", ".mgh.gz")
_CHUNK = 2**20
_MAX_COMPRESSION = 1100  # gzip reaches 1032
_GZIP = b"\x1f\x8b"
_HEADER = 540  # bytes; that of NIfTI-2 is the longest
_CIFTI = range(3000, 3100)  # intent codes of matrices over surfaces
_ADVICE = "replace it"
_SILENT = logging.Logger("deepssim.nibabel", logging.CRITICAL + 1)  # outside the tree of loggers: no handler sees it


def read_volume(path: str | Path) -> Volume:
    """Read a NIfTI (1 or 2), Analyze 7.5 or MGH file, gzipped or not.

    Args:
        path: of the file; of the header, for a pair of `.hdr` and `.img`.

    Returns:
        The volume with axes that point right, anterior and superior (RAS). If the file does not record its orientation
        (Analyze; NIfTI with zero form codes or an affine without rotation and origin), axes are in the order of the file.

    Raises:
        NotAnImage: if the file holds no images by its nature: no voxels, a single row of them, or a CIFTI matrix.
        DataError: if it is damaged or too large.
    """
    path = Path(path)
    with readable(path, "a volume", _ADVICE):
        head = _head(path)
        is_mgh = path.name.lower().endswith(MGH_SUFFIXES)
        header, single = (_mgh_header(head), True) if is_mgh else _nifti_header(head, path)
        source = path if single else _values_beside(path)
        shape = tuple(int(side) for side in header.get_data_shape())
        require_image_shape(shape, path)
        require_room(shape, path)
        stored, offset = header.get_data_dtype(), int(header.get_data_offset())
        size = math.prod(shape) * stored.itemsize
        _require_supported(stored, path)
        plane = math.prod(shape[:2]) * stored.itemsize  # as much again would be an image that the header hides
        content, memory = _content(source, offset + size, MAX_BYTES if is_mgh else offset + size + plane)
        values = np.frombuffer(content, stored, math.prod(shape), offset).reshape(shape, order="F")
        slope, intercept = header.get_slope_inter()
        affine, zooms = _affine(header, head), header.get_zooms()[:3]
    return orient(
        values,
        affine,
        zooms,
        slope=1.0 if slope is None else float(slope),
        intercept=float(intercept or 0.0),
        memory=memory,
    )


def _mgh_header(head: bytes) -> Any:
    from nibabel.freesurfer.mghformat import MGHHeader, header_dtype, hf_dtype

    fields = head[: header_dtype.itemsize]
    if len(fields) < header_dtype.itemsize:
        raise ValueError("is shorter than a header")
    block = fields + bytes(hf_dtype.itemsize - len(fields))  # the footer holds nothing that is needed here
    return _checked(MGHHeader(block, check=False))


def _nifti_header(head: bytes, path: Path) -> tuple[Any, bool]:
    """Return the header, and whether the values follow it in the same file."""
    from nibabel.nifti1 import Nifti1Header, Nifti1PairHeader
    from nibabel.nifti2 import Nifti2Header, Nifti2PairHeader
    from nibabel.spm2analyze import Spm2AnalyzeHeader

    # The first field is the length of the header, in either byte order.
    length = next((size for size in (348, 540) if head[:4] in (size.to_bytes(4, "little"), size.to_bytes(4, "big"))), 0)
    if not length or len(head) < length:
        raise ValueError("no header of NIfTI or Analyze was found")
    magic = head[344:348] if length == 348 else head[4:8]
    kinds = {b"n+1\0": Nifti1Header, b"ni1\0": Nifti1PairHeader, b"n+2\0": Nifti2Header, b"ni2\0": Nifti2PairHeader}
    kind = kinds.get(magic, Spm2AnalyzeHeader if length == 348 else Nifti2Header)
    header = _checked(kind(head[:length], check=False))
    if kind is not Spm2AnalyzeHeader and int(header["intent_code"]) in _CIFTI:
        raise NotAnImage(f"{path}: is a CIFTI matrix of values on surfaces, not an image")
    return header, kind in (Nifti1Header, Nifti2Header)


def _checked(header: Any) -> Any:
    """Return a header that nibabel has checked, without its messages about what it corrects."""
    header.check_fix(_SILENT)
    return header


def _affine(header: Any, head: bytes) -> np.ndarray | None:
    """Return the affine, or None if the header does not record one."""
    if "goodRASFlag" in header:  # nibabel has set it, so the stored one is asked for
        return header.get_affine() if head[28:30] == b"\0\1" else None
    if "qform_code" in header:
        return header.get_best_affine() if int(header["qform_code"]) > 0 or int(header["sform_code"]) > 0 else None
    return None  # Analyze


def _values_beside(path: Path) -> Path:
    stem = path.name[: -len(path.suffix)].lower()
    for other in sorted(path.parent.iterdir()):
        if other.name.lower() in (f"{stem}.img", f"{stem}.img.gz"):
            return other
    raise DataError(f"{path}: its values, {path.stem}.img, are missing; put them beside it")


def _require_supported(stored: np.dtype, path: Path) -> None:
    if stored.names and {"R", "G", "B"} <= set(stored.names):
        return
    if stored.names or stored.kind not in "iufc":
        raise DataError(f"{path}: holds voxels of type {stored}, which are not numbers; convert it")


def _opened(file: Any) -> Any:
    """Return a file that decompresses what it reads, if the content of `file` is gzipped."""
    packed = file.read(len(_GZIP)) == _GZIP
    file.seek(0)
    return gzip.GzipFile(fileobj=file) if packed else file


def _head(path: Path) -> bytes:
    with path.open("rb") as raw:
        return _opened(raw).read(_HEADER)


def _content(path: Path, size: int, most: int) -> tuple[np.ndarray, Reservation]:
    """Return the first bytes of a file, decompressed, once there is memory for them.

    Args:
        path: of the file.
        size: bytes to return.
        most: fewer bytes than these must be stored: more would be images that the header does not declare.
    """
    require_bytes(size, path)
    with path.open("rb") as raw:
        file = _opened(raw)
        if size > path.stat().st_size * (_MAX_COMPRESSION if file is not raw else 1):
            raise ValueError(f"has fewer than the {size:,} bytes that its header declares")
        memory = Reservation(size)
        content = np.empty(size, np.uint8)
        view, filled = memoryview(content.data), 0
        while filled < size and (count := file.readinto(view[filled : filled + _CHUNK])):
            filled += count
        if filled < size:
            raise ValueError(f"has {filled:,} of the {size:,} bytes that its header declares")
        while file is not raw and (rest := len(file.read(_CHUNK))):  # the checksum is at the end
            filled += rest
            if filled > MAX_BYTES:
                raise DataError(
                    f"{path}: has more than {MAX_BYTES / 1e9:.1f} GB, too much for one volume; split it into several files"
                )
        stored = filled if file is not raw else path.stat().st_size
        if stored >= most:
            raise ValueError(
                f"holds {stored:,} bytes, of which its header declares {size:,}, so that images may be missing"
            )
    return content, memory
