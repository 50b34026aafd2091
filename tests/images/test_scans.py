"""Which files make up a scan, and its voxels, whatever they are stored as."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from deepssim.config.choices import FourthAxis
from deepssim.config.dataset import VolumesConfig
from deepssim.errors import DataError, NotAVolume
from deepssim.images.dicom_series import GAPS
from deepssim.images.grid import NO_ORIENTATION, NOT_ISOTROPIC
from deepssim.images.scans import decode_scan, find_scans
from tests.images.test_dicom import write as write_dicom

SIDE = 16
AFFINE = np.diag([1.0, 1, 1, 1])
AFFINE[:3, 3] = -8


@pytest.fixture
def values(random):
    """A volume along right, anterior, superior; without a plane of symmetry."""
    return (random.integers(1, 200, (16, 16, 16)) + np.arange(16) * 50).astype(np.int16)


def scans(folder: Path):
    return find_scans(sorted(path for path in folder.rglob("*") if path.is_file()))


def decode(scan, *, certain=False, **options):
    return decode_scan(scan, SIDE, (0, 100), VolumesConfig(**options), certain=certain)


def expected(values):
    """Return the voxels of the common grid: inferior to superior, posterior to anterior, left to right."""
    return np.rint(values.astype(np.float64) / values.max() * 255).T


def write_series(folder, values, *, series="1.2.3", spacing=1.0, gap=None, **elements):
    """Write axial slices as DICOM: rows from anterior to posterior, columns from right to left; x and y grow left and posterior."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number, plane in enumerate(rng.permutation(values.shape[2]).tolist()):  # names in no order of planes
        if plane == gap:
            continue
        rows = values[::-1, ::-1, plane].T
        write_dicom(
            folder / f"IM{number:04d}.dcm", np.ascontiguousarray(rows).astype(np.uint16), SeriesInstanceUID=series,
            ImagePositionPatient=[-7.0, -7.0, plane * spacing], ImageOrientationPatient=[1, 0, 0, 0, 1, 0], PixelSpacing=[1, 1],
            InstanceNumber=number + 1, PatientID="p1", **elements,
        )  # fmt: skip


def test_a_nifti_is_a_scan_in_canonical_orientation(tmp_path, values):
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), tmp_path / "a.nii.gz")
    nibabel.save(nibabel.Nifti1Image(values[::-1], np.diag([-1.0, 1, 1, 1]) @ AFFINE), tmp_path / "b.nii.gz")
    found = [decode(scan, certain=True) for scan in scans(tmp_path)]
    for item in found:
        np.testing.assert_array_equal(item.images[0], expected(values))
    assert found[0].sizes == [(16, 16, 16)]
    assert [item.facts.orientation for item in found] == ["RAS", "LAS"]
    assert found[0].parts == [""]


def test_every_format_of_volumes_gives_the_same_voxels(tmp_path, values):
    made = sitk.GetImageFromArray(np.ascontiguousarray(values[::-1, ::-1].T))
    made.SetOrigin((-7, -7, 0))
    for name in ("a.mha", "b.nrrd"):
        sitk.WriteImage(made, str(tmp_path / name))
    nibabel.save(nibabel.MGHImage(values, AFFINE), tmp_path / "c.mgz")
    found = [decode(scan, certain=True).images[0] for scan in scans(tmp_path)]
    assert len(found) == 3
    for grid in found:
        np.testing.assert_array_equal(grid, expected(values))


def test_a_fourth_axis_holds_several_volumes(tmp_path, values):
    nibabel.save(nibabel.Nifti1Image(np.stack([values, values[::-1]], axis=3), AFFINE), tmp_path / "a.nii")
    (scan,) = scans(tmp_path)
    found = decode(scan, certain=True)
    assert found.parts == ["volume-000", "volume-001"]
    np.testing.assert_array_equal(found.images, np.stack([expected(values), expected(values[::-1])]))
    assert len(decode(scan, fourth_axis=FourthAxis.FIRST).images) == 1


def test_a_dicom_series_is_one_scan_in_the_order_of_its_planes(tmp_path, values):
    write_series(tmp_path / "p1" / "t1", values)
    write_series(tmp_path / "p1" / "t2", values[::-1], series="1.2.4")
    found = scans(tmp_path)
    assert [scan.name for scan in found] == [tmp_path / "p1" / "t1", tmp_path / "p1" / "t2"]
    assert [len(scan.files) for scan in found] == [16, 16]
    first, second = (decode(scan, certain=True) for scan in found)
    np.testing.assert_array_equal(first.images[0], expected(values))
    np.testing.assert_array_equal(second.images[0], expected(values[::-1]))
    assert first.facts.orientation == "LPS"


def test_two_series_in_one_folder_are_two_scans(tmp_path, values):
    write_series(tmp_path, values)
    for path in tmp_path.iterdir():
        path.rename(path.with_name(f"a{path.name}"))
    write_series(tmp_path, values[::-1], series="1.2.4")
    found = scans(tmp_path)
    assert sorted(len(scan.files) for scan in found) == [16, 16]
    assert {scan.name.parent for scan in found} == {tmp_path}  # the folder is not of one scan alone


def test_one_window_for_all_planes_of_a_series(tmp_path, values):
    write_series(tmp_path, values, RescaleSlope=2, RescaleIntercept=-100)
    (scan,) = scans(tmp_path)
    found = decode(scan).images[0].astype(int)
    assert (np.diff(found.mean(axis=(1, 2))) > 0).all()  # the ramp along the planes survives


def test_thick_and_missing_planes_are_noticed(tmp_path, values):
    write_series(tmp_path, values, spacing=3.0, gap=7)
    (scan,) = scans(tmp_path)
    found = decode(scan)
    assert found.sizes == [(45, 16, 16)]
    assert {GAPS, NOT_ISOTROPIC} <= set(found.facts.notices)


def test_times_at_the_same_places_are_several_volumes(tmp_path, values):
    write_series(tmp_path / "a", values)
    write_series(tmp_path / "b", values[::-1])
    for path in (tmp_path / "b").iterdir():
        path.rename(tmp_path / "a" / f"later-{path.name}")
    (scan,) = [scan for scan in scans(tmp_path) if scan.files]
    assert decode(scan).images.shape == (2, SIDE, SIDE, SIDE)
    scan.files[0].unlink()
    (scan,) = scans(tmp_path)
    with pytest.raises(DataError, match="do not all occur equally often"):
        decode(scan)


def test_a_few_views_are_no_volume(tmp_path, values):
    write_series(tmp_path, values[:, :, :2])
    (scan,) = scans(tmp_path)
    with pytest.raises(NotAVolume, match="series has 2 images of one size and direction"):
        decode(scan)


def test_arrays_of_volumes_are_certain_and_arrays_of_images_are_not(tmp_path, values):
    np.save(tmp_path / "many.npy", np.stack([values, values[::-1]]))
    np.save(tmp_path / "channel.npy", np.stack([values, values[::-1]])[:, None])
    np.save(tmp_path / "one.npy", values)
    channel, many, one = scans(tmp_path)
    for scan in (channel, many):
        found = decode(scan, certain=True)
        assert found.images.shape == (2, SIDE, SIDE, SIDE)
        assert NO_ORIENTATION in found.facts.notices
    with pytest.raises(NotAVolume, match="may be single ones or the planes of a volume"):
        decode(one, certain=True)
    np.testing.assert_array_equal(decode(one).images, decode(many).images[:1])


def test_an_array_has_one_window_for_all_planes(tmp_path):
    planes = np.ones((16, 16, 16), np.float32) * np.arange(1, 17)[:, None, None] * 100
    np.save(tmp_path / "a.npy", planes[None])
    (scan,) = scans(tmp_path)
    np.testing.assert_array_equal(decode(scan).images[0][:, 8, 8], np.rint(np.arange(1, 17) / 16 * 255))


def test_slices_of_a_folder_are_one_scan_in_the_order_of_their_numbers(tmp_path, values):
    for person in ("p01", "p02"):
        (tmp_path / person).mkdir()
        for plane in range(16):
            Image.fromarray(values[:, ::-1, plane].T.astype(np.uint16)).save(tmp_path / person / f"slice{plane}.png")
    found = scans(tmp_path)
    assert [scan.name for scan in found] == [tmp_path / "p01", tmp_path / "p02"]
    with pytest.raises(NotAVolume, match="may be single ones"):
        decode(found[0], certain=True)
    np.testing.assert_array_equal(decode(found[0]).images[0], expected(values))


def test_pictures_of_several_scans_in_one_folder_are_told_apart_by_their_names(tmp_path, values):
    for person in ("p1", "p2"):
        for plane in range(16):
            Image.fromarray(values[:, :, plane].astype(np.uint8)).save(tmp_path / f"{person}_{plane:02d}.png")
    assert [len(scan.files) for scan in scans(tmp_path)] == [16, 16]


def test_the_pages_of_a_tiff_are_a_volume_if_asked_for(tmp_path, values):
    pages = [Image.fromarray(values[:, :, plane].astype(np.uint8)) for plane in range(16)]
    for name in ("a.tif", "b.tif"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    found = scans(tmp_path)
    assert [scan.name.name for scan in found] == ["a.tif", "b.tif"]
    assert decode(found[0]).images.shape == (1, SIDE, SIDE, SIDE)
    with pytest.raises(NotAVolume):
        decode(found[0], certain=True)


def test_slices_of_different_sizes_or_depths_are_refused(tmp_path, values):
    for plane in range(16):
        Image.fromarray(values[:, : 16 - plane // 15, plane].astype(np.uint8)).save(tmp_path / f"{plane}.png")
    (scan,) = scans(tmp_path)
    with pytest.raises(DataError, match="its images have different sizes; put each scan into a folder of its own"):
        decode(scan)
    Image.fromarray(values[:, :, 3].astype(np.uint16)).save(tmp_path / "3.png")
    with pytest.raises(DataError, match="different bit depths"):
        decode(scan)


def test_a_single_plane_is_no_volume(tmp_path, values):
    nibabel.save(nibabel.Nifti1Image(values[:, :, :1], AFFINE), tmp_path / "a.nii")
    Image.fromarray(values[:, :, 0].astype(np.uint8)).save(tmp_path / "b.png")
    for scan in scans(tmp_path):
        with pytest.raises(NotAVolume, match="and a volume has at least 8 along each axis"):
            decode(scan)


def test_planes_of_two_volumes_that_only_names_tell_apart_are_not_mixed(tmp_path, values):
    """Generated series often share one SeriesInstanceUID and number their planes alike."""
    for name, volume in (("a", values), ("b", values[::-1])):
        write_series(tmp_path / name, volume)
    paths = sorted(tmp_path.glob("[ab]/*.dcm"))
    shuffled = np.random.default_rng(1).permutation(len(paths)).tolist()
    for folder in ("told", "mixed"):
        (tmp_path / folder).mkdir()
    for path, number in zip(paths, shuffled, strict=True):
        (tmp_path / "told" / f"{path.parent.name}-{path.name}").write_bytes(path.read_bytes())
        (tmp_path / "mixed" / f"{number:04d}.dcm").write_bytes(path.read_bytes())
    (told,) = find_scans(sorted((tmp_path / "told").iterdir()))
    np.testing.assert_array_equal(decode(told).images, np.stack([expected(values), expected(values[::-1])]))
    (mixed,) = find_scans(sorted((tmp_path / "mixed").iterdir()))
    with pytest.raises(DataError, match="2 planes of its series lie at each place and have the same InstanceNumber"):
        decode(mixed)


def test_planes_without_positions_and_equal_numbers_are_not_mixed(tmp_path, values):
    for name, volume in (("a", values), ("b", values[::-1])):
        for plane in range(16):
            write_dicom(
                tmp_path / f"{name}{plane:02d}.dcm", volume[::-1, ::-1, plane].T.astype(np.uint16), SeriesInstanceUID="1.2",
                InstanceNumber=plane + 1,
            )  # fmt: skip
    (scan,) = scans(tmp_path)
    assert len(decode(scan).images) == 2
    (tmp_path / "b15.dcm").unlink()
    with pytest.raises(DataError, match="31 planes of its series lie at 16 places"):
        decode(scans(tmp_path)[0])
