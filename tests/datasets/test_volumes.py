"""Whole volumes as a dataset: of virtual patients, of files, and what is refused."""

from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest

from deepssim.config.settings import parse_config
from deepssim.datasets.prepare import prepare_dataset
from deepssim.errors import ConfigError, DataError
from tests.datasets.test_prepare import ALL_TRAIN, prepare

VOLUMES: dict[str, Any] = {"spatial_dims": 3, "image_size": [16, 16, 16]}
WHOLE: dict[str, Any] = {
    "verification": {"candidates": 0},
    "evaluation": {"metrics": ["deepssim", "ssim"]},
    "vae": {"channels": [8, 16]},
}
PATIENTS = {"train_patients": 3, "valid_patients": 0, "holdout_patients": 2, "movement": 0.5}


def head(seed: int, shape=(12, 16, 10)) -> np.ndarray:
    """Return a volume (right, anterior, superior) without symmetries, black at its border."""
    random = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*(np.linspace(0.2, 1, side) for side in shape), indexing="ij")
    values = 100 * (x + 2 * y + 4 * z) + 50 * random.random(shape)
    values[[0, -1]] = values[:, [0, -1]] = values[:, :, [0, -1]] = 0
    return values


def write_nifti(path, values, spacing=(1, 1, 1)):
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -5
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), affine), path)


def prepare_volumes(**options):
    return prepare_dataset(parse_config(WHOLE | {"dataset": {"spatial_dims": 3} | options}).dataset, seed=0, threads=2)


def volumes_of(place, **options):
    return prepare_volumes(**({"kind": "volumes", "path": str(place), "image_size": None} | ALL_TRAIN | options))


def test_virtual_patients_are_scanned_as_a_whole():
    patients = PATIENTS | {"visits": 2, "contrasts": ["t1"]}
    table, pack = prepare_volumes(image_size=[16, 20, 18], virtual_patients=patients)
    assert pack.images.shape == (10, 16, 20, 18)
    assert pack.images.dtype == np.uint8
    assert table["key"].tolist()[:2] == ["patient-000_t1_visit0___training", "patient-000_t1_visit1___training"]
    assert table.groupby("subject")["age"].nunique().eq(2).all()
    assert table["split"].tolist() == ["train"] * 6 + ["holdout"] * 4
    assert {"csf_perc", "age_norm", "sex_norm", "sequence_norm"} <= set(table.columns)
    assert (pack.images.reshape(10, -1).max(axis=1) > 100).all()


def test_volumes_of_files_show_the_slices_of_the_reader_of_images(tmp_path):
    for name in ("a", "b"):
        write_nifti(tmp_path / f"{name}.nii.gz", head(ord(name)))
    table, pack = volumes_of(tmp_path)
    assert table["key"].tolist() == ["a___training", "b___training"]
    assert pack.images.shape == (2, 10, 16, 12)
    _, slices = prepare(kind="volumes", path=str(tmp_path), image_size=None)
    number = [int(key.split("axial-")[1][:3]) for key in slices.keys if key.startswith("a_")]
    assert number[:3] == [1, 2, 3]  # the first slice is empty, and was left out
    np.testing.assert_array_equal(pack.images[0, number], slices.images[: len(number)])


def test_arrays_tables_and_16_bits(tmp_path):
    for name in "abc":
        np.save(tmp_path / f"{name}.npy", head(ord(name)).transpose(2, 1, 0).astype(np.float32))
    several = np.stack([head(7), head(8)]).transpose(0, 3, 2, 1).astype(np.float32)
    np.save(tmp_path / "d.npy", several)
    table = pd.DataFrame(
        {"image_uid": list("abcd"), "image_path": [f"{name}.npy" for name in "abcd"], "subject": list("xxyz")}
    )
    table.to_csv(tmp_path / "own.csv", index=False)
    options = {"kind": "table", "path": str(tmp_path / "own.csv"), "bit_depth": 16, "image_size": [10, 16, 12]}
    found, pack = volumes_of(tmp_path, **options)
    assert found["key"].tolist() == [f"{uid}___training" for uid in ("a", "b", "c", "d_volume-000", "d_volume-001")]
    assert found["subject"].tolist() == list("xxyzz")
    assert pack.images.dtype == np.uint16
    stored = np.load(tmp_path / "a.npy")
    assert np.corrcoef(stored.ravel(), pack.images[0].ravel())[0, 1] > 0.99  # rows of arrays begin at the top, too


def test_volumes_are_padded_to_the_shape_and_keep_their_proportions(tmp_path):
    write_nifti(tmp_path / "a.nii", np.full((10, 20, 10), 7.0) + head(0, (10, 20, 10)), spacing=(1, 1, 2))
    write_nifti(tmp_path / "b.nii", head(1, (20, 20, 20)))
    _, pack = volumes_of(tmp_path, image_size=[24, 24, 24])
    rows = [np.flatnonzero(pack.images[0].max(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    extents = [int(found[-1] - found[0]) + 1 for found in rows]
    assert extents[0] == extents[1] == 24  # 20 mm each
    assert 11 <= extents[2] <= 13  # 10 mm


def test_volumes_of_different_shapes_need_a_size(tmp_path):
    write_nifti(tmp_path / "a.nii", head(0))
    write_nifti(tmp_path / "b.nii", head(1, (12, 16, 11)))
    with pytest.raises(
        DataError, match=r"1 of 2 images differ in size .* \(10x16x12\), first 'b.*11x16x12.*image_size"
    ):
        volumes_of(tmp_path)


def test_a_file_that_is_no_volume_is_refused(tmp_path):
    write_nifti(tmp_path / "a.nii", head(0))
    write_nifti(tmp_path / "b.nii", head(1, (12, 16, 3)))
    with pytest.raises(DataError, match=r"b\.nii: holds 12x16x3 voxels, .* set dataset.spatial_dims to 2"):
        volumes_of(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"dataset": {"spatial_dims": 3}},
            r"image_size is \[48, 48\], but dataset.spatial_dims is 3; give slices, height",
        ),
        ({"dataset": {"image_size": [8, 16, 16]}}, "spatial_dims is 2; give height and width"),
        ({"dataset": VOLUMES | {"volumes": {"axis": "coronal"}}}, "dataset.volumes.axis says how volumes are cut"),
        ({"dataset": VOLUMES | {"orientation": "transposed"}}, "'transposed', which only images can be"),
        ({"dataset": VOLUMES, "evaluation": {}}, "dar and fsim cannot compare volumes"),
        ({"dataset": VOLUMES, "published": {"chen": "x.pt"}}, "chen cannot compare volumes"),
        ({"dataset": VOLUMES, "verification": {}}, "set verification.candidates to 0"),
        ({"dataset": VOLUMES, "evaluation": WHOLE["evaluation"] | {"planted": True}}, "evaluation.planted to false"),
        ({"dataset": VOLUMES, "encoder": {"recipe": "paper"}}, "encoder.recipe 'paper' learns from labelled pairs"),
        (
            {
                "dataset": VOLUMES,
                "evaluation": WHOLE["evaluation"]
                | {"misalignment": [{"kind": "jpeg", "probability": 1, "strength": 0.5}]},
            },
            "evaluation.misalignment has jpeg",
        ),
        ({"dataset": VOLUMES | {"image_size": [16, 17, 16]}}, "volumes of 16x17x16 cannot be halved 1 times"),
    ],
)
def test_what_only_images_can_have_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(WHOLE | changes)


def test_settings_of_volumes_are_usable():
    config = parse_config(WHOLE | {"dataset": VOLUMES})
    assert config.dataset.spatial_dims == 3
    assert parse_config({"dataset": {"spatial_dims": 3, "image_size": None, "kind": "volumes", "path": "x"}} | WHOLE)
