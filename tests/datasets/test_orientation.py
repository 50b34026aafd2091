"""Images of a dataset are transposed where the settings say so."""

import nibabel
import numpy as np
import pandas as pd
import pytest
from monai.transforms import LoadImage
from PIL import Image

from tests.datasets.test_prepare import prepare


@pytest.mark.parametrize("kind", ["folder", "table"])
def test_images_are_transposed_before_they_are_brought_to_a_size(tmp_path, random, kind):
    """As MONAI's loader gives them: the size is that of the transposed images, so nothing is padded here."""
    images = [random.integers(0, 256, (24, 16), dtype=np.uint8) for _ in range(3)]
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    table = pd.DataFrame({"image_uid": list("012"), "image_path": [f"{number}.png" for number in range(3)]})
    table.to_csv(tmp_path / "own.csv", index=False)
    place = {
        "kind": kind,
        "path": str(tmp_path / "own.csv" if kind == "table" else tmp_path),
        "file_patterns": ["*.png"],
    }
    for size in (None, [16, 24]):
        _, pack = prepare(**place, orientation="transposed", image_size=size)
        for image, number in zip(pack.images, range(3), strict=True):
            np.testing.assert_array_equal(image, LoadImage()(tmp_path / f"{number}.png").numpy())
            np.testing.assert_array_equal(image, images[number].T)


def test_slices_and_virtual_patients_are_transposed_too(tmp_path, random):
    for name in ("a.nii", "b.nii"):
        nibabel.save(nibabel.Nifti1Image(1 + random.random((8, 12, 2)), np.eye(4)), tmp_path / name)
    patients = {"train_patients": 3, "valid_patients": 0, "holdout_patients": 0}
    for one, other in (
        ({"kind": "volumes", "path": str(tmp_path), "image_size": None},) * 2,
        (
            {"image_size": [40, 48], "virtual_patients": patients},
            {"image_size": [48, 40], "virtual_patients": patients},
        ),
    ):
        upright, transposed = prepare(**one)[1], prepare(**other, orientation="transposed")[1]
        assert upright.keys == transposed.keys
        assert upright.images.shape[1] != upright.images.shape[2]
        np.testing.assert_array_equal(upright.images, transposed.images.swapaxes(1, 2))
