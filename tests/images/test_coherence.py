"""Planes of different bodies that were read as one volume."""

import numpy as np
import pytest

from deepssim.images.coherence import are_planes_apart
from deepssim.images.volumes import Volume, window_of
from tests.audit.scans import head


def apart(values):
    volume = Volume(np.asarray(values, np.float32)[..., None], (1, 1, 1))
    return are_planes_apart(volume, 0, window_of(volume, 0, (0.5, 99.5), "x.nii"))


@pytest.fixture(scope="module")
def people():
    """Heads of 24 people, shape (X, Y, Z, N)."""
    return np.stack([head(np.random.default_rng(number)) for number in range(24)], axis=3)


@pytest.mark.parametrize("plane", [8, 16, 22])
def test_planes_of_many_people_are_apart(people, plane):
    """An array (X, Y, Z, N) read as (N, D, H, W), and pictures `slice_sample.png`."""
    assert apart(people[plane])
    assert apart(people[:, :, plane])


def test_planes_in_disorder_are_apart(people):
    assert apart(people[:, :, np.random.default_rng(0).permutation(32), 0])


def test_volumes_are_not(people):
    for number in range(24):
        volume = people[..., number]
        for values in (volume, volume[:, ::-1], volume.transpose(2, 0, 1), volume[::2], volume[:, :, 8:24]):
            assert not apart(values)


def test_what_has_no_order_at_all_is_not(random):
    assert not apart(random.random((16, 16, 16)))  # noise is that of one volume
    assert not apart(np.zeros((16, 16, 16)))
