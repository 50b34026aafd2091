"""The reader of image files of every format: workflow, audit, notebook and reference commands all read through here.

To add a format, write the function that reads it and give it an entry in `FORMATS`.

Not here: which files a folder holds (folders.py), how a format is decoded (rasters.py, nifti.py, dicom.py).
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from deepssim.config.choices import Axis
from deepssim.config.dataset import VolumesConfig
from deepssim.errors import DataError, NotAnImage
from deepssim.images.arrays import ARRAY_SUFFIXES, is_array, read_arrays
from deepssim.images.containers import (
    HDF5_SUFFIXES,
    TENSOR_SUFFIXES,
    is_hdf5,
    is_tensors,
    read_hdf5_images,
    read_tensors,
)
from deepssim.images.dicom import Patient, read_dicom, read_patient
from deepssim.images.dicom_files import DICOM_SUFFIXES, is_dicom
from deepssim.images.frames import Contents, Frame
from deepssim.images.metaimage import METAIMAGE_SUFFIXES, read_metaimage
from deepssim.images.minc import MINC_SUFFIXES, read_minc
from deepssim.images.nifti import MGH_SUFFIXES, NIFTI_SUFFIXES, PAIR_SUFFIXES, read_volume
from deepssim.images.nrrd import NRRD_SUFFIXES, read_nrrd
from deepssim.images.rasters import RASTER_SUFFIXES, is_raster, read_raster
from deepssim.images.stored import VALUES_OF, refuse_values
from deepssim.images.texts import pointer
from deepssim.images.volumes import Volume, cut_volume

_AHEAD = 16  # items that one thread reads before the first of them is used
_HEAD = 132  # bytes that tell a format; DICOM's signature ends here
# Of the audit, notebook and reference: where the orientation is not recorded, slices along all axes, lest a copy be missed.
ALL_SLICES = VolumesConfig(unoriented_axis=Axis.ALL)

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Content = TypeVar("Content")


@dataclass(frozen=True)
class Format:
    """A file format, or several that one function reads.

    Attributes:
        name: for messages.
        suffixes: lower-case ends of file names.
        read: takes a path, the percentiles of the intensity window and the options for slicing; returns the content.
        recognise: tells the format from the first bytes of a file whose name has no extension.
        load: reads a file as a whole volume, for formats that hold one, whose images are slices.
        read_patient: reads the patient of a file, for formats that record it.
    """

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[Path, Sequence[float], VolumesConfig], Contents]
    recognise: Callable[[bytes], bool] = lambda head: False
    load: Callable[[Path], Volume] | None = None
    read_patient: Callable[[Path], Patient | None] | None = None

    @property
    def volume(self) -> bool:
        """Whether a file holds a volume, whose images are slices."""
        return self.load is not None


def _volumes(
    name: str,
    suffixes: tuple[str, ...],
    read: Callable[[Path], Volume],
    recognise: Callable[[bytes], bool] = lambda head: False,
) -> Format:
    def cut(path: Path, percentiles: Sequence[float], slicing: VolumesConfig) -> Contents:
        return cut_volume(read(path), slicing, percentiles=percentiles, path=path)

    return Format(name, suffixes, cut, recognise=recognise, load=read)


def _refuse_values(path: Path, percentiles: Sequence[float], slicing: VolumesConfig) -> Contents:
    refuse_values(path)
    return Contents(())


FORMATS = (
    Format(
        "PNG, JPEG, JPEG 2000, TIFF, BMP, GIF, WebP, AVIF, PNM or TGA",
        RASTER_SUFFIXES,
        lambda path, percentiles, slicing: read_raster(path, percentiles=percentiles),
        recognise=is_raster,
    ),
    Format(
        "NumPy",
        ARRAY_SUFFIXES,
        lambda path, percentiles, slicing: read_arrays(path, percentiles=percentiles),
        recognise=is_array,
    ),
    Format(
        "HDF5",
        HDF5_SUFFIXES,
        lambda path, percentiles, slicing: read_hdf5_images(path, percentiles=percentiles),
        recognise=is_hdf5,
    ),
    Format(
        "PyTorch or safetensors",
        TENSOR_SUFFIXES,
        lambda path, percentiles, slicing: read_tensors(path, percentiles=percentiles),
        recognise=is_tensors,
    ),
    _volumes("NIfTI", NIFTI_SUFFIXES, read_volume),
    _volumes("Analyze or NIfTI pair", PAIR_SUFFIXES, read_volume),
    _volumes("MGH", MGH_SUFFIXES, read_volume),
    _volumes("MINC", MINC_SUFFIXES, read_minc),
    _volumes("NRRD", NRRD_SUFFIXES, read_nrrd, lambda head: head.startswith(b"NRRD000")),
    _volumes("MetaImage", METAIMAGE_SUFFIXES, read_metaimage),
    Format("values of an image", tuple(VALUES_OF), _refuse_values),
    Format(
        "DICOM",
        DICOM_SUFFIXES,
        lambda path, percentiles, slicing: read_dicom(path, percentiles=percentiles, options=slicing),
        recognise=is_dicom,
        read_patient=read_patient,
    ),
)


def format_of(path: Path) -> Format | None:
    """Return the format of a file by its name or else by its first bytes; None if it is no image.

    Files whose extension is of no known format are recognised by content, too.

    Raises:
        DataError: if the first bytes are needed but cannot be read.
    """
    name = path.name.lower()
    for known in FORMATS:
        if name.endswith(known.suffixes):
            return known
    return _format_by_content(path)


def stem_of(path: Path) -> str:
    """Return the file's name without the extension of its format: `a.nii.gz` is `a`, the DICOM file `1.2.840` is `1.2.840`."""
    for known in FORMATS:
        for suffix in known.suffixes:
            if path.name.lower().endswith(suffix):
                return path.name[: -len(suffix)]
    return path.name


def read_file(path: Path, *, percentiles: Sequence[float], slicing: VolumesConfig = ALL_SLICES) -> list[Frame]:
    """Read the usable images of a file of any format; arguments and errors as of `read_contents`.

    Returns:
        The single image, the frames of a DICOM file, the pages of a TIFF, or the slices of a volume, in this order; none if
        every slice of a volume is nearly empty.
    """
    contents = read_contents(path, percentiles=percentiles, slicing=slicing)
    return [frame for frame in contents.frames if not frame.left_out]


def read_contents(path: Path, *, percentiles: Sequence[float], slicing: VolumesConfig = ALL_SLICES) -> Contents:
    """Open a file of any format.

    Args:
        path: of the file; one with an unknown extension is recognised by its content.
        percentiles: intensity window (see `window`) of volumes and of images with more than 8 bits.
        slicing: how volumes are cut; by default into all axial slices with enough foreground.

    Returns:
        Its images, those that are left out included, and how they are stored.

    Raises:
        NotAnImage: if the file holds no images by its nature, such as a DICOMDIR.
        DataError: if the file is missing, damaged or of no known format.
    """
    return _in_its_format(path, lambda known: known.read(path, percentiles, slicing))


def load_volume(path: Path) -> Volume | None:
    """Read a file as a whole volume; None if it is of a format that holds images, such as an array or DICOM.

    Args:
        path: of the file, as of `read_contents`.

    Raises:
        DataError: as of `read_contents`.
    """
    return _in_its_format(path, lambda known: known.load(path) if known.load is not None else None)


def _in_its_format(path: Path, read: Callable[[Format], Content]) -> Content:
    """Read a file by the format of its name or else by that of its content."""
    try:
        known = format_of(path)
        if known is None:
            raise DataError(f"{path}: is not an image of a known format ({_names()})")
        return read(known)
    except DataError:
        # Asked only now, to save the look-up where nothing is wrong.
        if not path.is_file():
            raise DataError(f"{path}: does not exist or is not a file") from None
        if path.stat().st_size == 0:
            raise DataError(f"{path}: is empty (0 bytes); replace it") from None
        if pointer := _pointer(path):
            raise DataError(f"{path}: is {pointer}") from None
        actual = _format_by_content(path)
        if actual in (None, known):
            raise
    return read(actual)  # whose name ends like another format's


def read_image(path: str | Path, *, percentiles: Sequence[float]) -> np.ndarray:
    """Read a file that holds one image.

    Returns:
        float32, shape (H, W), 0 to 1.

    Raises:
        DataError: if it holds none or several, or cannot be read; see `read_file`.
    """
    frames = read_file(Path(path), percentiles=percentiles)
    if len(frames) != 1:
        raise DataError(f"{path}: holds {len(frames)} images where one is expected; save each as a file of its own")
    return frames[0].pixels


def attempt_each(items: Sequence[Item], read: Callable[[Item], Content], *, threads: int) -> list[Content | DataError]:
    """Read every item; what cannot be read is logged, and its error takes the place of its content.

    Args:
        items: files, or what stands for them.
        read: raises DataError naming the file.
        threads: items read at a time.
    """
    return list(attempt_in_turn(items, read, threads=threads))


def attempt_in_turn(
    items: Sequence[Item], read: Callable[[Item], Content], *, threads: int
) -> Iterator[Content | DataError]:
    """Yield what `attempt_each` returns, item by item, while few are read ahead of what is used."""

    def attempt(item: Item) -> Content | DataError:
        try:
            return read(item)
        except DataError as error:
            # The frames of its traceback, and of the error that it replaces, would keep the values of the file in memory.
            error.__context__ = None
            return error.with_traceback(None)

    failed = []
    with ThreadPoolExecutor(threads) as pool, tqdm(total=len(items), desc="reading", unit="file", disable=None) as bar:
        for start in range(0, len(items), _AHEAD * threads):
            for result in pool.map(attempt, items[start : start + _AHEAD * threads]):
                if isinstance(result, DataError) and not isinstance(result, NotAnImage):
                    failed.append(result)
                yield result
                bar.update()
    for error in failed:
        logger.warning("%s", error)


def read_each(
    items: Sequence[Item], read: Callable[[Item], Content], *, threads: int, place: str, total: int | None = None
) -> list[Content]:
    """Read every item before reporting the unreadable ones together, so that all of them can be replaced at once.

    Args:
        items: files, or what stands for them.
        read: raises DataError naming the file.
        threads: items read at a time.
        place: the folder or table that names them, for the message.
        total: number of files including those that need no reading; the number of items unless given.

    Raises:
        DataError: with the number of unreadable files and the first of them.
    """
    results = attempt_each(items, read, threads=threads)
    failures = [result for result in results if isinstance(result, DataError)]
    if failures:
        raise DataError(
            f"{place}: {len(failures)} of {total or len(items)} files cannot be used, first "
            f"{str(failures[0]).removesuffix('; replace it')}; replace or remove them"
        )
    return [result for result in results if not isinstance(result, DataError)]


def _pointer(path: Path) -> str:
    with path.open("rb") as file:
        return pointer(file.read(_HEAD))


def _format_by_content(path: Path) -> Format | None:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    return next((known for known in FORMATS if known.recognise(head)), None)


def _names() -> str:
    return ", ".join(known.name for known in FORMATS if known.read is not _refuse_values)
