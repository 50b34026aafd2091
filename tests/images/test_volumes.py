import numpy as np
import pytest

from deepssim.config.choices import Axis
from deepssim.config.dataset import VolumesConfig
from deepssim.errors import DataError
from deepssim.images.volumes import cut_slices


def parts(volume, **options):
    return [frame.part for frame in cut_slices(volume, VolumesConfig(**options), "x.nii") if not frame.left_out]


@pytest.mark.parametrize(
    ("axis", "index", "shape", "place"),
    [  # the marked voxel is right, anterior and superior: at the top, and on the right where that is not the cut axis
        (Axis.SAGITTAL, 6, (5, 8), (0, 7)),  # rows: superior to inferior; columns: posterior to anterior
        (Axis.CORONAL, 7, (5, 7), (0, 6)),  # rows: superior to inferior; columns: left to right
        (Axis.AXIAL, 4, (8, 7), (0, 6)),  # rows: anterior to posterior; columns: left to right
    ],
)
def test_anterior_or_superior_is_up_and_right_is_on_the_right(axis, index, shape, place):
    volume = np.full((7, 8, 5), 0.5, np.float32)
    volume[6, 7, 4] = 1
    frames = cut_slices(volume, VolumesConfig(axis=axis), "x.nii")
    assert [frame.slice_index for frame in frames] == list(range(len(frames)))
    marked = frames[index]
    assert (marked.part, marked.slice_index) == (f"{axis.value}-{index:03d}", index)
    assert marked.pixels.shape == shape
    assert np.argwhere(marked.pixels == 1).tolist() == [list(place)]


def test_range_and_step_choose_slices():
    volume = np.ones((4, 4, 20), np.float32)
    assert parts(volume, first_slice=3, last_slice=11, step=4) == ["axial-003", "axial-007", "axial-011"]
    assert len(parts(volume)) == 20


def test_nearly_empty_slices_are_left_out():
    volume = np.zeros((10, 10, 4), np.float32)
    volume[0, :9, 1] = 1  # 9 %
    volume[0, :, 2] = 1  # 10 %
    assert parts(volume) == ["axial-002"]
    assert parts(volume, min_foreground=0.09) == ["axial-001", "axial-002"]
    assert len(parts(volume, min_foreground=0.0)) == 4
    assert parts(volume, first_slice=3) == []


def test_a_single_plane_is_one_image_without_options(random):
    plane = random.random((4, 6)).astype(np.float32)
    (frame,) = cut_slices(plane[:, :, None], VolumesConfig(axis=Axis.SAGITTAL, first_slice=9), "x.nii")
    assert (frame.part, frame.slice_index) == ("", None)
    np.testing.assert_array_equal(frame.pixels, plane.T[::-1])


@pytest.mark.parametrize(("first", "last"), [(5, 9), (3, 2), (4, None)])
def test_slices_outside_the_volume_are_named(first, last):
    shown = 3 if last is None else last
    with pytest.raises(
        DataError, match=rf"x\.nii: slices {first} to {shown} are requested, but coronal slices go from 0 to 3; change"
    ):
        parts(np.ones((9, 4, 9)), axis=Axis.CORONAL, first_slice=first, last_slice=last)
