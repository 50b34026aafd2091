from itertools import combinations

import numpy as np
import pytest
from scipy.ndimage import binary_erosion
from skimage.metrics import structural_similarity

from deepssim.config.choices import Contrast
from deepssim.config.dataset import VirtualPatientsConfig
from deepssim.datasets.virtual_patients import make_patient, make_virtual_volume, scan
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


def z_scored(volume):
    return (volume - volume.mean()) / volume.std()


def ssim_of(first, second):
    first, second = z_scored(first), z_scored(second)
    return structural_similarity(first, second, data_range=np.ptp(first))


def volume_of(number, *, visit=0, contrast=Contrast.T1, size=(24, 32, 24), movement=1.0):
    return make_virtual_volume(make_patient(number, OPTIONS, 0), contrast, size, visit=visit, movement=movement)


def test_a_volume_shows_the_patient_of_the_slices():
    patient = make_patient(0, OPTIONS, 0)
    volume = make_virtual_volume(patient, Contrast.T1, (48, 48, 48), noise=0.0, movement=0.0)
    assert volume.values.shape == (48, 48, 48)
    assert volume.values.dtype == np.float32
    assert volume.age == patient.age
    spacing = 208 / 48
    for row in (20, 27):
        z_mm = 8.0 + (row - 23.5) * spacing  # the centre of the field of view is at 8 mm
        image, _ = scan(patient, Contrast.T1, z_mm, (48, 48), 0.0)
        others = [np.corrcoef(image.ravel(), volume.values[other].ravel())[0, 1] for other in range(16, 34)]
        assert abs(16 + int(np.argmax(others)) - row) <= 1
        assert max(others) > 0.9
        assert max(others) > np.corrcoef(image.ravel(), volume.values[row, ::-1].ravel())[0, 1]
    assert (volume.values[0] == 0).all()  # below the brain


def test_visits_differ_but_are_of_one_patient():
    first, second, again = (volume_of(1, visit=visit, movement=0.0) for visit in (0, 1, 0))
    np.testing.assert_array_equal(first.values, again.values)
    assert 0.5 <= second.age - first.age <= 1.5
    other = volume_of(2, movement=0.0)
    same = ssim_of(first.values, second.values)
    assert 0.8 < same < 0.99
    assert ssim_of(first.values, other.values) < 0.65
    assert ssim_of(first.values, volume_of(1, visit=1).values) < same - 0.1  # the head has moved


def test_contrasts_of_a_visit_share_the_position_of_the_head():
    t1, t2 = (volume_of(3, contrast=contrast).values for contrast in Contrast)
    assert ((t1 > 0) == (t2 > 0)).mean() > 0.999
    assert np.corrcoef(t1[t1 > 0], t2[t1 > 0])[0, 1] < 0.3
