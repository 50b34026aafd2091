"""The files of every format that tests read through every door."""

from collections.abc import Callable
from pathlib import Path

import h5py
import nibabel
import numpy as np
import SimpleITK as sitk
import torch
from nibabel.externals.netcdf import netcdf_file
from PIL import Image

from tests.images.test_dicom import write as write_dicom

SIZE = (16, 16)  # of all images, so that none is resized
WINDOW = (0.5, 99.5)  # the default of all readers
AFFINE = np.array([[1.0, 0, 0, -8], [0, 1, 0, -8], [0, 0, 1, -2], [0, 0, 0, 1]])  # records an orientation: the origin


def raster(**options) -> Callable[[Path, np.ndarray], object]:
    return lambda path, image: Image.fromarray(image).save(path, **options)


def pages(path: Path, image: np.ndarray) -> None:
    Image.fromarray(image).save(path, save_all=True, append_images=[Image.fromarray(image.T)])


def volume(path: Path, image: np.ndarray) -> None:
    """Write three full slices, the picture last, and an empty one."""
    values = np.stack([image.T, image, np.zeros_like(image), image[::-1]], axis=2)
    nibabel.save(nibabel.Nifti1Image(values.astype(np.int16), AFFINE), path)


def mgh(path: Path, image: np.ndarray) -> None:
    values = np.stack([image.T, image, np.zeros_like(image), image[::-1]], axis=2)
    nibabel.save(nibabel.MGHImage(values.astype(np.int16), AFFINE), path)


def minc(path: Path, image: np.ndarray) -> None:
    """Write MINC 1 as its tools do: z, y, x, bytes without sign, one range of values."""
    with netcdf_file(path, "w") as file:
        for name, start in (("zspace", -2.0), ("yspace", -8.0), ("xspace", -8.0)):
            file.createDimension(name, 4 if name == "zspace" else SIZE[0])
            axis = file.createVariable(name, "i", ())
            axis.spacing, axis.start, axis.step = b"regular__", start, 1.0
        for name, value in (("image-max", 255.0), ("image-min", 0.0)):
            file.createVariable(name, "d", ())[...] = value
        stored = file.createVariable("image", "b", ("zspace", "yspace", "xspace"))
        stored.signtype, stored.valid_range = b"unsigned", np.array([0, 255], np.int32)
        stored[:] = np.stack([image, image.T, np.zeros_like(image), image[::-1].T]).view(np.int8)


def itk(path: Path, image: np.ndarray) -> None:
    values = np.stack([image.T, image, np.zeros_like(image), image[::-1]], axis=2).astype(np.int16)
    made = sitk.GetImageFromArray(np.ascontiguousarray(values.T))
    made.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    made.SetOrigin((8, 8, -2))
    sitk.WriteImage(made, str(path))


def plane(path: Path, image: np.ndarray) -> None:
    nibabel.save(nibabel.Nifti1Image(image.astype(np.int16), np.eye(4)), path)


def frames(path: Path, image: np.ndarray) -> None:
    write_dicom(path, np.stack([image, image[::-1]]), bits=8)


def twelve_bits(path: Path, image: np.ndarray) -> None:
    write_dicom(path, image.astype(np.uint16) * 16, RescaleSlope=1, RescaleIntercept=-1024)


def colour(path: Path, image: np.ndarray) -> None:
    Image.fromarray(np.stack([image, image.T, image[::-1]], axis=2)).save(path)


def samples(image: np.ndarray) -> np.ndarray:
    """Return two images as a sampler writes them."""
    return np.stack([image, image.T])[:, None].astype(np.float32) / 127.5 - 1


def datasets(path: Path, image: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file["images"], file["labels"] = np.stack([image, image.T]), [0, 1]


FILES = {
    "scan.png": raster(),
    "colour.png": colour,
    "deep.png": lambda path, image: Image.fromarray(image.astype(np.uint16) * 16).save(path),
    "scan.jpg": raster(quality=90),
    "scan.jpeg": raster(quality=90),
    "scan.bmp": raster(),
    "scan.tif": raster(),
    "pages.tiff": pages,
    "noextension": raster(format="PNG"),
    "scan.webp": raster(lossless=True),
    "samples.npy": lambda path, image: np.save(path, samples(image)),
    "samples.npz": lambda path, image: np.savez(path, images=samples(image), labels=[0, 1]),
    "samples.h5": datasets,
    "scan.pt": lambda path, image: torch.save(torch.tensor(image), path),
    "volume.nii": volume,
    "volume.nii.gz": volume,
    "plane.nii.gz": plane,
    "scan.mgz": mgh,
    "scan.mnc": minc,
    "scan.nrrd": itk,
    "scan.mha": itk,
    "scan.dcm": lambda path, image: write_dicom(path, image, bits=8),
    "scan.IMA": twelve_bits,
    "frames.dicom": frames,
    "IM0001": twelve_bits,
    "1.2.840.10008.7": frames,
}
SEVERAL = {
    "pages.tiff": ["frame-000", "frame-001"],
    "samples.npy": ["frame-000", "frame-001"],
    "samples.npz": ["frame-000", "frame-001"],
    "samples.h5": ["frame-000", "frame-001"],
    "volume.nii": ["axial-000", "axial-001", "axial-003"],
    "volume.nii.gz": ["axial-000", "axial-001", "axial-003"],
    "scan.mgz": ["axial-000", "axial-001", "axial-003"],
    "scan.mnc": ["axial-000", "axial-001", "axial-003"],
    "scan.nrrd": ["axial-000", "axial-001", "axial-003"],
    "scan.mha": ["axial-000", "axial-001", "axial-003"],
    "frames.dicom": ["frame-000", "frame-001"],
    "1.2.840.10008.7": ["frame-000", "frame-001"],
}
