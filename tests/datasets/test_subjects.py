import numpy as np
import pandas as pd
import pytest

from deepssim.datasets.subjects import find_subjects
from deepssim.errors import ConfigError, DataError
from deepssim.images.collection import collect, decode, list_files
from tests.audit_data import picture, write
from tests.images.test_dicom import write as write_dicom


@pytest.fixture
def folder(tmp_path, random):
    for name in ("p1_a.png", "p1_b.png", "p2_a.png"):
        write(tmp_path / "images" / name, picture(random))
    return tmp_path / "images"


def subjects(root, table=None, pattern=None):
    files = list_files(root, synthetic=False)
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
