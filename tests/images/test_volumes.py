import numpy as np
import pytest

from deepssim.config.choices import Axis, FourthAxis
from deepssim.config.dataset import VolumesConfig
from deepssim.errors import DataError
from deepssim.images.grey import MIXED
from deepssim.images.square import NOT_SQUARE
from deepssim.images.standardize import window
from deepssim.images.volumes import COLOUR, NEARLY_EMPTY, NOT_ORIENTED, Volume, cut_volume

ALL = (0.0, 100.0)


def cut(values, *, codes="RAS", spacing=(1, 1, 1), percentiles=ALL, **options):
    values = np.asarray(values)
    volume = Volume(values if values.ndim == 4 else values[..., None], spacing, codes)
    return cut_volume(volume, VolumesConfig(**options), percentiles=percentiles, path="x.nii")


def parts(values, **options):
    return [frame.part for frame in cut(values, **options).frames if not frame.left_out]


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
    for chosen in (axis, Axis.ALL):
        frames = [frame for frame in cut(volume, axis=chosen).frames if frame.part.startswith(axis.value)]
        assert [frame.slice_index for frame in frames] == list(range(len(frames)))
        marked = frames[index]
        assert (marked.part, marked.slice_index) == (f"{axis.value}-{index:03d}", index)
        assert marked.pixels.shape == shape
        assert np.argwhere(marked.pixels == 1).tolist() == [list(place)]


def test_all_axes_give_the_slices_of_each(random):
    volume = random.random((4, 5, 6))
    names = parts(volume, axis=Axis.ALL)
    assert names == [part for axis in (Axis.AXIAL, Axis.CORONAL, Axis.SAGITTAL) for part in parts(volume, axis=axis)]
    assert len(names) == 4 + 5 + 6


def test_a_volume_without_orientation_is_named_and_cut_as_chosen(random):
    volume = random.random((4, 5, 6))
    for options, count in (({}, 6), ({"axis": Axis.CORONAL}, 5), ({"unoriented_axis": Axis.ALL}, 15)):
        contents = cut(volume, codes="", **options)
        assert contents.facts.notices == (NOT_ORIENTED,)
        assert len(list(contents.frames)) == count
    assert len(list(cut(volume, unoriented_axis=Axis.ALL).frames)) == 6


def test_range_and_step_choose_slices():
    volume = np.ones((4, 4, 20), np.float32)
    assert parts(volume, first_slice=3, last_slice=11, step=4) == ["axial-003", "axial-007", "axial-011"]
    assert len(parts(volume)) == 20


def test_nearly_empty_slices_are_marked_relative_to_the_fullest():
    volume = np.zeros((10, 10, 4), np.float32)
    volume[0, :9, 1] = 1  # 9 % of the fullest
    volume[:, :, 2] = 1
    volume[1, :, 3] = 1  # 10 %
    assert parts(volume) == ["axial-002", "axial-003"]
    assert parts(volume, min_foreground=0.09) == ["axial-001", "axial-002", "axial-003"]
    assert len(parts(volume, min_foreground=0.0)) == 4
    assert [frame.left_out for frame in cut(volume, first_slice=1).frames] == [NEARLY_EMPTY, "", ""]
    assert parts(np.zeros((3, 3, 3))) == []


def test_a_few_bright_vessels_are_enough():
    """A rule of a tenth of all pixels, made for brains, would drop every slice of an angiogram."""
    volume = np.zeros((40, 40, 10), np.float32)
    volume[5:8, 5:8, :] = 9
    volume[20, 20:28, 2:] = 5
    assert len(parts(volume)) == 10


def test_slices_of_a_brain_with_values_below_zero_are_still_found_empty(random):
    volume = np.zeros((20, 20, 12), np.float32)
    volume[5:15, 5:15, 3:9] = random.normal(100, 80, (10, 10, 6))
    assert volume.min() < 0
    assert parts(volume) == [f"axial-{index:03d}" for index in range(3, 9)]


def test_a_single_plane_is_one_image_without_options(random):
    plane = random.random((4, 6)).astype(np.float32)
    for axis, shape in ((0, (1, 4, 6)), (1, (4, 1, 6)), (2, (4, 6, 1))):
        (frame,) = cut(plane.reshape(shape), axis=Axis.SAGITTAL, first_slice=9).frames
        assert (frame.part, frame.slice_index, axis) == ("", None, axis)
        np.testing.assert_array_equal(frame.pixels, window(plane, ALL).T[::-1])


@pytest.mark.parametrize(("first", "last"), [(5, 9), (3, 2), (4, None)])
def test_slices_outside_the_volume_are_named(first, last):
    shown = 3 if last is None else last
    with pytest.raises(
        DataError, match=rf"x\.nii: slices {first} to {shown} are requested, but coronal slices go from 0 to 3; change"
    ):
        parts(np.ones((9, 4, 9)), axis=Axis.CORONAL, first_slice=first, last_slice=last)


def test_voxels_that_are_not_cubes_become_square_pixels(random):
    volume = random.random((10, 12, 4))
    for axis, shape in ((Axis.AXIAL, (12, 10)), (Axis.CORONAL, (20, 10)), (Axis.SAGITTAL, (20, 12))):
        contents = cut(volume, spacing=(1, 1, 5), axis=axis)
        assert {frame.pixels.shape for frame in contents.frames} == {shape}
        assert contents.facts.notices == (() if axis is Axis.AXIAL else (NOT_SQUARE,))
        stored = cut(volume, spacing=(1, 1, 5), axis=axis, square_pixels=False)
        assert NOT_SQUARE not in stored.facts.notices
        assert {frame.pixels.shape[0] for frame in stored.frames} == {12 if axis is Axis.AXIAL else 4}


def test_a_fourth_axis_is_used_as_chosen_and_never_silently_reduced(random):
    values = random.integers(1, 100, (5, 4, 3, 3))
    contents = cut(values)
    frames = {frame.part: frame.pixels for frame in contents.frames}
    assert list(frames) == [f"volume-{time:03d}-axial-{index:03d}" for time in range(3) for index in range(3)]
    assert contents.facts.notices == ()
    for time in range(3):
        single = [frame.pixels for frame in cut(values[..., time]).frames]
        for index in range(3):
            np.testing.assert_array_equal(frames[f"volume-{time:03d}-axial-{index:03d}"], single[index])
    expected = {
        FourthAxis.FIRST: values[..., 0],
        FourthAxis.MIDDLE: values[..., 1],
        FourthAxis.MEAN: values.mean(axis=3),
    }
    for choice, volume in expected.items():
        reduced = cut(values, fourth_axis=choice)
        assert len(reduced.facts.notices) == 1
        assert "4D file" in reduced.facts.notices[0]
        for frame, single in zip(reduced.frames, cut(volume.astype(np.float32)).frames, strict=True):
            assert frame.part == single.part
            np.testing.assert_array_equal(frame.pixels, single.pixels)


def test_colour_and_complex_voxels(random):
    rgb = random.integers(0, 256, (4, 5, 3, 3), dtype=np.uint8)
    stored = np.ascontiguousarray(rgb).view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    contents = cut(stored)
    shown = np.stack([frame.pixels.T[:, ::-1] for frame in contents.frames], axis=2)
    np.testing.assert_allclose(shown, rgb @ np.array([0.299, 0.587, 0.114]) / 255, atol=1e-6)
    assert contents.facts.bits == 8
    assert contents.facts.notices == (COLOUR, MIXED)  # random colours are unlike each other
    waves = random.normal(size=(4, 5, 3)) + 1j * random.normal(size=(4, 5, 3))
    contents = cut(waves)
    assert len(contents.facts.notices) == 1
    for frame, magnitude in zip(contents.frames, cut(np.abs(waves)).frames, strict=True):
        np.testing.assert_array_equal(frame.pixels, magnitude.pixels)


def test_a_volume_without_values_is_refused():
    with pytest.raises(DataError, match=r"x\.nii: has no finite value"):
        cut(np.full((3, 4, 5), np.nan))


def test_resampling_is_bounded(monkeypatch):
    monkeypatch.setattr("deepssim.images.volumes._MAX_SQUARED", 1000)
    with pytest.raises(DataError, match="set dataset.volumes.square_pixels to false"):
        cut(np.ones((10, 10, 10)), spacing=(1, 1, 9), axis=Axis.CORONAL)
