"""Read the volumes of MetaImage files: a header in text, then values, in the same file or in one beside it.

SimpleITK reads them, too, but damaged headers make it end the process.

Not here: slicing them (volumes.py), other formats (nifti.py, minc.py, nrrd.py).

Source: https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

import re
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from deepssim.errors import DataError, readable
from deepssim.images.frames import require_room
from deepssim.images.memory import Reservation
from deepssim.images.stored import LPS_TO_RAS, orient, require_bytes, require_image_shape, values_file, with_components
from deepssim.images.volumes import Volume

METAIMAGE_SUFFIXES = (".mha", ".mhd")
_HEADER = 2**16  # bytes in which a header must end
_MAX_COMPRESSION = 1100  # deflate reaches 1032
_LAST = "elementdatafile"
_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip


def read_metaimage(path: str | Path) -> Volume:
    """Read a MetaImage file; its values may lie in a file of their own beside it.

    Args:
        path: of the file, or of the header.

    Returns:
        The volume with axes that point right, anterior and superior (RAS), or in the order of the file if it does not record
        its orientation.

    Raises:
        NotAnImage: if the file holds no voxels, or a single row of them.
        DataError: if it is damaged or too large, or names another file than one beside it.
    """
    path = Path(path)
    with readable(path, "MetaImage", "replace it"):
        fields, end = _header(path)
        count = int(fields["ndims"])
        sides = [int(side) for side in fields["dimsize"].split()]
        if count != len(sides) or not 1 <= count <= 10:
            raise ValueError(f"NDims is {count}, but DimSize has {len(sides)} numbers")
        parts = int(fields.get("elementnumberofchannels", "1"))
        require_image_shape(sides, path)
        require_room([*sides, parts], path)
        msb = _flag(fields, "binarydatabyteordermsb") or _flag(fields, "elementbyteordermsb")
        stored = np.dtype(_TYPES[fields["elementtype"].removesuffix("_ARRAY")]).newbyteorder(">" if msb else "<")
        size = int(np.prod(sides)) * parts * stored.itemsize
        require_bytes(size, path)
        local = fields[_LAST].upper() == "LOCAL"
        source = path if local else values_file(path, fields[_LAST])
        start = end if local else int(fields.get("headersize", "0"))
        plane = int(np.prod(sides[:2])) * parts * stored.itemsize
        if start >= 0 and not _flag(fields, "compresseddata") and source.stat().st_size - start - size >= plane:
            raise ValueError(f"more than the {size:,} bytes that it declares are stored, so that images may be missing")
        content, memory = _values(source, start, size, fields)
        values = np.frombuffer(content, stored).reshape((parts, *sides), order="F")
        spacing = _numbers(fields, ("elementspacing", "elementsize"), count)
        return orient(
            with_components(values),
            _affine(fields, count, spacing),
            spacing[:3].tolist(),
            memory=memory,
            rows_down=True,
        )


def _header(path: Path) -> tuple[dict[str, str], int]:
    """Return the fields of a header by their names in lower case, and the number of bytes of the header."""
    with path.open("rb") as file:
        content = file.read(_HEADER)
    fields: dict[str, str] = {}
    end = 0
    for line in content.splitlines(keepends=True):
        end += len(line)
        name, separator, value = line.decode("latin-1").partition("=")
        if separator:
            fields[name.strip().lower()] = value.strip()
        if _LAST in fields:
            break
    if _LAST not in fields or "ndims" not in fields:
        raise ValueError("no header with NDims and ElementDataFile was found")
    if fields.get("binarydata", "True").lower() == "false":
        raise DataError(f"{path}: holds its values as text; convert it to NIfTI")
    return fields, end


def _flag(fields: Mapping[str, str], name: str) -> bool:
    return fields.get(name, "False").lower() in ("true", "1", "t")


def _numbers(fields: Mapping[str, str], names: tuple[str, ...], count: int) -> np.ndarray:
    """Return the numbers of the first of these fields that the header has; ones if it has none."""
    text = next((fields[name] for name in names if name in fields), None)
    if text is None:
        return np.ones(count)
    found = np.array([float(number) for number in re.split(r"[\s,]+", text.strip())])
    if len(found) != count:
        raise ValueError(f"{names[0]} has {len(found)} numbers; expected {count}")
    return found


def _affine(fields: Mapping[str, str], count: int, spacing: np.ndarray) -> np.ndarray | None:
    names = ("transformmatrix", "rotation", "orientation")
    if count < 3 or not any(name in fields for name in names):
        return None
    directions = _numbers(fields, names, count * count).reshape(count, count).T[:3, :3]  # stored axis by axis
    places = ("offset", "position", "origin")
    origin = _numbers(fields, places, count)[:3] if any(name in fields for name in places) else np.zeros(3)
    affine = np.eye(4)
    affine[:3, :3] = LPS_TO_RAS @ directions * spacing[:3]
    affine[:3, 3] = LPS_TO_RAS @ origin
    return affine


def _values(path: Path, start: int, size: int, fields: Mapping[str, str]) -> tuple[bytes | np.ndarray, Reservation]:
    """Return the bytes of the values, once there is memory for them."""
    packed = _flag(fields, "compresseddata")
    total = path.stat().st_size
    if start < 0:  # HeaderSize = -1: the values are the end of the file
        start = total - size if not packed else 0
    if size > max(0, total - start) * (_MAX_COMPRESSION if packed else 1):
        raise ValueError(f"has fewer than the {size:,} bytes that its header declares")
    memory = Reservation(size)
    with path.open("rb") as file:
        file.seek(start)
        if not packed:
            content = np.fromfile(file, np.uint8, size)
            if len(content) < size:
                raise ValueError(f"has {len(content):,} of the {size:,} bytes that its header declares")
            return content, memory
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # of zlib or of gzip
        content, filled = np.empty(size, np.uint8), 0
        while filled < size and (chunk := unpacker.unconsumed_tail or file.read(2**20)):
            part = unpacker.decompress(chunk, size - filled)
            content[filled : filled + len(part)] = np.frombuffer(part, np.uint8)
            filled += len(part)
            if unpacker.eof:
                break
        while not unpacker.eof and (chunk := unpacker.unconsumed_tail or file.read(2**20)):
            if unpacker.decompress(chunk, 1):  # the checksum is behind the last byte
                raise ValueError(
                    f"more than the {size:,} bytes that it declares are stored, so that images may be missing"
                )
    if filled < size or not unpacker.eof:
        raise ValueError(f"has {filled:,} of the {size:,} bytes that its header declares, or its end is missing")
    return content, memory
