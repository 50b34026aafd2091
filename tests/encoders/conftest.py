"""Images on which encoders are judged: virtual patients, which every clone can make, and real ones where they are at hand."""

import numpy as np
import pytest

from deepssim.config.choices import Contrast
from deepssim.config.dataset import VirtualPatientsConfig
from deepssim.datasets.virtual_patients import make_patient, scan
from deepssim.images.files import read_image
from deepssim.images.standardize import fit

COUNT, SIZE = 80, (64, 64)


@pytest.fixture(scope="session")
def virtual_scans() -> np.ndarray:
    """One slice of each of 80 virtual patients, T1 and T2 in turn: float32 (80, 64, 64), 0 to 1."""
    population, contrasts = VirtualPatientsConfig(), list(Contrast)
    patients = [make_patient(number, population, 0) for number in range(COUNT)]
    z_mm, noise = population.slices_mm[0], population.noise
    return np.stack([scan(one, contrasts[one.number % 2], z_mm, SIZE, noise)[0] for one in patients])


@pytest.fixture(params=["virtual patients", "chest X-rays"])
def scans(request) -> np.ndarray:
    """Images of 80 patients: float32 (80, 64, 64), 0 to 1."""
    if request.param == "virtual patients":
        return request.getfixturevalue("virtual_scans")
    files = sorted((request.getfixturevalue("real_data") / "chest_xray").glob("*.png"))[:COUNT]
    return np.stack([fit(read_image(file, percentiles=(0, 100)), SIZE) for file in files])
