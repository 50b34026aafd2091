"""What is compared, images or volumes, where the user leaves it open or says so; and images traced to scans."""

import json

import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from deepssim.audit.cache import AuditCache
from deepssim.audit.inventory import find_subjects_of, take_inventory
from deepssim.audit.preflight import preflight, sliced_volumes
from deepssim.audit.reading import find_unit, reading_of
from deepssim.audit.traces import place_of
from deepssim.config.audit import AuditConfig
from deepssim.config.choices import AuditUnit, Axis
from deepssim.config.dataset import VolumesConfig
from deepssim.errors import ConfigError
from deepssim.images.folders import decode
from deepssim.images.listing import Status
from tests.audit.scans import SIDE, head, write
from tests.audit.test_run import kept, run
from tests.images.test_scans import write_series


def inventories(root, **settings):
    options = AuditConfig(real=str(root / "real"), synthetic=str(root / "synthetic"), **{"volume_side": 24} | settings)
    folders = {name: root / name for name in ("real", "synthetic")}
    return take_inventory(folders, AuditCache(root / "cache"), options, 1), options


@pytest.fixture
def volumes(random):
    return [head(random) for _ in range(6)]


def write_all(root, volumes, name="{}.nii"):
    for number, volume in enumerate(volumes):
        write(root / ("real" if number < 3 else "synthetic") / name.format(number), volume)


def test_files_of_volumes_are_volumes(tmp_path, volumes):
    write_all(tmp_path, volumes)
    found, _ = inventories(tmp_path)
    assert [item.unit for item in found.values()] == [AuditUnit.VOLUME] * 2
    assert found["real"].collection.pack.images.shape == (3, 24, 24, 24)
    assert found["real"].collection.sizes == {f"{SIDE}x{SIDE}x{SIDE}": 3}
    found, _ = inventories(tmp_path, unit=AuditUnit.IMAGE)
    assert found["real"].collection.pack.images.ndim == 3


@pytest.mark.parametrize("side", ["real", "synthetic"])
def test_one_file_that_holds_no_volume_makes_all_images(tmp_path, volumes, side, caplog):
    caplog.set_level("INFO", logger="deepssim")
    write_all(tmp_path, volumes)
    nibabel.save(nibabel.Nifti1Image(volumes[0][:, :, 15:16], np.eye(4)), tmp_path / side / "z.nii")
    found, _ = inventories(tmp_path)
    assert found["real"].unit is AuditUnit.IMAGE
    assert "images are compared, not volumes, since" in caplog.text


def test_pictures_and_arrays_of_images_are_images_unless_asked_for(tmp_path, volumes):
    write_all(tmp_path, volumes[:3])
    (tmp_path / "synthetic").mkdir()
    np.save(tmp_path / "synthetic" / "many.npy", volumes[3].T)
    assert inventories(tmp_path)[0]["real"].unit is AuditUnit.IMAGE
    found, _ = inventories(tmp_path, unit=AuditUnit.VOLUME)
    assert found["synthetic"].collection.pack.images.shape == (1, 24, 24, 24)
    (tmp_path / "synthetic" / "many.npy").unlink()
    np.save(tmp_path / "synthetic" / "certain.npy", np.stack(volumes[3:]))
    found, options = inventories(tmp_path)
    assert found["synthetic"].unit is AuditUnit.VOLUME
    assert len(set(find_subjects_of(found["synthetic"], "synthetic", AuditCache(tmp_path / "cache"), options))) == 3


def test_a_volume_that_was_read_on_demand_is_not_certain_later(tmp_path, volumes):
    """The cache must not turn an array (N, H, W) that the user called a volume into one that certainly is."""
    write_all(tmp_path, volumes[:3])
    (tmp_path / "synthetic").mkdir()
    np.save(tmp_path / "synthetic" / "many.npy", volumes[3].T)
    assert inventories(tmp_path, unit=AuditUnit.VOLUME)[0]["real"].unit is AuditUnit.VOLUME
    assert inventories(tmp_path)[0]["real"].unit is AuditUnit.IMAGE


def test_a_damaged_file_does_not_decide(tmp_path, volumes):
    write_all(tmp_path, volumes)
    content = (tmp_path / "real" / "0.nii").read_bytes()
    (tmp_path / "real" / "0.nii").write_bytes(content[:3000])
    found, _ = inventories(tmp_path)
    assert found["real"].unit is AuditUnit.VOLUME
    (entry,) = found["real"].unread
    assert entry.name == "0.nii"
    assert len(found["real"].collection.pack.keys) == 2


def test_dicom_series_are_volumes_whose_files_are_all_accounted_for(tmp_path, volumes):
    for number, volume in enumerate(volumes):
        folder = tmp_path / ("real" if number < 3 else "synthetic") / f"p{number}" / "t1"
        write_series(folder, np.rint(volume), series=f"1.2.{number}")
    found, options = inventories(tmp_path)
    real = found["real"]
    assert real.unit is AuditUnit.VOLUME
    assert real.collection.pack.keys == ["p0/t1", "p1/t1", "p2/t1"]
    assert [len(files) for files in real.collection.members] == [SIDE] * 3
    assert {entry.status for entry in real.entries} == {Status.READ}
    subjects = find_subjects_of(real, "real", AuditCache(tmp_path / "cache"), options)
    assert len(set(subjects)) == 1  # one PatientID
    assert subjects[0].startswith("subject-")


def test_a_series_with_one_damaged_file_is_not_read(tmp_path, volumes):
    for number, volume in enumerate(volumes[:5]):
        folder = tmp_path / ("real" if number < 3 else "synthetic") / f"p{number}"
        write_series(folder, np.rint(volume), series=f"1.2.{number}")
    damaged = tmp_path / "synthetic" / "p3" / "IM0003.dcm"
    damaged.write_bytes(damaged.read_bytes()[:700])  # the header is whole, pixels are not
    found, _ = inventories(tmp_path)
    made = found["synthetic"]
    assert made.unit is AuditUnit.VOLUME
    assert made.collection.pack.keys == ["p4"]
    assert {entry.path.parent.name for entry in made.unread} == {"p3"}
    assert len(made.unread) == SIDE
    assert all("IM0003.dcm: pixels cannot be decoded" in entry.reason for entry in made.unread if entry.path != damaged)


def test_folders_of_slices_are_volumes_if_asked_for(tmp_path, volumes):
    for number, volume in enumerate(volumes):
        folder = tmp_path / ("real" if number < 3 else "synthetic") / f"p{number}"
        folder.mkdir(parents=True)
        for plane in range(SIDE):
            Image.fromarray(np.rint(volume[:, :, plane] / volume.max() * 255).astype(np.uint8)).save(
                folder / f"{plane}.png"
            )
    assert inventories(tmp_path)[0]["real"].unit is AuditUnit.IMAGE
    found, options = inventories(tmp_path, unit=AuditUnit.VOLUME)
    assert found["real"].collection.pack.keys == ["p0", "p1", "p2"]
    subjects = find_subjects_of(found["real"], "real", AuditCache(tmp_path / "cache"), options)
    assert subjects == ["p0", "p1", "p2"]
    table = tmp_path / "subjects.csv"
    table.write_text("image_path,subject\nreal/p0,a\nreal/p1/3.png,b\nreal/p2,a\n")
    named = options.with_changes(subjects=str(table))
    assert find_subjects_of(found["real"], "real", AuditCache(tmp_path / "cache"), named) == ["a", "b", "a"]


def test_an_autoencoder_of_images_does_not_go_with_volumes():
    with pytest.raises(ConfigError, match=r"audit\.autoencoder is of images, but audit\.unit is volume"):
        AuditConfig().with_changes(unit=AuditUnit.VOLUME, autoencoder="a.safetensors")


def test_the_kind_of_reading_tells_results_apart():
    kinds = [reading_of(AuditConfig(unit=unit)).kind for unit in AuditUnit]
    kinds += [reading_of(AuditConfig(unit=AuditUnit.VOLUME, volume_side=64)).kind]
    assert len({json.dumps(kind) for kind in kinds}) == 4


def test_what_the_user_says_is_not_asked_of_the_files(tmp_path):
    for unit in (AuditUnit.IMAGE, AuditUnit.VOLUME):
        assert find_unit({"real": [tmp_path / "none.png"]}, AuditConfig(unit=unit)) is unit


def test_a_key_says_where_a_slice_lies():
    assert place_of("p1/t1.nii.gz#axial-012") == ("p1/t1.nii.gz", "axial", 12)
    assert place_of("a.nii#volume-003-coronal-100") == ("a.nii#volume-003", "coronal", 100)
    assert place_of("a.png") is None
    assert place_of("a.npy#frame-012") is None


def test_images_are_counted_and_traced_to_scans(tmp_path, volumes):
    for number, volume in enumerate(volumes):
        write(tmp_path / "real" / f"p{number}.nii", volume)
    (tmp_path / "synthetic").mkdir()
    slices = decode(tmp_path / "real" / "p2.nii", (64, 64), (0.5, 99.5))
    Image.fromarray(slices.images[slices.parts.index("axial-014")]).save(tmp_path / "synthetic" / "axial.png")
    planes = {"coronal": volumes[4][:, 17], "noise": np.random.default_rng(3).uniform(0, 1, (SIDE, SIDE))}
    for name, plane in planes.items():
        shown = np.rint(plane.T[::-1] / plane.max() * 255).astype(np.uint8)
        Image.fromarray(shown).save(tmp_path / "synthetic" / f"{name}.png")
    slicing = VolumesConfig(axis=Axis.ALL, step=2, first_slice=0)
    common = {"subject_pattern": r"^(p\d)", "volumes": slicing.model_dump(mode="json") | {"axis": "all"}}
    found = run(tmp_path, tmp_path / "report", tmp_path / "cache", **common)
    assert found["data"]["unit"] == "image"
    assert {"axial.png"} <= set(kept(tmp_path / "report" / "drop.txt"))
    assert "traced to slices of" in found["verdict"]["sentence"]
    assert "of 6 training scans; pairs.csv says to which" in found["verdict"]["sentence"]
    pairs = pd.read_csv(tmp_path / "report" / "pairs.csv").set_index("synthetic")
    assert pairs.loc["axial.png", ["scan", "axis", "slice"]].tolist() == ["p2.nii", "axial", 14]
    assert pairs.loc["coronal.png", ["scan", "axis"]].tolist() == ["p4.nii", "coronal"]
    assert abs(pairs.loc["coronal.png", "slice"] - 17) <= 1
    assert not any("slices only" in text for text in found["verdict"]["reservations"])
    single = run(tmp_path, tmp_path / "single", tmp_path / "cache", **common | {"volumes": {"step": 8}})
    assert any("cut into axial slices only" in text for text in single["verdict"]["reservations"])


@pytest.mark.parametrize("stray", ["slice.png", "thin.nii"])
def test_volumes_cut_into_slices_for_a_stray_file_are_not_cleared(tmp_path, volumes, stray):
    """A copy that is rotated out of its planes is found among volumes and not among slices."""
    write_all(tmp_path, volumes)
    found, options = inventories(tmp_path)
    assert sliced_volumes(found) == []
    if stray.endswith(".png"):
        Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20)).save(tmp_path / "synthetic" / stray)
    else:
        write(tmp_path / "synthetic" / stray, volumes[0][:, :, 14:18])
    found, options = inventories(tmp_path)
    (finding,) = sliced_volumes(found)
    assert finding.hides
    assert finding.message.startswith("3 synthetic volumes and 3 training volumes were cut into slices")
    subjects = {
        name: find_subjects_of(item, name, AuditCache(tmp_path / "cache"), options) for name, item in found.items()
    }
    assert finding in preflight(found, subjects, options)[0]
    asked = options.with_changes(unit=AuditUnit.IMAGE)
    assert finding not in preflight(found, subjects, asked)[0]


def test_series_of_dicom_cut_into_slices_are_not_cleared(tmp_path, volumes):
    for number, volume in enumerate(volumes):
        side = "real" if number < 3 else "synthetic"
        write_series(tmp_path / side / f"p{number}", volume, series=f"1.2.{number}")
    Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20)).save(tmp_path / "real" / "slice.png")
    (finding,) = sliced_volumes(inventories(tmp_path)[0])
    assert finding.message.startswith("3 synthetic volumes and 3 training volumes were cut into slices")


def test_single_images_are_compared_with_slices_of_volumes(tmp_path, volumes):
    write_all(tmp_path, volumes[:3])
    (tmp_path / "synthetic").mkdir()
    Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20)).save(tmp_path / "synthetic" / "a.png")
    assert sliced_volumes(inventories(tmp_path)[0]) == []
