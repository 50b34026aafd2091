"""Every format through every reader of images: workflow (folder, table, volumes), audit, notebook and reference commands."""

import re
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from PIL import Image

import deepssim
from deepssim.config.settings import parse_config
from deepssim.datasets.prepare import prepare_dataset
from deepssim.errors import DataError
from deepssim.images.arrays import read_arrays
from deepssim.images.containers import read_hdf5_images, read_tensors
from deepssim.images.dicom import read_dicom
from deepssim.images.files import FORMATS, stem_of
from deepssim.images.folders import TreeSide, collect, decode, list_files
from deepssim.images.rasters import read_raster
from deepssim.images.standardize import quantise, window
from deepssim.images.tree import find_images, find_keys, read_images
from deepssim.stages.dataset import prepare_dataset as run_stage
from tests.audit.folders import picture, tiny_encoder
from tests.format_files import FILES, SEVERAL, SIZE, WINDOW
from tests.images.test_dicom import write as write_dicom

OWN_READERS = {".npy": read_arrays, ".npz": read_arrays, ".h5": read_hdf5_images, ".pt": read_tensors}
Parts = dict[str, np.ndarray]  # the images of a file by their part


def own_reader(path: Path) -> Parts:
    """Read a file by the function of its format."""
    if path.name.endswith((".nii", ".nii.gz", ".mgz", ".mnc", ".nrrd", ".mha")):
        if path.name.endswith((".nrrd", ".mha")):
            values = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T.astype(np.float32)
        else:
            values = np.atleast_3d(nibabel.as_closest_canonical(nibabel.load(path)).get_fdata(dtype=np.float32))
        shown = window(values, WINDOW)
        images = [shown[:, :, index].T[::-1] for index in range(values.shape[2]) if values[:, :, index].any()]
    elif path.read_bytes()[128:132] == b"DICM":
        images = [frame.pixels for frame in read_dicom(path, percentiles=WINDOW).frames]
    else:
        read = OWN_READERS.get(path.suffix, read_raster)
        images = [frame.pixels for frame in read(path, percentiles=WINDOW).frames if not frame.left_out]
    return dict(zip(SEVERAL.get(path.name, [""]), [quantise(image, 8) for image in images], strict=True))


@pytest.fixture
def tree(tmp_path, random) -> Path:
    """Two folders, each with a file of every format that shows another picture."""
    for folder in ("a", "b"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for name, make in FILES.items():
            make(tmp_path / "data" / folder / name, picture(random, SIZE[0]))
    return tmp_path / "data"


def workflow(prepared, uids: dict[str, Path]) -> dict[Path, Parts]:
    """Return the images of each file; `uids` are those of single images."""
    images, pack = prepared
    found: dict[Path, Parts] = {path: {} for path in uids.values()}
    for key, path, image in zip(images["key"], images["path"], pack.images, strict=True):
        uid = next(uid for uid, file in uids.items() if str(file) == path)
        found[Path(path)][key.removesuffix("___training").removeprefix(uid).removeprefix("_")] = image
    return found


def prepare(**dataset):
    settings = {"image_size": list(SIZE), "valid_fraction": 0, "holdout_fraction": 0} | dataset
    return prepare_dataset(parse_config({"dataset": settings}).dataset, seed=0, threads=2)


def through_folder(root: Path, name: str) -> dict[Path, Parts]:
    uids = {f"{folder}_{stem_of(Path(name))}": root / folder / name for folder in "ab"}
    return workflow(prepare(kind="folder", path=str(root), file_patterns=[f"*/{name}"]), uids)


def through_table(root: Path, name: str) -> dict[Path, Parts]:
    rows = [{"image_uid": f"u{folder}", "image_path": f"{folder}/{name}"} for folder in "ab"]
    pd.DataFrame(rows).to_csv(root / "table.csv", index=False)
    uids = {f"u{folder}": root / folder / name for folder in "ab"}
    return workflow(prepare(kind="table", path=str(root / "table.csv")), uids)


def by_key(keys, images, root: Path) -> dict[Path, Parts]:
    found: dict[Path, Parts] = {}
    for key, image in zip(keys, images, strict=True):
        name, _, part = key.partition("#")
        found.setdefault(root / name, {})[part] = image
    return found


def through_audit(root: Path, name: str) -> dict[Path, Parts]:
    files = [path for path in list_files(root, side=TreeSide.REAL) if path.name == name]
    pack = collect(root, files, [decode(path, SIZE, WINDOW) for path in files]).pack
    return by_key(pack.keys, pack.images, root)


def through_notebook(root: Path, name: str) -> dict[Path, Parts]:
    pack = deepssim.load_images(root, size=SIZE)
    found = by_key(pack.keys, pack.images, root)
    return {path: found[path] for path in found if path.name == name}


def through_reference(root: Path, name: str) -> dict[Path, Parts]:
    found = {f"{folder}___{stem_of(Path(name))}": root / folder / name for folder in "ab"}
    others = [path for folder in "ab" for path in (root / folder).iterdir() if path.name != name]
    for path in others:  # files that differ in their extension alone would have the same key
        path.unlink()
    assert find_images(root) == find_keys(root, list(found)) == found
    pack = read_images(found, place=str(root), threads=2)
    return {found[key]: {"": image} for key, image in zip(pack.keys, pack.images, strict=True)}


DOORS = {
    "workflow, folder": through_folder,
    "workflow, table": through_table,
    "audit": through_audit,
    "notebook": through_notebook,
    "reference": through_reference,
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", FILES)
def test_every_reader_gives_the_pixels_of_the_format(tree, name, door):
    expected = {tree / folder / name: own_reader(tree / folder / name) for folder in "ab"}
    assert all(len(np.unique(image)) > 10 for parts in expected.values() for image in parts.values())
    if door == "reference" and name in SEVERAL:
        count = len(SEVERAL[name])
        with pytest.raises(
            DataError, match=f"2 of 2 files cannot be used, first .*: holds {count} images where one is"
        ):
            DOORS[door](tree, name)
        return
    found = DOORS[door](tree, name)
    assert {path: list(parts) for path, parts in found.items()} == {
        path: list(parts) for path, parts in expected.items()
    }
    for path, parts in expected.items():
        for part, image in parts.items():
            np.testing.assert_array_equal(found[path][part], image)


def test_every_format_is_tried():
    tried = {path.name for path in FORMATS if any(name.lower().endswith(path.suffixes) for name in FILES)}
    assert tried == {known.name for known in FORMATS} - {"Analyze or NIfTI pair", "values of an image"}  # test_nifti.py


def test_volumes_in_a_folder_or_table_are_those_of_kind_volumes(tree):
    options = {"axis": "coronal", "first_slice": 3, "last_slice": 11, "step": 4, "min_foreground": 0.3}
    table, pack = prepare(kind="volumes", path=str(tree), volumes=options, file_patterns=["*/volume.nii"])
    assert pack.keys == [f"{folder}_volume_coronal-{index:03d}___training" for folder in "ab" for index in (3, 7, 11)]
    assert table["slice"].tolist() == [3, 7, 11, 3, 7, 11]
    mixed, images = prepare(
        kind="folder", path=str(tree), volumes=options, file_patterns=["*/volume.nii", "*/scan.png"]
    )
    volumes = mixed["path"].str.endswith("volume.nii").to_numpy()
    assert volumes.tolist() == [False, True, True, True] * 2
    np.testing.assert_array_equal(images.images[volumes], pack.images)
    assert mixed["slice"].isna().tolist() == (~volumes).tolist()
    rows = [{"image_uid": folder, "image_path": f"{folder}/volume.nii", "age": 7} for folder in "ab"]
    pd.DataFrame(rows).to_csv(tree / "own.csv", index=False)
    listed, images = prepare(kind="table", path=str(tree / "own.csv"), volumes=options)
    assert listed["key"].tolist() == [key.replace("_volume", "") for key in pack.keys]
    assert listed[["age", "slice"]].to_numpy().tolist() == [[7, index] for index in (3, 7, 11)] * 2
    np.testing.assert_array_equal(images.images, pack.images)


def test_hidden_files_are_seen_by_nobody(tree):
    for folder in "ab":
        shutil.copy(tree / folder / "scan.png", tree / folder / ".scan.png")
    shutil.copytree(tree / "a", tree / ".a")
    table, _ = prepare(kind="folder", path=str(tree), file_patterns=["*/*.png", "**/IM*"])
    assert [Path(path).relative_to(tree).as_posix() for path in table["path"]] == [
        f"{folder}/{name}" for folder in "ab" for name in ("IM0001", "colour.png", "deep.png", "scan.png")
    ]
    assert not any(
        part.startswith(".") for key in deepssim.load_images(tree, size=SIZE).keys for part in key.split("/")
    )


def write_patients(root: Path, random, *, files: int = 3) -> list[str]:
    """Write DICOM files of six patients, in turn, with and without extension; return the patients' ids."""
    ids = [f"MRN-00417{number}" for number in range(6)]
    root.mkdir(parents=True)
    for number in range(files * len(ids)):
        name = f"scan{number:02d}.dcm" if number % 2 else f"1.2.840.{number:02d}"
        image = picture(random, SIZE[0])
        write_dicom(root / name, image, bits=8, PatientID=ids[number % len(ids)], PatientName="Doe^Jane")
    return ids


def contents(root: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file())


@pytest.mark.parametrize("kind", ["folder", "table"])
def test_dicom_files_are_split_by_patient_and_no_id_is_written(tmp_path, random, caplog, capfd, kind):
    ids = write_patients(tmp_path / "data", random)
    files = list_files(tmp_path / "data")
    if kind == "table":
        rows = [{"image_uid": f"u{number}", "image_path": path.name} for number, path in enumerate(files)]
        pd.DataFrame(rows).to_csv(tmp_path / "data" / "own.csv", index=False)
    path = tmp_path / "data" / "own.csv" if kind == "table" else tmp_path / "data"
    settings = {
        "kind": kind,
        "path": str(path),
        "image_size": list(SIZE),
        "valid_fraction": 0.34,
        "holdout_fraction": 0.33,
    }
    options = parse_config({"dataset": settings}).dataset
    tables = []
    for out in (tmp_path / "first", tmp_path / "second"):
        out.mkdir()
        with caplog.at_level("DEBUG"):
            run_stage(images=str(out / "images.csv"), pack=str(out / "real.h5"), dataset=options, seed=0, threads=2)
        tables.append(pd.read_csv(out / "images.csv"))
    pd.testing.assert_frame_equal(*tables)  # the names of subjects are the same in every run
    table = tables[0]
    expected = [int(path.stem.removeprefix("scan").split(".")[-1]) if path.suffix == ".dcm" else int(path.suffix[1:])
                for path in files]  # fmt: skip
    patients = pd.Series([number % len(ids) for number in expected])
    assert table.groupby(patients)["subject"].nunique().tolist() == [1] * 6
    assert table["subject"].nunique() == 6
    assert table.groupby("subject")["split"].nunique().max() == 1
    assert table["subject"].str.fullmatch(r"subject-[0-9a-f]{12}").all()
    written = contents(tmp_path / "first") + caplog.text.encode() + "".join(capfd.readouterr()).encode()
    for secret in (*ids, "Doe"):
        assert secret.encode() in contents(tmp_path / "data")
        assert secret.encode() not in written


def test_an_audit_of_dicom_files_writes_no_id(tmp_path, random):
    ids = write_patients(tmp_path / "real", random)
    (tmp_path / "synthetic").mkdir()
    for number, path in enumerate(list_files(tmp_path / "real")[:6]):
        image = np.rint(255 * next(iter(read_dicom(path, percentiles=WINDOW).frames)).pixels).astype(np.uint8)
        Image.fromarray(image if number < 2 else image.T).save(tmp_path / "synthetic" / f"s{number}.png")
    found = deepssim.audit(
        tmp_path / "real", tmp_path / "synthetic", tmp_path / "out", encoder=tiny_encoder(tmp_path / "tiny.safetensors"),
        image_size=SIZE, compared_at=64, controls=1, gallery=2, borderline=2, bootstrap=20, cache=tmp_path / "cache",
    )  # fmt: skip
    assert found["figures"]["identical"] == 2
    assert "subject-" in (tmp_path / "out" / "pairs.csv").read_text()
    written = contents(tmp_path / "out") + contents(tmp_path / "cache")
    for secret in ids:
        assert secret.encode() not in written
    assert re.search(rb"Doe\b", contents(tmp_path / "real"))
    assert not re.search(rb"Doe\b", written)  # the page asks "Does ...?"
