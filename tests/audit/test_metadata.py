"""Trees of Hugging Face's `imagefolder`: whom their metadata names, and when an audit does without it."""

import json
import re

import pandas as pd
import pytest

from deepssim.audit.cache import AuditCache
from deepssim.audit.metadata import NOT_USED
from deepssim.audit.preflight import SUBJECTS_UNKNOWN
from deepssim.audit.read_folders import read_folders
from deepssim.audit.subjects import find_subjects
from deepssim.audit.units import IMAGE, SUBJECT, unit_of
from deepssim.config.audit import AuditConfig
from deepssim.config.settings import Config
from deepssim.errors import DataError
from deepssim.images.folders import collect, decode, list_files
from tests.audit.folders import picture, write
from tests.images.test_dicom import write as write_dicom

PATIENTS = {"real": "aabbcc", "holdout": "ddee"}  # of images 0.png, 1.png, ... of each side


@pytest.fixture
def tree(tmp_path, random):
    """Folders of pictures, whose metadata names two images of each patient."""
    for side, patients in {**PATIENTS, "synthetic": "xxxx"}.items():
        for number in range(len(patients)):
            write(tmp_path / side / f"{number}.png", picture(random))
    for side, patients in PATIENTS.items():
        name(tmp_path / side, patients)
    return tmp_path


def name(folder, patients, column="patient_id", file="metadata.csv"):
    rows = [
        {"file_name": f"{number}.png", column: patient, "text": "a scan"} for number, patient in enumerate(patients)
    ]
    if file.endswith(".csv"):
        pd.DataFrame(rows).to_csv(folder / file, index=False)
    else:
        (folder / file).write_text("".join(json.dumps(row | {"objects": {"bbox": [1]}}) + "\n" for row in rows))


def read(tree, **settings):
    """Return the subjects by side, what is counted, and messages about metadata."""
    folders = {side: str(tree / side) for side in ("real", "synthetic", "holdout") if (tree / side).is_dir()}
    options = AuditConfig(**folders, **settings)
    found = read_folders(AuditCache(tree / "cache"), Config(audit=options), 1)
    kinds = [finding.kind for finding in found.findings]
    unit = unit_of(found.collections, found.subjects, options)
    assert (SUBJECTS_UNKNOWN in kinds) is (not unit.known)
    messages = [finding.message for finding in found.findings if finding.kind == NOT_USED]
    assert all(finding.qualifies for finding in found.findings if finding.kind == NOT_USED)
    return found.subjects, unit, messages


def groups(subjects):
    """Return the place at which each subject occurs first, under any name."""
    return [subjects.index(subject) for subject in subjects]


@pytest.mark.parametrize("file", ["metadata.csv", "metadata.jsonl"])
@pytest.mark.parametrize("column", ["patient_id", "Subject", "participant_id"])
def test_metadata_names_patients(tree, file, column):
    for side, patients in PATIENTS.items():
        (tree / side / "metadata.csv").unlink()
        name(tree / side, patients, column, file)
    subjects, unit, messages = read(tree)
    assert groups(subjects["real"]) == [0, 0, 2, 2, 4, 4]
    assert groups(subjects["holdout"]) == [0, 0, 2, 2]
    assert not set(subjects["real"]) & set(subjects["holdout"])
    assert len(set(subjects["synthetic"])) == 4
    assert (unit, messages) == (SUBJECT, [])
    assert not any(patient in subject.split("-") for patient in "abc" for subject in subjects["real"])  # hashed


def test_one_patient_on_both_sides_is_known_as_such(tree):
    name(tree / "holdout", "ccee")
    subjects, unit, _ = read(tree)
    assert subjects["holdout"][0] == subjects["real"][-1]
    assert unit is SUBJECT


def test_files_of_subfolders_have_metadata_there_or_above(tree):
    for number in range(6):
        (tree / "real" / str(number % 2)).mkdir(exist_ok=True)
        (tree / "real" / f"{number}.png").rename(tree / "real" / str(number % 2) / f"{number}.png")
    (tree / "real" / "metadata.csv").unlink()
    for folder in "01":
        rows = [(f"{number}.png", "aabbcc"[number]) for number in range(6) if number % 2 == int(folder)]
        pd.DataFrame(rows, columns=["file_name", "patient_id"]).to_csv(
            tree / "real" / folder / "metadata.csv", index=False
        )
    below = read(tree)
    for folder in "01":
        (tree / "real" / folder / "metadata.csv").unlink()
    rows = [(f"{number % 2}/{number}.png", patient) for number, patient in enumerate("aabbcc")]
    pd.DataFrame(rows, columns=["file_name", "patient_id"]).to_csv(tree / "real" / "metadata.csv", index=False)
    assert read(tree) == below
    assert groups(below[0]["real"]) == [0, 1, 2, 0, 1, 2]  # 0/0.png, 0/2.png, 0/4.png, 1/1.png, ...
    assert below[1] is SUBJECT


def partial(tree):
    name(tree / "real", "aabbc")


def empty(tree):
    name(tree / "real", ["a", "a", "b", "b", "c", None])


def blank(tree):
    name(tree / "real", ["a", "a", "b", "b", "c", " "], file="metadata.jsonl")


def two_columns(tree):
    name(tree / "real", "aabbcc")
    table = pd.read_csv(tree / "real" / "metadata.csv")
    table.assign(subject="s").to_csv(tree / "real" / "metadata.csv", index=False)


def contradicting(tree):
    name(tree / "real", "aabbca", file="metadata.jsonl")


def other_column(tree):
    name(tree / "holdout", "ddee", "subject")


def one_side(tree):
    (tree / "holdout" / "metadata.csv").unlink()


def numbers(tree):
    for side, patients in PATIENTS.items():
        name(tree / side, [f"{side}{number}" for number in range(len(patients))])


def one_patient(tree):
    for side, patients in PATIENTS.items():
        name(tree / side, "a" * len(patients))


def damaged(tree):
    (tree / "real" / "metadata.jsonl").write_text('{"file_name": "0.png", "patient_id"\n')


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (partial, "does not name one patient for 1 of 6 images of .*real, first '5.png'"),
        (empty, "column 'patient_id' is empty in 1 of 6 rows, first in line 7"),
        (blank, r"column 'patient_id' is blank for '5\.png'"),
        (two_columns, "2 of its columns may name patients, 'subject' and 'patient_id'"),
        (contradicting, r"names two patients for one image, '5\.png'"),
        (other_column, r"names patients in column 'patient_id', and none does so for .*holdout"),
        (one_side, r"names patients in column 'patient_id', and none does so for .*holdout"),
        (numbers, "another patient for each of 10 files, in column 'patient_id', which may only number them"),
        (one_patient, "one patient for all 10 files"),
        (damaged, r"metadata\.jsonl: cannot be read as JSON lines"),
    ],
)
def test_doubtful_metadata_is_not_used_which_is_a_reservation(tree, change, sentence):
    change(tree)
    subjects, unit, messages = read(tree)
    assert subjects["real"] == [f"{number}.png" for number in range(6)]
    assert subjects["holdout"] == [f"holdout/{number}.png" for number in range(4)]
    assert unit is IMAGE
    (message,) = messages
    assert re.search(sentence, message)
    assert "--subjects" in message
    (message,) = read(tree, de_identified=True)[2]
    assert not re.search(r"real|holdout|\.png", message)


def test_metadata_without_patients_changes_nothing(tree):
    for side, patients in PATIENTS.items():
        name(tree / side, patients, "label")
    assert read(tree)[1:] == (IMAGE, [])


def test_a_table_a_pattern_and_dicom_files_go_first(tree, random):
    assert read(tree, subject_pattern=r"(\d)\.png")[0]["real"] == list("012345")
    name(tree / "real", "112233", "subject", "own.csv")
    table = pd.read_csv(tree / "real" / "own.csv").rename(columns={"file_name": "image_path"})
    for side in PATIENTS:
        rows = [(str(tree / side / f"{number}.png"), f"{side}{number // 2}") for number in range(6)]
        table = pd.concat([table, pd.DataFrame(rows, columns=["image_path", "subject"])])
    table.iloc[6:].to_csv(tree / "own.csv", index=False)
    assert read(tree, subjects=str(tree / "own.csv"))[0]["real"] == [
        "real0",
        "real0",
        "real1",
        "real1",
        "real2",
        "real2",
    ]
    write_dicom(tree / "real" / "6.dcm", picture(random, 16), bits=8, PatientID="X")
    subjects, unit, messages = read(tree)
    assert subjects["real"][0] == "0.png"
    assert subjects["real"][6].startswith("subject-")
    assert (unit, messages) == (IMAGE, [])


def test_metadata_can_be_the_table_that_is_asked_for(tree):
    """Also where it names another patient for each file, which then somebody says."""
    folder = tree / "real"
    files = list_files(folder)
    found = collect(folder, files, [decode(path, (16, 16), (0.0, 100.0)) for path in files])
    for file in ("metadata.csv", "metadata.jsonl"):
        name(folder, ["007", "08", "9", "10", "11", "12"], "patient_id", file)
        subjects = find_subjects(found, folder, table=str(folder / file), pattern=None, salt=b"")
        assert subjects == ["007", "08", "9", "10", "11", "12"]
    (folder / "metadata.jsonl").write_text("[]\n")
    with pytest.raises(DataError, match=r"metadata\.jsonl: cannot be read as JSON lines"):
        find_subjects(found, folder, table=str(folder / "metadata.jsonl"), pattern=None, salt=b"")
