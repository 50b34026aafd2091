"""Images on which encoders are judged: virtual patients, which every clone can make, and real ones where they are at hand."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from deepssim.config.choices import Contrast
from deepssim.config.dataset import VirtualPatientsConfig
from deepssim.datasets.virtual_patients import make_patient, scan
from deepssim.images.files import read_image
from deepssim.images.standardize import fit

COUNT, SIZE = 80, (64, 64)
Size = tuple[int, int]


@cache
def scans_of_virtual_patients(count: int, size: Size) -> np.ndarray:
    """One slice of each of some virtual patients, T1 and T2 in turn: float32 (count, H, W), 0 to 1."""
    population, contrasts = VirtualPatientsConfig(), list(Contrast)
    patients = [make_patient(number, population, 0) for number in range(count)]
    z_mm, noise = population.slices_mm[0], population.noise
    return np.stack([scan(one, contrasts[one.number % 2], z_mm, size, noise)[0] for one in patients])


def real_images(folder: Path, count: int, size: Size) -> np.ndarray:
    """Images spread over a folder: float32 (count, H, W), 0 to 1."""
    files = sorted(folder.glob("*.png"))
    return np.stack([fit(read_image(files[n * len(files) // count], percentiles=(0, 100)), size) for n in range(count)])


@pytest.fixture(params=["virtual patients", "chest X-rays", "MR slices"])
def images_of(request) -> Callable[[int, Size], np.ndarray]:
    """Make images of a number and size, float32 (count, H, W), 0 to 1."""
    if request.param == "virtual patients":
        return scans_of_virtual_patients
    folder = (
        request.getfixturevalue("real_data")
        / {"chest X-rays": "chest_xray", "MR slices": "brain_slices"}[request.param]
    )
    return lambda count, size: real_images(folder, count, size)


@pytest.fixture(params=["virtual patients", "chest X-rays"])
def scans(request) -> np.ndarray:
    """Images of 80 patients: float32 (80, 64, 64), 0 to 1."""
    if request.param == "virtual patients":
        return scans_of_virtual_patients(COUNT, SIZE)
    files = sorted((request.getfixturevalue("real_data") / "chest_xray").glob("*.png"))[:COUNT]
    return np.stack([fit(read_image(file, percentiles=(0, 100)), SIZE) for file in files])
