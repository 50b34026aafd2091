from itertools import combinations

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from deepssim.config.choices import Contrast
from deepssim.config.dataset import VirtualPatientsConfig
from deepssim.datasets.virtual_patients import make_patient, scan
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import quantise
from deepssim.similarity.ssim import SsimComparison
from deepssim.similarity.tiles import all_scores

OPTIONS = VirtualPatientsConfig()


@pytest.fixture(scope="module")
def population() -> ImagePack:
    scans = [scan(make_patient(n, OPTIONS, 0), Contrast.T1, 20.0, (48, 48), OPTIONS.noise)[0] for n in range(12)]
    return ImagePack(np.stack([quantise(image, 8) for image in scans]), [str(n) for n in range(12)])


def test_every_patient_is_visibly_different(population):
    scores = all_scores(SsimComparison(population, population))
    assert max(scores[row, column] for row, column in combinations(range(12), 2)) < 0.85
    assert np.allclose(np.diag(scores), 1)


def test_a_patient_depends_on_seed_and_number_only():
    first, again, other = (make_patient(3, OPTIONS, seed) for seed in (0, 0, 1))
    images = [scan(patient, Contrast.T2, 20.0, (32, 40), 0.01)[0] for patient in (first, again, other)]
    np.testing.assert_array_equal(images[0], images[1])
    assert np.abs(images[0] - images[2]).mean() > 0.02


def test_contrasts_order_the_tissues(population):
    patient = make_patient(0, OPTIONS, 0)
    t1, _ = scan(patient, Contrast.T1, 20.0, (48, 48), 0.0)
    t2, fractions = scan(patient, Contrast.T2, 20.0, (48, 48), 0.0)
    inner = binary_erosion((t1 > 0) & (t2 > 0), iterations=3)  # at the edge both are mixed with the black around
    assert np.corrcoef(t1[inner], t2[inner])[0, 1] < -0.5  # fluid is bright on T2 and dark on T1
    fluid = inner & (t2 > np.quantile(t2[inner], 0.9))
    assert t1[fluid].mean() < 0.8 * t1[inner].mean()
    assert fractions.keys() == {"csf_perc", "gm_perc", "wm_perc"}
    assert sum(fractions.values()) == pytest.approx(1)


def test_background_is_exactly_black(population):
    assert (population.images[:, :3, :3] == 0).all()
    foreground = (population.images > 0).mean(axis=(1, 2))
    assert foreground.min() > 0.2
    assert foreground.max() < 0.75
