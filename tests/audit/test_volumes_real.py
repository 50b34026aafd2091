"""The audit of volumes on MR scans of three people: copies of one of them, another contrast of theirs, and another person's scans."""

import json

import nibabel
import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

import deepssim
from tests.audit.scans import copies_of
from tests.audit.test_run import kept

_STEP = 2  # of the voxels that are used, along each axis
_WARP_MM = 6.0
_AFFINE = np.array([[-2.0, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])
OTHERS = ("warped.nii", "another_contrast_of_other.nii")
SAME_PERSON = "another_contrast.nii"


def warped(volume: np.ndarray) -> np.ndarray:
    """Displace a volume by a smooth random field, 6 mm on average, as no copy is."""
    random = np.random.default_rng(0)
    field = np.stack([gaussian_filter(random.normal(size=volume.shape), 8) for _ in range(3)])
    field *= _WARP_MM / _STEP / np.sqrt(np.square(field).sum(axis=0)).mean()
    return map_coordinates(volume, np.indices(volume.shape) + field, order=1)


@pytest.fixture(scope="module")
def report(tmp_path_factory, real_data):
    root = tmp_path_factory.mktemp("people")

    def write(side, name, volume):
        (root / side).mkdir(exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(volume, np.float32), _AFFINE), root / side / name)

    scans = {
        path.name.removesuffix(".nii.gz"): np.asarray(nibabel.load(path).dataobj)[::_STEP, ::_STEP, ::_STEP]
        for path in sorted((real_data / "mri_volumes").iterdir())
    }
    for name, volume in scans.items():
        if not name.startswith("patient26") and name != "patient07_T2":
            write("real", f"{name}.nii", volume)
    for name, volume in copies_of(scans["patient07_T1"]).items():
        write("synthetic", f"{name}.nii", volume)
    write("synthetic", SAME_PERSON, scans["patient07_T2"])
    for name, volume in zip(OTHERS, (warped(scans["patient26_T1"]), scans["patient26_T2"]), strict=True):
        write("synthetic", name, volume)
    deepssim.audit(
        root / "real", root / "synthetic", root / "report", subject_pattern=r"^(patient\d+)", volume_side=64, controls=1,
        cache=root / "cache", candidates=1, gallery=2,
    )  # fmt: skip
    return root / "report"


def test_copies_are_found_and_the_other_person_is_not(report):
    copies = {f"{name}.nii" for name in copies_of(np.zeros((2, 2, 2)))}
    assert copies <= set(kept(report / "drop.txt"))
    assert "warped.nii" in kept(report / "keep.txt")
    pairs = pd.read_csv(report / "pairs.csv").set_index("synthetic")
    assert set(pairs.loc[sorted(copies), "real"]) == {"patient07_T1.nii"}
    least = pairs.loc[sorted(copies), "score"].min()
    assert (pairs.loc[list(OTHERS), "score"] < least / 2).all()


def test_another_contrast_of_a_copied_person_scores_far_below_copies(report):
    """It shows the same person, whom two people's scans tell apart from others; docs/audit.md states the score."""
    pairs = pd.read_csv(report / "pairs.csv").set_index("synthetic")
    assert pairs.loc[SAME_PERSON, "score"] < 0.7 * pairs.loc["rotated.nii", "score"]


def test_two_people_cannot_confirm_or_clear_anything(report):
    found = json.loads((report / "summary.json").read_text())
    assert found["data"]["unit"] == "volume"
    assert found["figures"]["score_confirms_above"] is None
    assert "2 training subjects promise a false-alarm rate of 33.3 % at best" in found["verdict"]["sentence"]
