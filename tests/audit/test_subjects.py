import nibabel
import numpy as np
import pandas as pd
import pytest

from deepssim.audit.subjects import find_subjects, patients_found
from deepssim.errors import ConfigError, DataError
from deepssim.images.folders import collect, decode, list_files
from tests.audit.folders import picture, write
from tests.images.test_dicom import write as write_dicom


@pytest.fixture
def folder(tmp_path, random):
    for name in ("p1_a.png", "p1_b.png", "p2_a.png"):
        write(tmp_path / "images" / name, picture(random))
    return tmp_path / "images"


def subjects(root, table=None, pattern=None):
    files = list_files(root)
    found = collect(root, files, [decode(path, (16, 16), (0.0, 100.0)) for path in files])
    return find_subjects(found, root, table=table, pattern=pattern, salt=b"salt")


def test_by_pattern_or_by_image(folder):
    assert subjects(folder, pattern=r"^(p\d)") == ["p1", "p1", "p2"]
    assert subjects(folder) == ["p1_a.png", "p1_b.png", "p2_a.png"]
    with pytest.raises(ConfigError, match=r"audit\.subject_pattern .* has 0 groups"):
        subjects(folder, pattern="p")


@pytest.mark.parametrize("prefix", ["", "images/"])
def test_by_table_beside_or_above_the_images(folder, tmp_path, prefix):
    csv = tmp_path / "subjects.csv"
    rows = [(f"{prefix}{name}", "007") for name in ("p1_a.png", "p1_b.png", "p2_a.png")]
    pd.DataFrame(rows, columns=["image_path", "subject"]).to_csv(csv, index=False)
    assert subjects(folder, table=str(csv)) == ["007"] * 3
    pd.DataFrame(rows[:1], columns=["image_path", "subject"]).to_csv(csv, index=False)
    with pytest.raises(DataError, match="names no subject for 2 of 3 images"):
        subjects(folder, table=str(csv))


def test_by_patient_of_dicom_files(folder, random):
    pixels = picture(random, 16)
    for name, patient in (("a.dcm", "X"), ("b.dcm", "X"), ("c.dcm", "")):
        write_dicom(folder / name, np.roll(pixels, ord(name[0])), bits=8, PatientID=patient)
    found = dict(zip(["a", "b", "c", "p1_a", "p1_b", "p2_a"], subjects(folder), strict=True))
    assert found["a"] == found["b"] != found["c"] == "c.dcm"
    assert found["a"].startswith("subject-")


def test_all_images_of_a_file_have_one_subject(folder, random):
    pixels = picture(random, 16)
    write_dicom(folder / "unnamed.dcm", np.stack([pixels, pixels[::-1]]), bits=8)
    write_dicom(folder / "named", np.stack([pixels[:, ::-1], pixels.T]), bits=8, PatientID="X")
    nibabel.save(nibabel.Nifti1Image(1 + random.random((16, 16, 2)), np.diag([1.0, 1, -1, 1])), folder / "volume.nii")
    found = subjects(folder)
    assert found[0] == found[1]
    assert found[0].startswith("subject-")
    assert found[2:] == ["p1_a.png", "p1_b.png", "p2_a.png", *["unnamed.dcm"] * 2, *["volume.nii"] * 2]


def test_tables_find_images_under_absolute_and_differently_composed_names(tmp_path, random):
    folder, composed, decomposed = tmp_path / "images", "p\u00e4r.png", "pa\u0308r.png"
    write(folder / decomposed, picture(random))
    write(folder / "sub" / "b.png", picture(random))
    csv = tmp_path / "subjects.csv"
    rows = [(composed, "007"), (str(folder / "sub" / "b.png"), "8")]
    pd.DataFrame(rows, columns=["image_path", "subject"]).to_csv(csv, index=False)
    assert subjects(folder, table=str(csv)) == ["007", "8"]
    rows[1] = ("sub\\b.png", "8")
    pd.DataFrame(rows, columns=["image_path", "subject"]).to_csv(csv, index=False)
    assert subjects(folder, table=str(csv)) == ["007", "8"]


def test_two_subjects_for_one_image_are_refused(folder, tmp_path):
    csv = tmp_path / "subjects.csv"
    rows = [("p1_a.png", "1"), ("p1_b.png", "1"), ("p2_a.png", "2"), ("images/p1_a.png", "3")]
    pd.DataFrame(rows, columns=["image_path", "subject"]).to_csv(csv, index=False)
    with pytest.raises(DataError, match=r"two subjects for one image, 'images/p1_a\.png': '1' and '3'"):
        subjects(folder, table=str(csv))


def test_subjects_of_bids_are_patients(tmp_path, random):
    """Sessions and slices of a subject are one patient, without a pattern; a pattern still decides if there is one."""
    for name in (
        "sub-01/ses-1/anat/sub-01_ses-1_T1w_slice-3", "sub-01/ses-2/anat/sub-01_ses-2_T1w", "derivatives/sub-02_T1w",
        "sub-03x/image", "subject-04/image", "sub-05",
    ):  # fmt: skip
        write(tmp_path / f"{name}.png", picture(random))
    names = dict(
        zip((path.relative_to(tmp_path).as_posix() for path in list_files(tmp_path)), subjects(tmp_path), strict=True)
    )
    assert names["derivatives/sub-02_T1w.png"] == "derivatives/sub-02_T1w.png"  # a name alone may be a number
    assert names["sub-03x/image.png"] == "sub-03x"
    assert names["subject-04/image.png"] == "subject-04/image.png"
    assert names["sub-05.png"] == "sub-05.png"
    assert patients_found(["sub-01", "sub-02"])
    assert not patients_found(["sub-01", "sub-05.png"])
    assert not patients_found(["subject-04/image.png"])  # DICOM files give hashes
