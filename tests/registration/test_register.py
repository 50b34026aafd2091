import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import affine_transform, rotate
from skimage.metrics import structural_similarity

from deepssim.config.choices import Registration
from deepssim.errors import ConfigError
from deepssim.registration import register as module
from deepssim.registration.register import register


@pytest.fixture
def image(random):
    """Smooth blobs on black: 64x64, 0 to 1."""
    blobs = torch.from_numpy(random.random((1, 1, 9, 9)).astype(np.float32))
    smooth = F.interpolate(blobs, size=(64, 64), mode="bicubic", align_corners=True)[0, 0].clamp(0, 1).numpy()
    rows, columns = np.mgrid[-1:1:64j, -1:1:64j]
    return (smooth * (rows**2 + columns**2 < 0.7)).astype(np.float32)


def ssim(first, second):
    first, second = ((part - part.mean()) / part.std() for part in (first.astype(float), second.astype(float)))
    return structural_similarity(first, second, data_range=first.max() - first.min())


def test_the_score_is_that_of_the_image_returned(image):
    found = register(image, np.roll(image, (3, -2), (0, 1)), Registration.SHIFT)
    assert found.ssim == pytest.approx(ssim(image, found.image), abs=1e-5)
    assert found.ssim > 0.99
    assert found.flipped == ""


@pytest.mark.parametrize(("axes", "name"), [((0,), "rows"), ((1,), "columns"), ((0, 1), "rows, columns")])
def test_a_flip_is_found_and_named(image, axes, name):
    found = register(image, np.flip(np.roll(image, 2, 0), axes), Registration.SHIFT)
    assert found.flipped == name
    assert found.ssim > 0.99


def test_a_rotation_needs_more_than_a_shift(image):
    pytest.importorskip("SimpleITK")
    moving = np.clip(rotate(image, 8, reshape=False, order=1), 0, 1).astype(np.float32)
    shift, rigid, affine = (register(image, moving, kind).ssim for kind in Registration)
    assert ssim(image, moving) <= shift + 1e-6 < 0.9
    assert min(rigid, affine) > 0.95


def test_a_shear_needs_an_affine_registration(image):
    pytest.importorskip("SimpleITK")
    matrix = np.array([[1.0, 0.12], [0.0, 0.92]])
    moving = affine_transform(image, matrix, offset=31.5 - matrix @ [31.5, 31.5], order=1).astype(np.float32)
    rigid, affine = (register(image, moving, kind).ssim for kind in (Registration.RIGID, Registration.AFFINE))
    assert affine > 0.95
    assert affine > rigid + 0.02


def test_it_is_never_worse_than_the_image_as_it_is(image, random):
    for kind in Registration:
        stranger = random.random((64, 64)).astype(np.float32)
        assert register(image, stranger, kind).ssim >= ssim(image, stranger) - 1e-6


def test_a_missing_library_is_named(image, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert register(image, image, Registration.SHIFT).ssim == pytest.approx(1)
    with pytest.raises(
        ConfigError, match=r"'rigid' needs SimpleITK; install it with pip install 'deepssim\[registration\]'"
    ):
        register(image, image, Registration.RIGID)
