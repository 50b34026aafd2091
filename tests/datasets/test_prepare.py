import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import deepssim
from deepssim.config.choices import DatasetKind
from deepssim.config.dataset import DatasetConfig
from deepssim.config.settings import parse_config
from deepssim.datasets.prepare import prepare_dataset
from deepssim.datasets.tables import canaries_of
from deepssim.errors import ConfigError, DataError
from tests.images.test_dicom import write as write_dicom

ALL_TRAIN = {"valid_fraction": 0, "holdout_fraction": 0}


def prepare(**dataset):
    return prepare_dataset(parse_config({"dataset": ALL_TRAIN | dataset}).dataset, seed=0, threads=2)


def save(path, random, size=(20, 16)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(random.integers(0, 256, size, dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def folder(tmp_path, random):
    for patient in range(6):
        for visit in range(2):
            save(tmp_path / "data" / f"p{patient}" / f"v{visit}.png", random)
    return tmp_path / "data"


def test_a_folder_becomes_table_and_pack(folder):
    table, pack = prepare(kind="folder", path=str(folder), image_size=None, subject_pattern=r"^p(\d+)/")
    assert list(table.columns) == ["key", "path", "role", "subject", "split"]
    assert table["key"].tolist() == pack.keys
    assert pack.keys[:2] == ["p0_v0___training", "p0_v1___training"]
    assert table["subject"].tolist()[:3] == ["0", "0", "1"]
    np.testing.assert_array_equal(pack.images[3], np.asarray(Image.open(folder / "p1" / "v1.png")))


def test_split_and_role_follow_the_subject(folder):
    table, _ = prepare(
        kind="folder", path=str(folder), subject_pattern="^(p.)", valid_fraction=0.34, holdout_fraction=0.34
    )
    assert table.groupby("subject")["split"].nunique().max() == 1
    assert table["split"].value_counts().to_dict() == {"train": 4, "valid": 4, "holdout": 4}
    assert (table.loc[table["split"] == "holdout", "role"] == "holdout").all()


def test_the_reference_tree_names_records_by_folder(tmp_path, random):
    for record in "abc":
        save(tmp_path / record / "training.png", random)
        save(tmp_path / record / "gen-0.png", random)
    _, pack = prepare(kind="folder", path=str(tmp_path), file_patterns=["*/training.png"])
    assert pack.keys == ["a___training", "b___training", "c___training"]


def test_generated_images_of_a_reference_tree_are_not_taken_for_real_ones(tmp_path, random):
    for record in "abc":
        for name in ("training.png", "gen-0.png", "gen-1.png"):
            save(tmp_path / record / name, random)
    table, pack = prepare(kind="folder", path=str(tmp_path))
    assert pack.keys == ["a___training", "b___training", "c___training"]
    assert table["subject"].tolist() == ["a", "b", "c"]


def test_dicom_files_without_patient_are_subjects_of_their_own(tmp_path, random):
    for name, patient in (("a", "7"), ("b", "7"), ("c", ""), ("d", "")):
        write_dicom(tmp_path / name, random.integers(0, 256, (9, 8), dtype=np.uint8), bits=8, PatientID=patient)
    subjects = prepare(kind="folder", path=str(tmp_path))[0]["subject"].tolist()
    assert subjects[0] == subjects[1] not in ("a", "b")
    assert subjects[2:] == ["c", "d"]
    pattern = prepare(kind="folder", path=str(tmp_path), subject_pattern="^(.)$")[0]["subject"].tolist()
    assert pattern == ["a", "b", "c", "d"]


def test_rows_of_one_volume_are_of_one_subject(tmp_path, random):
    for name in ("p1.nii", "p2.nii"):
        nibabel.save(nibabel.Nifti1Image(1 + random.random((8, 8, 2)), np.eye(4)), tmp_path / name)
    rows = "image_uid,image_path\na,p1.nii\nb,p2.nii\nc,p1.nii\n"
    (tmp_path / "own.csv").write_text(rows)
    table, _ = prepare(kind="table", path=str(tmp_path / "own.csv"))
    assert table["subject"].tolist() == ["p1.nii"] * 2 + ["p2.nii"] * 2 + ["p1.nii"] * 2


def test_a_table_keeps_splits_and_covariates(folder):
    rows = [{"image_uid": f"{n:03d}", "image_path": f"p{n}/v0.png", "subject": f"s{n}", "split": "train" if n < 4 else "valid",
             "age_norm": n / 10} for n in range(6)]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "own.csv", index=False)
    table, _ = prepare(kind="table", path=str(folder / "own.csv"))
    assert table["key"].iloc[1] == "001___training"
    assert table["split"].tolist() == ["train"] * 4 + ["valid"] * 2
    assert table["age_norm"].tolist() == [n / 10 for n in range(6)]


def test_volumes_are_cut_and_named(tmp_path, random):
    for patient in ("p1", "p2"):
        values = np.zeros((10, 12, 14), np.float32)
        values[2:8, 2:10, 4:10] = random.random((6, 8, 6)) + 1
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / f"{patient}_T1.nii.gz")
    volumes = {"axis": "axial", "first_slice": 2, "last_slice": 8, "step": 2}
    table, pack = prepare(
        kind="volumes", path=str(tmp_path), subject_pattern="^(p[12])_", image_size=[16, 16], volumes=volumes
    )
    assert table["slice"].tolist() == [4, 6, 8, 4, 6, 8]  # slice 2 is empty
    assert pack.keys[0] == "p1_T1_axial-004___training"
    assert table["subject"].unique().tolist() == ["p1", "p2"]


def test_slices_show_anterior_up(tmp_path):
    for name in ("a", "b"):
        values = np.ones((8, 10, 3), np.float32)
        values[6, 9, 1] = 50  # right, anterior
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / f"{name}.nii")
    _, pack = prepare(kind="volumes", path=str(tmp_path), image_size=None, volumes={"first_slice": 1, "last_slice": 1},
                      intensity_percentiles=[0, 100])  # fmt: skip
    assert np.argwhere(pack.images[0] == 255).tolist() == [[0, 6]]


def test_virtual_patients_are_the_default():
    table, pack = prepare(
        virtual_patients={
            "train_patients": 6,
            "valid_patients": 0,
            "holdout_patients": 0,
            "all_contrasts": True,
            "slices_mm": [20],
        },
        image_size=[24, 32],
        bit_depth=16,
    )
    assert pack.images.shape == (12, 24, 32)
    assert pack.images.dtype == np.uint16
    assert {"sequence", "age", "sex", "csf_perc", "gm_perc", "wm_perc"} < set(table.columns)
    assert table["subject"].nunique() == 6
    assert table["sequence"].value_counts().to_dict() == {"t1": 6, "t2": 6}


def test_real_chest_images_keep_their_patients(real_data):
    table, pack = prepare(kind="table", path=str(real_data / "chest_xray.csv"), image_size=[64, 64])
    assert pack.images.shape == (500, 64, 64)
    assert table["subject"].nunique() == 332


# Bad input: one sentence with file, count, first offender and way out.


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path}: has no image.*check dataset.path"):
        prepare(kind="folder", path=str(tmp_path))
    with pytest.raises(DataError, match="none: is not a folder"):
        prepare(kind="folder", path=str(tmp_path / "none"))


def test_unreadable_images_are_counted(folder):
    (folder / "p1" / "v0.png").write_bytes(b"nonsense")
    truncated = folder / "p3" / "v1.png"
    truncated.write_bytes(truncated.read_bytes()[:150])
    with pytest.raises(
        DataError, match=r"2 of 12 files cannot be used, first .*p1/v0\.png: is not an image.*replace or remove"
    ):
        prepare(kind="folder", path=str(folder))


def test_unreadable_dicom_files_are_counted_before_the_split(tmp_path, random):
    for number in range(5):
        path = write_dicom(tmp_path / f"{number}.dcm", random.integers(0, 256, (9, 8), dtype=np.uint8), bits=8)
        if number % 2:
            path.write_bytes(b"nonsense" * 30)
    save(tmp_path / "x.png", random)
    with pytest.raises(DataError, match=r"2 of 6 files cannot be used, first .*1\.dcm: cannot be read as DICOM"):
        prepare(kind="folder", path=str(tmp_path))


def test_volumes_without_foreground_are_named(tmp_path):
    for name in ("a.nii", "b.nii"):
        nibabel.save(nibabel.Nifti1Image(np.zeros((16, 16, 4)), np.eye(4)), tmp_path / name)
    with pytest.raises(
        DataError, match=r"none of 2 files has an image with enough foreground; lower dataset\.volumes\.min"
    ):
        prepare(kind="volumes", path=str(tmp_path))


def test_constant_images_are_named(folder):
    Image.new("L", (16, 20), 7).save(folder / "p2" / "v0.png")
    with pytest.raises(DataError, match="1 of 12 images are constant.*'p2_v0___training'"):
        prepare(kind="folder", path=str(folder))


def test_mixed_sizes_need_a_target(folder, random):
    save(folder / "p4" / "v0.png", random, (30, 16))
    with pytest.raises(
        DataError,
        match=r"1 of 12 images differ in size.*\(20x16\).*'p4_v0___training' \(30x16\); set dataset.image_size",
    ):
        prepare(kind="folder", path=str(folder), image_size=None)
    assert prepare(kind="folder", path=str(folder), image_size=[16, 16])[1].images.shape == (12, 16, 16)


def test_the_same_key_twice_is_named(folder, random):
    save(folder / "p1" / "v0.bmp", random)
    with pytest.raises(DataError, match="1 image keys occur more than once, first 'p1_v0___training'"):
        prepare(kind="folder", path=str(folder))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image_uid,path\na,b\n", r"own\.csv: lacks 1 of 2 required columns, first 'image_path'; it has image_uid, path"),
        ("image_uid,image_path\n", r"own\.csv: has no rows"),
        ("image_uid,image_path\na,\n", r"'image_path' is empty in 1 of 1 rows, first in line 2"),
        ("image_uid,image_path,split\na,x.png,training\n", "1 of 1 entries that are not one of .*, first 'training' in line 2"),
        ("image_uid,image_path\n../a,p0/v0.png\nb,p0/v0.png\n", "image_uid '../a' cannot name a folder"),
        ("image_uid,image_path\na,none.png\nb,p0/v0.png\n", r"1 of 2 files cannot be used, first .*none\.png"),
        ("image_uid,image_path,subject,split\na,p0/v0.png,s,train\nb,p0/v1.png,s,valid\n", "1 of 1 subjects are in more than one split"),
    ],
)  # fmt: skip
def test_bad_tables_are_named(folder, content, message):
    (folder / "own.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        prepare(kind="table", path=str(folder / "own.csv"), image_size=None)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(DataError, match=r"own\.csv: does not exist"):
        prepare(kind="table", path=str(tmp_path / "own.csv"))


@pytest.mark.parametrize(("pattern", "error", "message"), [
    ("(", ConfigError, "is not a regular expression"),
    ("^p", ConfigError, "has 0 groups"),
    ("^x(.)", DataError, r"no subject found by dataset\.subject_pattern '\^x\(\.\)' in the paths of 12 of 12 files, first p0/v0\.png"),
])  # fmt: skip
def test_subject_patterns_must_fit(folder, pattern, error, message):
    with pytest.raises(error, match=message):
        prepare(kind="folder", path=str(folder), subject_pattern=pattern)


def test_slices_outside_the_volume_are_named(tmp_path):
    for name in ("a.nii", "b.nii"):
        nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 4)), np.eye(4)), tmp_path / name)
    with pytest.raises(DataError, match=r"a\.nii: slices 5 to 9 are requested, but axial slices go from 0 to 3"):
        prepare(kind="volumes", path=str(tmp_path), volumes={"first_slice": 5, "last_slice": 9})


def test_what_readers_assume_and_leave_out_is_logged(tmp_path, random, caplog):
    for name in ("a.nii", "b.nii", "c.nii"):
        values = 1 + random.random((16, 20, 3))
        values[:, :, 1] = 0
        nibabel.save(
            nibabel.Nifti1Image(values, np.eye(4)), tmp_path / name
        )  # no origin: the orientation is not recorded
    with caplog.at_level("INFO", logger="deepssim"):
        _, pack = prepare(kind="volumes", path=str(tmp_path))
    assert len(pack.keys) == 6
    assert "images left out (nearly empty slice): 3 times" in caplog.text
    assert "orientation is not recorded" in caplog.text


def test_a_file_without_images_by_nature_stops_no_folder(folder, caplog):
    torch.save({"conv.weight": torch.zeros(3, 3), "conv.bias": torch.zeros(3)}, folder / "model.pth")
    with caplog.at_level("INFO", logger="deepssim"):
        _, pack = prepare(kind="folder", path=str(folder))
    assert len(pack.keys) == 12
    assert "files left out" in caplog.text
    assert len(deepssim.load_images(folder).keys) == 12


def test_splits_as_given_are_of_any_size_and_name(tmp_path, random):
    for name in "abcd":
        Image.fromarray(random.integers(0, 256, (9, 8), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    path = tmp_path / "dataset.csv"
    path.write_text(
        "image_uid,image_path,split,subject\na,a.png,train,p\nb,b.png,valid,p\nc,c.png,test,q\nd,d.png,,q\n"
    )
    options = DatasetConfig(kind=DatasetKind.TABLE, path=str(path), image_size=None)
    table, _ = prepare_dataset(options, seed=0, splits_as_given=True)
    assert table["split"].tolist() == ["train", "valid", "holdout", "holdout"]
    with pytest.raises(DataError, match="column 'split' has 2 of 4 entries that are not one of"):
        prepare_dataset(options, seed=0)
    path.write_text("image_uid,image_path\na,a.png\n")
    assert prepare_dataset(options, seed=0, splits_as_given=True)[0]["split"].tolist() == ["train"]


def test_a_table_may_name_files_below_the_working_directory(tmp_path, random, monkeypatch):
    save(tmp_path / "data" / "images" / "a.png", random)
    path = tmp_path / "data" / "dataset.csv"
    path.write_text("image_uid,image_path,caption_emb_path\na,data/images/a.png,data/a.npz\nb,images/a.png,b.npz\n")
    (tmp_path / "data" / "a.npz").touch()
    monkeypatch.chdir(tmp_path)
    table, pack = prepare(kind="table", path="data/dataset.csv", image_size=None)
    np.testing.assert_array_equal(pack.images[0], pack.images[1])
    assert table["caption_emb_path"].tolist() == [
        "data/a.npz",
        "data/b.npz",
    ]  # the second does not exist, and is not needed


def test_canaries_are_drawn_and_recorded(folder):
    options = {"kind": "folder", "path": str(folder), "subject_pattern": "^(p.)"}
    tables = [
        prepare_dataset(parse_config({"dataset": ALL_TRAIN | options | {"canaries": 1.0}}).dataset, seed=seed)[0]
        for seed in range(3)
    ]
    for table in tables:
        assert (table["canary"] == 1).all()
        assert table.groupby("subject")["split"].nunique().max() == 1
        assert set(table["split"]) <= {"train", "holdout"}
        assert ((table["role"] == "holdout") == (table["split"] == "holdout")).all()
        told = canaries_of(table)
        assert told == dict(zip(table["subject"], table["split"] == "train", strict=True))
        assert len(told) == 6
    assert len({tuple(table["split"]) for table in tables}) > 1
    plain, _ = prepare(**options)
    assert "canary" not in plain
    assert canaries_of(plain) == {}


def test_a_column_of_the_same_name_is_not_overwritten(folder):
    paths = sorted(folder.rglob("*.png"))
    rows = {"image_uid": [str(n) for n in range(len(paths))], "image_path": [str(path) for path in paths], "canary": 3}
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)
    options = {"kind": "table", "path": str(folder / "table.csv")}
    assert set(prepare(**options)[0]["canary"]) == {3}
    with pytest.raises(DataError, match="has a column 'canary', which dataset.canaries writes; rename it"):
        prepare(**options, canaries=0.5)
